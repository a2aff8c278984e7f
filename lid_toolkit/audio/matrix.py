r"""Waveforms kept as Kaldi matrices or vectors: an archive entry that starts with ``\0B``.

Kinds, and what their values are: ``FM``, ``FV`` (float32) and ``DM``, ``DV`` (float64) hold samples
in [-1, 1]; ``CM2``, two bytes a value, holds 16-bit samples where its range is that of int16, as
Kaldi's compression method ``kTwoByteSignedInteger`` writes, else samples in [-1, 1]. Of the two
dimensions of a matrix the longer is time. Layout: Kaldi's ``matrix/kaldi-matrix.cc`` and
``matrix/compressed-matrix.h``; https://kaldi-asr.org/doc/io.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.entry import AudioError, Entry

MARK = b"\0B"
LARGEST = 64.0
"""Floating-point samples above full scale are no fault; those this far above were not scaled."""

HEAD_BYTES = 32

_VECTOR = struct.Struct("<bi")
_MATRIX = struct.Struct("<bibi")
_TWO_BYTES = struct.Struct("<ffii")
_TYPES = {b"F": "<f4", b"D": "<f8"}
_INT16_RANGE = (-32768.0, 65535.0)


@dataclass(frozen=True)
class Matrix:
    """Where the values of a matrix lie and what they mean.

    Attributes:
        entry: the archive entry.
        data_start: where the values start in the file.
        dtype: of the values on disk.
        rows: of the matrix; values of a row lie together.
        columns: of the matrix.
        scale: of a value to a sample in [-1, 1].
        offset: added to the scaled value.
    """

    entry: Entry
    data_start: int
    dtype: np.dtype[np.generic]
    rows: int
    columns: int
    scale: float = 1.0
    offset: float = 0.0

    @property
    def frames(self) -> int:
        """Samples a channel."""
        return max(self.rows, self.columns)

    @property
    def channels(self) -> int:
        """Samples a frame."""
        return min(self.rows, self.columns)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); raises AudioError if not scaled."""
        if self.rows >= self.columns:
            values = self._values(start * self.columns, (stop - start) * self.columns)
            wave = values.reshape(-1, self.columns)
        else:
            channels = [self._values(row * self.columns + start, stop - start) for row in range(self.rows)]
            wave = np.stack(channels, axis=1)
        samples = (wave * self.scale + self.offset).astype(np.float32)
        if np.abs(samples).max(initial=0.0) > LARGEST:
            raise AudioError(
                "holds samples far beyond [-1, 1]", where=self.entry.ref, mend="divide them by 32768"
            )
        return samples

    def _values(self, first: int, count: int) -> NDArray[np.float64]:
        size = self.dtype.itemsize
        data = self.entry.bytes_at(self.data_start + first * size, count * size)
        with np.errstate(invalid="ignore"):  # NaN is told by the reader
            return np.frombuffer(data, dtype=self.dtype).astype(np.float64)


def read_matrix_header(entry: Entry) -> Matrix | None:
    """Return the matrix that an entry is, or None if it is none.

    Raises:
        AudioError: a kind that holds no waveform, or less in the file than the header says.
    """
    head = entry.bytes_at(entry.begin, HEAD_BYTES)
    if not head.startswith(MARK):
        return None
    kind, _, rest = head[len(MARK) :].partition(b" ")
    start = entry.begin + len(MARK) + len(kind) + 1
    try:
        matrix = _matrix(entry, kind, rest, start)
    except (struct.error, KeyError):
        raise AudioError(
            "a Kaldi object that is no waveform", where=entry.ref, mend="FM, FV, DM, DV or CM2 is one"
        ) from None
    count = matrix.rows * matrix.columns
    present = (entry.end - matrix.data_start) // matrix.dtype.itemsize
    if matrix.rows < 0 or matrix.columns < 0 or count > present:
        raise entry.truncated(count, present)
    return matrix


def _matrix(entry: Entry, kind: bytes, rest: bytes, start: int) -> Matrix:
    if kind == b"CM2":
        least, extent, rows, columns = _TWO_BYTES.unpack_from(rest)
        unit = 32768.0 if (least, extent) == _INT16_RANGE else 1.0
        return Matrix(
            entry,
            start + _TWO_BYTES.size,
            np.dtype("<u2"),
            rows,
            columns,
            extent / 65535.0 / unit,
            least / unit,
        )
    dtype = np.dtype(_TYPES[kind[:1]])
    if kind[1:] == b"V":
        _, rows = _VECTOR.unpack_from(rest)
        return Matrix(entry, start + _VECTOR.size, dtype, rows, 1)
    if kind[1:] != b"M":
        raise KeyError(kind)
    _, rows, _, columns = _MATRIX.unpack_from(rest)
    return Matrix(entry, start + _MATRIX.size, dtype, rows, columns)
