"""NeMo's normalised log-mel features (``frontend: nemo_mel``), for its trained models.

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Fraction, PositiveInt, SamplingRate, component
from lid_toolkit.models.frontends.mel_filters import MelFrontend, mel_filters
from lid_toolkit.models.masking import continue_by_zeros, masked_mean, padding_mask, zero_padding

GUARD = 2.0**-24
DEVIATION_GUARD = 1e-5


@component(small={"n_fft": 64, "win_length": 48, "hop_length": 80, "n_mels": 16})
class NemoMel(MelFrontend):
    """Log-mel energies of a pre-emphasised waveform, each band of zero mean and unit variance.

    NeMo's ``AudioToMelSpectrogramPreprocessor`` in evaluation: y_t = x_t - preemphasis x_{t-1};
    log(|STFT|^2 M + 2^-24) with centred frames and zeros beyond both ends; (x - mean) / (deviation + 1e-5)
    over the utterance's frames, with the unbiased deviation. Maps (B, samples) to (B, frames, n_mels), where
    frames = samples / hop_length, rounded down.

    Args:
        sample_rate: sampling rate in Hz; ``16k`` means 16000.
        n_fft: length of the Fourier transform in samples.
        win_length: length of the Hann window, centred in ``n_fft``.
        hop_length: samples between frames.
        n_mels: number of mel filters.
        preemphasis: factor of the previous sample.
    """

    def __init__(
        self,
        sample_rate: SamplingRate = 16000,
        n_fft: PositiveInt = 512,
        win_length: PositiveInt = 400,
        hop_length: PositiveInt = 160,
        n_mels: PositiveInt = 80,
        preemphasis: Fraction = 0.97,
    ) -> None:
        if (spare := n_fft - win_length) < 0:
            raise LidError(f"win_length {win_length} is longer than n_fft {n_fft}", where="frontend_conf")
        window_n = F.pad(torch.hann_window(win_length, periodic=False), (spare // 2, spare - spare // 2))
        filters_fm = mel_filters(n_mels, n_fft, sample_rate, 0.0, sample_rate / 2, htk=False)
        super().__init__(window_n, filters_fm, hop_length, "zeros")
        self.rate, self.preemphasis = sample_rate, preemphasis

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, n_mels) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU. Utterances too short for two frames, which
                have no deviation, are padded with zeros.
        """
        wave_bt, lengths_b = continue_by_zeros(wave_bt.float(), lengths_b, 2 * self.hop_length)
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        first_b1, rest_bt = wave_bt[:, :1], wave_bt[:, 1:] - self.preemphasis * wave_bt[:, :-1]
        wave_bt = zero_padding(torch.cat((first_b1, rest_bt), dim=1)[:, None], mask_b1t)[:, 0]
        energy_btm, _ = self.mel_energies(wave_bt, lengths_b)
        frames_b = lengths_b // self.hop_length
        level_bmt = (energy_btm + GUARD).log()[:, : int(frames_b.max())].transpose(1, 2)
        mask_b1t = padding_mask(frames_b, level_bmt.shape[2], level_bmt.device)
        level_bmt = level_bmt - masked_mean(level_bmt, mask_b1t)
        unbiased_b11 = (frames_b / (frames_b - 1)).to(level_bmt.device, non_blocking=True)[:, None, None]
        deviation_bm1 = (masked_mean(level_bmt.square(), mask_b1t) * unbiased_b11).sqrt()
        return (level_bmt / (deviation_bm1 + DEVIATION_GUARD)).transpose(1, 2), frames_b
