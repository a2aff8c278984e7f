"""Mel spectrogram in torchaudio's conventions (``frontend: melspec_torch``).

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.frontends.mel_filters import MelFrontend, mel_filters
from lid_toolkit.models.frontends.power_spectrum import centred_window
from lid_toolkit.models.masking import continue_by_zeros, masked_mean, padding_mask

PREEMPHASIS = 0.97
LOG_FLOOR = 1e-6


@component(small={"n_fft": 64, "win_length": 64, "hop_length": 80, "n_mels": 16, "log": True})
class MelSpectrogramFrontend(MelFrontend):
    """Mel energies |STFT(x_t - 0.97 x_{t-1})|^2 M; M are triangles of unit height.

    ESPnet's ``melspec_torch``: (B, samples) at 16 kHz to (B, frames, n_mels), frames = samples /
    hop_length + 1, rounded down. No gradient reaches the waveform. Computed in float32.

    Args:
        preemp: use pre-emphasis x_t - 0.97 x_{t-1}, with x_{-1} = x_1.
        n_fft: length of the Fourier transform in samples.
        log: use the natural logarithm of the energies plus 1e-6.
        win_length: length of the periodic window in samples.
        hop_length: samples between frames.
        f_min: lower edge of the filters in Hz.
        f_max: upper edge of the filters in Hz.
        n_mels: number of mel filters.
        window_fn: shape of the window.
        mel_scale: HTK's mel formula or Slaney's.
        normalize: ``mn`` subtracts each utterance's mean.
    """

    rate: int = 16000

    def __init__(
        self,
        preemp: bool = True,
        n_fft: PositiveInt = 512,
        log: bool = False,
        win_length: PositiveInt = 400,
        hop_length: PositiveInt = 160,
        f_min: float = 20,
        f_max: float = 7600,
        n_mels: PositiveInt = 80,
        window_fn: Literal["hamming", "hann"] = "hamming",
        mel_scale: Literal["htk", "slaney"] = "htk",
        normalize: Literal["mn"] | None = None,
    ) -> None:
        filters_fm = mel_filters(n_mels, n_fft, self.rate, f_min, f_max, mel_scale == "htk", unit_area=False)
        super().__init__(centred_window(window_fn, win_length, n_fft), filters_fm, hop_length)
        self.preemp, self.log, self.normalize = preemp, log, normalize

    @torch.no_grad()
    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return mel energies (B, frames, n_mels) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        if self.preemp:
            wave_bt, lengths_b = continue_by_zeros(wave_bt.float(), lengths_b, 2)
            before_bt = torch.cat((wave_bt[:, 1:2], wave_bt[:, :-1]), dim=1)
            wave_bt = before_bt.mul_(-PREEMPHASIS).add_(wave_bt)
        feats_btm, frames_b = self.mel_energies(wave_bt, lengths_b)
        if self.log:
            feats_btm = (feats_btm + LOG_FLOOR).log()
        if self.normalize == "mn":
            mask_b1t = padding_mask(frames_b, feats_btm.shape[1], feats_btm.device)
            feats_btm = feats_btm - masked_mean(feats_btm.transpose(1, 2), mask_b1t).transpose(1, 2)
        return feats_btm, frames_b
