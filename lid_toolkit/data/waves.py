"""Read waveforms from disk and pad them to a batch, for training, identification and preparation.

Shapes: b batch, t samples (or frames of features).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.augment.fourier import Wave
from lid_toolkit.data.features import Features
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError


def read_wave(ref: str, rate: int, start: int = 0, stop: int | None = None) -> Wave:
    """Return the samples of a formatted recording from ``start`` to before ``stop``.

    Raises:
        AudioError: the recording cannot be read.
        LidError: its sampling rate is not ``rate``; the whole set probably has another rate.
    """
    wave, its_rate = read_audio(ref, start, stop)
    if its_rate != rate:
        raise LidError(f"sampling rate is {its_rate} Hz, not {rate} Hz", where=ref, redo="formatting")
    return wave


def read_waves(
    refs: Table, rows: Iterable[int], rate: int, lengths_u: npt.NDArray[np.int64] | None = None
) -> tuple[list[tuple[int, Wave]], list[tuple[int, str]]]:
    """Read some utterances of a set.

    Args:
        refs: utterances and their audio.
        rows: the rows of ``refs`` to read.
        rate: sampling rate in Hz that the audio must have.
        lengths_u: number of samples to read for each row of ``refs``; None reads all.

    Returns:
        (row, waveform) of utterances that can be read, and (row, reason) of the others.
    """
    waves: list[tuple[int, Wave]] = []
    failed: list[tuple[int, str]] = []
    for row in rows:
        try:
            stop = None if lengths_u is None else int(lengths_u[row])
            waves.append((row, read_wave(refs.value(row), rate, 0, stop)))
        except AudioError as error:
            failed.append((row, str(error)))
    return waves, failed


def pad(waves: Sequence[Wave | Features]) -> tuple[Tensor, Tensor]:
    """Return waveforms (T,) or features (T, D) as one zero-padded tensor, and their lengths (B,)."""
    lengths_b = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
    if not waves:
        return torch.empty(0, 0), lengths_b
    return pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True), lengths_b
