"""Several front ends in parallel (``frontend: fused``), at one frame rate.

Shapes: b batch, t time, d features, p projected features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import PositiveInt, SamplingRate, component
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.build import arguments_model, build_frontend, one_frame_per_utterance
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.models.protocols import Frontend
from lid_toolkit.models.registry import find


@component(
    fixed={"align_method": "linear_projection"},
    small={
        "frontends": [
            {"frontend_type": "default", "n_fft": 64, "hop_length": 80, "n_mels": 16},
            {"frontend_type": "sliding_window", "win_length": 100, "hop_length": 120},
        ],
        "proj_dim": 8,
    },
)
def fused(
    frontends: Annotated[list[dict[str, object]], Field(min_length=2)],
    proj_dim: PositiveInt = 100,
    fs: SamplingRate = 16000,
    external: Packages = NONE,
) -> FusedFrontend:
    """Return several front ends in parallel (:class:`.FusedFrontend`).

    Args:
        frontends: two or more front ends, each with its name (``frontend_type``) and its arguments. Front
            ends with one frame per utterance are not supported.
        proj_dim: number of features from each front end.
        fs: sampling rate in Hz of front ends whose arguments do not name one.
        external: packages other than this toolkit that front ends may be imported from.
    """
    parts = []
    for conf in frontends:
        name = conf.get("frontend_type", "")
        own = {key: value for key, value in conf.items() if key != "frontend_type"}
        if one_frame_per_utterance({"frontend": name, "frontend_conf": own}, external):
            what = f"{name} gives one frame per utterance, and the other front ends would be cut to it"
            mend = "choose a front end or arguments that give more frames"
            raise LidError(what, where="frontend_conf.frontends", mend=mend)
        takes_rate = "fs" in arguments_model(find("frontend", name, external)).model_fields
        own = {"fs": fs, **own} if takes_rate else own
        parts.append(build_frontend({"frontend": name, "frontend_conf": own}, external))
    return FusedFrontend(parts, proj_dim)


class FusedFrontend(FrontendBase):
    """Front ends whose features are projected linearly to one frame rate and joined (Berrebbi et al., 2022).

    "Combining Spectral and Self-Supervised Features for Low Resource Speech Recognition and
    Translation", Interspeech 2022; ESPnet's ``fused``. With hop lengths h_i and their greatest common
    divisor g, a linear map turns each frame of front end i into h_i / g frames of ``proj_dim`` features.
    Each utterance is cut to the number of frames that all front ends have.

    Args:
        frontends: the front ends.
        proj_dim: number of features from each front end.
    """

    def __init__(self, frontends: Sequence[Frontend], proj_dim: int) -> None:
        super().__init__()
        rates = sorted({part.rate for part in frontends if part.rate is not None})
        if len(rates) > 1:
            raise LidError(f"front ends at {rates} Hz", where="frontend_conf", mend="use one rate")
        hops = [part.hop_length for part in frontends]
        common = math.gcd(*hops)
        self.rate = rates[0] if rates else None
        self.hop_length = common
        self.factors = [hop // common for hop in hops]
        self.output_size = proj_dim * len(frontends)
        self.frontends = nn.ModuleList(cast(Sequence[nn.Module], frontends))
        self.projection_layers = nn.ModuleList(
            nn.Linear(part.output_size, factor * proj_dim)
            for part, factor in zip(frontends, self.factors, strict=True)
        )

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments, with the portable arguments of each front end."""
        parts = cast(Sequence[Frontend], list(self.frontends))
        arguments = cast(Sequence[Mapping[str, object]], conf["frontends"])
        pairs = zip(parts, arguments, strict=True)
        return {**conf, "frontends": [part.portable_conf(own) for part, own in pairs]}

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, proj_dim * front ends) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
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
