"""Mel filter banks. Only this module imports torchaudio, which is no longer developed further."""

from __future__ import annotations

from torch import Tensor

from lid_toolkit.errors import LidError


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
