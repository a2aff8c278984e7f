"""Another voice for the same words: pitch and formants moved apart from each other.

A recogniser of languages trained on one speaker of each learns the speaker. Moving the formants
(vocal tract length) and the fundamental independently makes many speakers of one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.resample import change_speed

Wave = npt.NDArray[np.float32]

FRAME_S, FRAMES_OVERLAP = 0.032, 4
LIFTER_S = 0.0025  # a pitch period at 400 Hz; a shorter one leaves the narrow formants of low voices behind
LARGEST_GAIN = 3.0  # natural logarithm: 26 dB
LOG_FLOOR = 1e-5


def change_voice(wave: Wave, rate: int, pitch: float, formants: float) -> Wave:
    """Multiply the fundamental by ``pitch`` and the formants by ``formants``; the tempo follows the pitch.

    Resampling multiplies both by ``pitch``; then each frame's spectral envelope, smoothed in the
    cepstrum (Oppenheim and Schafer, 1968), is stretched by ``formants / pitch`` while the fine
    structure stays. The result is ``1 / pitch`` times as long.
    """
    shifted = change_speed(wave, pitch)
    return shift_formants(shifted, rate, formants / pitch)


def shift_formants(wave: Wave, rate: int, factor: float) -> Wave:
    """Stretch the spectral envelope by ``factor`` along frequency, keeping pitch, tempo and length."""
    size = 1 << round(np.log2(FRAME_S * rate))
    hop = size // FRAMES_OVERLAP
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(wave, (size, size + hop - len(wave) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(frames)
    log_magnitude = np.log(np.abs(spectra) + LOG_FLOOR).astype(np.float32)
    envelope = smooth_cepstrally(log_magnitude, max(int(LIFTER_S * rate), 2))
    bins = np.arange(envelope.shape[1], dtype=np.float32)
    source = np.minimum(bins / factor, bins[-1])
    low = np.minimum(source.astype(int), len(bins) - 2)
    share = source - low
    moved = envelope[:, low] * (1 - share) + envelope[:, low + 1] * share
    spectra *= np.exp(np.clip(moved - envelope, -LARGEST_GAIN, LARGEST_GAIN))
    changed = overlap_add(np.fft.irfft(spectra, size) * window, hop)
    scale = np.sum(window**2) / hop
    result: Wave = (changed[size : size + len(wave)] / scale).astype(np.float32)
    return result


def smooth_cepstrally(log_magnitude: npt.NDArray[np.floating], kept: int) -> npt.NDArray[np.floating]:
    """Keep the first ``kept`` cepstral coefficients of log spectra (frames, bins)."""
    cepstra = np.fft.irfft(log_magnitude)
    cepstra[:, kept : cepstra.shape[1] - kept + 1] = 0.0
    return np.fft.rfft(cepstra).real


def overlap_add(frames: npt.NDArray[np.floating], hop: int) -> npt.NDArray[np.floating]:
    """Sum frames (count, size) that start ``hop`` apart; ``size`` is a multiple of ``hop``."""
    count, size = frames.shape
    parts = frames.reshape(count, size // hop, hop)
    out = np.zeros((count + size // hop - 1, hop), dtype=frames.dtype)
    for part in range(size // hop):
        out[part : part + count] += parts[:, part]
    return out.reshape(-1)
