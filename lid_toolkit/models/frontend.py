"""Log-mel front end (``frontend: default``): waveform to log mel-filter energies, inside the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.errors import LidError
from lid_toolkit.models.masking import padding_mask, zero_padding
from lid_toolkit.models.mel import mel_filters

ENERGY_FLOOR = 1e-10


class LogMelFrontend(nn.Module):
    """Short-time Fourier transform, power, mel filters, natural logarithm.

    ESPnet's ``DefaultFrontend``: frames centred on multiples of ``hop_length``, the signal mirrored
    at both ends. The mirror stands at each utterance's own end, never at the batch's. Computed in
    float32 whatever the autocast type.

    Args:
        fs: sampling rate in Hz.
        n_fft: length of the Fourier transform in samples.
        win_length: length of the periodic Hann window, centred in ``n_fft``; None means ``n_fft``.
        hop_length: samples between frames.
        n_mels: number of mel filters.
        fmin: lower edge of the filters in Hz.
        fmax: upper edge of the filters in Hz; None means ``fs / 2``.
        htk: HTK's mel formula instead of Slaney's.
    """

    def __init__(
        self,
        fs: int = 16000,
        n_fft: int = 512,
        win_length: int | None = None,
        hop_length: int = 128,
        n_mels: int = 80,
        fmin: float = 0.0,
        fmax: float | None = None,
        htk: bool = False,
    ) -> None:
        super().__init__()
        if (win_length or n_fft) > n_fft:
            raise LidError(
                f"win_length {win_length} is longer than n_fft {n_fft}",
                where="frontend_conf",
                mend="choose win_length <= n_fft",
            )
        self.rate, self.n_fft, self.hop_length, self.output_size = fs, n_fft, hop_length, n_mels
        window_n = F.pad(
            torch.hann_window(win_length or n_fft), _centre_padding(n_fft - (win_length or n_fft))
        )
        filters_fm = mel_filters(n_mels, n_fft, fs, fmin, fs / 2 if fmax is None else fmax, htk)
        self.window_n: Tensor
        self.filters_fm: Tensor
        self.register_buffer("window_n", window_n, persistent=False)
        self.register_buffer("filters_fm", filters_fm, persistent=False)

    @property
    def shortest(self) -> int:
        """Fewest samples the mirror at the ends needs."""
        return self.n_fft // 2 + 1

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, frames, n_mels) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: valid samples of each, on the CPU; shorter ones than ``shortest`` are
                continued by zeros.
        """
        wave_bt, lengths_b = self._at_least_shortest(wave_bt, lengths_b)
        with torch.autocast(wave_bt.device.type, enabled=False):
            mirrored_bt = mirror_ends(wave_bt.float(), lengths_b, self.n_fft // 2)
            spectrum_bft = torch.stft(
                mirrored_bt,
                self.n_fft,
                self.hop_length,
                window=self.window_n,
                center=False,
                return_complex=True,
            )
            power_btf = torch.view_as_real(spectrum_bft).square().sum(-1).transpose(1, 2)
            feats_btd = (power_btf @ self.filters_fm).clamp(min=ENERGY_FLOOR).log()
        return feats_btd, lengths_b // self.hop_length + 1

    def _at_least_shortest(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        if int(lengths_b.min()) >= self.shortest:
            return wave_bt, lengths_b
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        wave_bt = zero_padding(wave_bt[:, None], mask_b1t)[:, 0]
        missing = max(self.shortest - wave_bt.shape[1], 0)
        return F.pad(wave_bt, (0, missing)), lengths_b.clamp(min=self.shortest)


class PrecomputedFeatures(nn.Module):
    """No front end (``frontend: null``): the model is given features instead of waveforms.

    Args:
        input_size: dimension of the features.
    """

    rate = None

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (B, T, input_size) in float32 and their lengths (B,), as they are."""
        return feats_btd.float(), lengths_b


def mirror_ends(wave_bt: Tensor, lengths_b: Tensor, reach: int) -> Tensor:
    """Reflect each waveform at its start and at its own end; returns (B, T + 2 * reach).

    Beyond an utterance's mirrored tail the values are arbitrary: no valid frame reads them.
    """
    samples = wave_bt.shape[1]
    if int(lengths_b.min()) >= samples:
        return F.pad(wave_bt[:, None], (reach, reach), mode="reflect")[:, 0]
    position_t = torch.arange(-reach, samples + reach, device=wave_bt.device).abs()
    last_b1 = (lengths_b.to(wave_bt.device) - 1)[:, None]
    source_bt = (last_b1 - (last_b1 - position_t).abs()).clamp(min=0)
    return wave_bt.gather(1, source_bt)


def _centre_padding(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2
