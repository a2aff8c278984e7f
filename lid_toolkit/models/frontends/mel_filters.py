"""Mel filter banks and energies. Only this module imports torchaudio, which is no longer developed further.

Shapes: b batch, t time, f frequency bins, m mel filters, n samples of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.frontends.power_spectrum import Ends, filtered_power


class MelFrontend(FrontendBase):
    """A front end of mel energies; a subclass sets ``rate``.

    Args:
        window_n: window, as long as the Fourier transform.
        filters_fm: mel filters.
        hop_length: samples between frames.
        ends: what is beyond both ends of the signal, see :func:`.filtered_power`.
    """

    def __init__(self, window_n: Tensor, filters_fm: Tensor, hop_length: int, ends: Ends = "mirror") -> None:
        super().__init__()
        self.hop_length, self.output_size, self.ends = hop_length, filters_fm.shape[1], ends
        self.window_n: Tensor
        self.filters_fm: Tensor
        self.register_buffer("window_n", window_n, persistent=False)
        self.register_buffer("filters_fm", filters_fm, persistent=False)

    def mel_energies(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (B, frames, n_mels), float32 with any autocast type, and frame counts (B,)."""
        with torch.autocast(wave_bt.device.type, enabled=False):
            return filtered_power(
                wave_bt.float(), lengths_b, self.window_n, self.filters_fm, self.hop_length, self.ends
            )


def mel_filters(
    n_mels: int, n_fft: int, fs: int, fmin: float, fmax: float, htk: bool, unit_area: bool = True
) -> Tensor:
    """Return triangular filters (n_fft // 2 + 1, n_mels), by default those of librosa and ESPnet.

    Args:
        n_mels: number of filters.
        n_fft: length of the Fourier transform.
        fs: sampling rate in Hz.
        fmin: lower edge of the first filter in Hz.
        fmax: upper edge of the last filter in Hz.
        htk: HTK's mel formula instead of Slaney's.
        unit_area: filters of unit area instead of unit height.

    Raises:
        LidError: there is no frequency between the edges, or torchaudio does not fit the installed torch.
    """
    check_edges(fmin, fmax, fs)
    try:
        from torchaudio.functional import melscale_fbanks
    except (ImportError, OSError) as error:
        raise LidError(
            f"torchaudio cannot be imported with the installed torch ({error})",
            mend="pip install torch==2.11.0 torchaudio==2.11.0; CPU builds of torch do not include it",
        ) from error
    filters: Tensor = melscale_fbanks(
        n_freqs=n_fft // 2 + 1,
        f_min=fmin,
        f_max=fmax,
        n_mels=n_mels,
        sample_rate=fs,
        norm="slaney" if unit_area else None,
        mel_scale="htk" if htk else "slaney",
    )
    return filters


def check_edges(fmin: float, fmax: float, fs: int) -> None:
    """Raise LidError if ``fmin`` to ``fmax`` Hz is not a range of frequencies at the rate ``fs``."""
    if not 0 <= fmin < min(fmax, fs / 2):
        raise LidError(
            f"mel filters from {fmin:g} to {fmax:g} Hz, but the spectrum ends at {fs / 2:g} Hz",
            where="frontend_conf",
            mend="choose a lower edge of at least 0, below the upper edge and below half the sampling rate",
        )
