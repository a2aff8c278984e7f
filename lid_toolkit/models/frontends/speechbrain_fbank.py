"""SpeechBrain's log-mel features in decibels (``frontend: speechbrain_fbank``), for its trained models.

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lid_toolkit.models.arguments import PositiveInt, SamplingRate, component
from lid_toolkit.models.frontends.mel_filters import MelFrontend, check_edges
from lid_toolkit.models.frontends.power_spectrum import centred_window
from lid_toolkit.models.masking import padding_mask

ENERGY_FLOOR = 1e-10


@component(small={"n_fft": 64, "hop_length": 80, "n_mels": 16})
class SpeechBrainFbank(MelFrontend):
    """Mel energies in dB, at most ``top_db`` below the utterance's own maximum over time and frequency.

    SpeechBrain's ``Fbank``: (B, samples) to (B, frames, n_mels), frames = samples / hop_length + 1,
    rounded down; 10 log10(max(|STFT|^2 M, 1e-10)). Frames are centred, with zeros beyond both ends.
    Unlike in other filter banks, the triangles of M are symmetric in Hz.

    Args:
        sample_rate: sampling rate in Hz; ``16k`` means 16000.
        n_fft: length of the Fourier transform in samples.
        win_length: length of the Hamming window, centred in ``n_fft``; null for ``n_fft``.
        hop_length: samples between frames.
        n_mels: number of mel filters.
        f_min: lower edge of the filters in Hz.
        f_max: upper edge of the filters in Hz; null for ``sample_rate / 2``.
        top_db: range of the features in dB.
    """

    def __init__(
        self,
        sample_rate: SamplingRate = 16000,
        n_fft: PositiveInt = 400,
        win_length: PositiveInt | None = None,
        hop_length: PositiveInt = 160,
        n_mels: PositiveInt = 40,
        f_min: float = 0.0,
        f_max: float | None = None,
        top_db: Annotated[float, Field(gt=0)] = 80.0,
    ) -> None:
        highest = sample_rate / 2 if f_max is None else f_max
        filters_fm = symmetric_filters(n_mels, n_fft, sample_rate, f_min, highest)
        window_n = centred_window("hamming", win_length or n_fft, n_fft)
        super().__init__(window_n, filters_fm, hop_length, "zeros")
        self.rate, self.top_db = sample_rate, top_db

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, n_mels) in dB and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        energy_btm, frames_b = self.mel_energies(wave_bt, lengths_b)
        level_btm = 10 * energy_btm.clamp(min=ENERGY_FLOOR).log10()
        mask_b1t = padding_mask(frames_b, level_btm.shape[1], level_btm.device)
        heard_btm = level_btm
        if mask_b1t is not None:
            heard_btm = level_btm.masked_fill(~mask_b1t.transpose(1, 2), -torch.inf)
        return level_btm.maximum(heard_btm.amax(dim=(1, 2), keepdim=True) - self.top_db), frames_b


def symmetric_filters(n_mels: int, n_fft: int, fs: int, f_min: float, f_max: float) -> Tensor:
    """Return triangles (n_fft // 2 + 1, n_mels) of unit height, symmetric in Hz."""
    check_edges(f_min, f_max, fs)
    ends = 2595 * torch.log10(1 + torch.tensor([f_min, f_max]) / 700)
    hertz = 700 * (10 ** (torch.linspace(float(ends[0]), float(ends[1]), n_mels + 2) / 2595) - 1)
    centre_m, width_m = hertz[1:-1], hertz[1:-1] - hertz[:-2]
    bin_f1 = torch.linspace(0, fs // 2, n_fft // 2 + 1)[:, None]
    return (1 - ((bin_f1 - centre_m) / width_m).abs()).clamp(min=0)
