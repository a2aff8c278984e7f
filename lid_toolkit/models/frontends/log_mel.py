"""Log-mel front end (``frontend: default``).

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window, d features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lid_toolkit.models.arguments import PositiveInt, SamplingRate, Window, component
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.frontends.mel_filters import mel_filters
from lid_toolkit.models.frontends.power_spectrum import Ends, centred_window, power_spectrum

ENERGY_FLOOR = 1e-10


@component(
    fixed={"onesided": True, "apply_stft": True, "frontend_conf": None},
    small={"n_fft": 64, "hop_length": 80, "n_mels": 16},
)
class LogMelFrontend(FrontendBase):
    """Logarithm of mel-filter energies: log(max(|STFT|^2 M, 1e-10)); M are triangles of unit area.

    ESPnet's ``DefaultFrontend``: (B, samples) to (B, frames, n_mels), frames = samples / hop_length
    + 1, rounded down. Frames at the end read a mirrored signal: each utterance is mirrored at its own
    end, not at the batch's. Always computed in float32, also under autocast.

    Args:
        fs: sampling rate in Hz; ``16k`` means 16000.
        n_fft: length of the Fourier transform in samples.
        win_length: length of the periodic window, centred in ``n_fft``; null for ``n_fft``.
        hop_length: samples between frames.
        window: shape of the window; null for a rectangular one.
        center: centre frames on multiples of ``hop_length`` and mirror the signal at both ends; else
            frames begin at these multiples.
        normalized: divide the spectrum by the square root of ``n_fft``.
        n_mels: number of mel filters.
        fmin: lower edge of the filters in Hz; null for 0.
        fmax: upper edge of the filters in Hz; null for ``fs / 2``.
        htk: HTK's mel formula instead of Slaney's.
    """

    def __init__(
        self,
        fs: SamplingRate = 16000,
        n_fft: PositiveInt = 512,
        win_length: PositiveInt | None = None,
        hop_length: PositiveInt = 128,
        window: Window | None = "hann",
        center: bool = True,
        normalized: bool = False,
        n_mels: PositiveInt = 80,
        fmin: float | None = 0.0,
        fmax: float | None = None,
        htk: bool = False,
    ) -> None:
        super().__init__()
        self.rate, self.hop_length, self.output_size = fs, hop_length, n_mels
        self.ends: Ends = "mirror" if center else "none"
        window_n = centred_window(window, win_length or n_fft, n_fft)
        filters_fm = mel_filters(n_mels, n_fft, fs, fmin or 0.0, fs / 2 if fmax is None else fmax, htk)
        self.window_n: Tensor
        self.filters_fm: Tensor
        self.register_buffer("window_n", window_n / n_fft**0.5 if normalized else window_n, persistent=False)
        self.register_buffer("filters_fm", filters_fm, persistent=False)

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, frames, n_mels) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        with torch.autocast(wave_bt.device.type, enabled=False):
            power_btf, frames_b = power_spectrum(
                wave_bt.float(), lengths_b, self.window_n, self.hop_length, self.ends
            )
            return (power_btf @ self.filters_fm).clamp(min=ENERGY_FLOOR).log(), frames_b
