"""Log-mel front end (``frontend: default``).

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window, d features.
"""

from __future__ import annotations

from torch import Tensor

from lid_toolkit.models.arguments import PositiveInt, SamplingRate, Window, component
from lid_toolkit.models.frontends.mel_filters import MelFrontend, mel_filters
from lid_toolkit.models.frontends.power_spectrum import centred_window

ENERGY_FLOOR = 1e-10


@component(
    fixed={"onesided": True, "apply_stft": True, "frontend_conf": None},
    small={"n_fft": 64, "hop_length": 80, "n_mels": 16},
)
class LogMelFrontend(MelFrontend):
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
        window_n = centred_window(window, win_length or n_fft, n_fft)
        filters_fm = mel_filters(n_mels, n_fft, fs, fmin or 0.0, fs / 2 if fmax is None else fmax, htk)
        window_n = window_n / n_fft**0.5 if normalized else window_n
        super().__init__(window_n, filters_fm, hop_length, "mirror" if center else "none")
        self.rate = fs

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, frames, n_mels) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        energy_btm, frames_b = self.mel_energies(wave_bt, lengths_b)
        return energy_btm.clamp(min=ENERGY_FLOOR).log(), frames_b
