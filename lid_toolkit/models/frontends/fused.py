"""Several front ends beside each other (``frontend: fused``), at one frame rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError


class FusedFrontend(nn.Module):
    """Front ends whose features are projected linearly to one frame rate and joined (Berrebbi et al., 2022).

    "Combining Spectral and Self-Supervised Features for Low Resource Speech Recognition and
    Translation", Interspeech 2022, as ESPnet's ``fused``: with hop lengths h_i and their greatest
    common divisor g, each frame of front end i becomes h_i / g frames of ``proj_dim`` features by one
    linear map; the frames that not all front ends have, at an utterance's own end, are dropped.

    Args:
        frontends: the front ends, each with ``output_size``, ``rate`` and ``hop_length``.
        proj_dim: features that each front end contributes.
    """

    def __init__(self, frontends: Sequence[nn.Module], proj_dim: int) -> None:
        super().__init__()
        parts: list[Any] = list(frontends)
        rates = sorted({part.rate for part in parts} - {None})
        if len(rates) > 1:
            raise LidError(f"front ends at {rates} Hz", where="frontend_conf", mend="use one rate")
        hops = [part.hop_length for part in parts]
        common = math.gcd(*hops)
        self.rate = rates[0] if rates else None
        self.hop_length = common
        self.factors = [hop // common for hop in hops]
        self.output_size = proj_dim * len(parts)
        self.frontends = nn.ModuleList(parts)
        self.projection_layers = nn.ModuleList(
            nn.Linear(part.output_size, factor * proj_dim)
            for part, factor in zip(parts, self.factors, strict=True)
        )

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, proj_dim * front ends) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: valid samples of each, on the CPU.
        """
        streams, counts = [], []
        for frontend, project, factor in zip(
            self.frontends, self.projection_layers, self.factors, strict=True
        ):
            feats_btd, frames_b = frontend(wave_bt, lengths_b)
            projected_btp = project(feats_btd)
            streams.append(projected_btp.reshape(len(projected_btp), projected_btp.shape[1] * factor, -1))
            counts.append(frames_b * factor)
        frames = min(stream_btp.shape[1] for stream_btp in streams)
        shared_b = torch.stack(counts).amin(dim=0)
        return torch.cat([stream_btp[:, :frames] for stream_btp in streams], dim=2), shared_b
