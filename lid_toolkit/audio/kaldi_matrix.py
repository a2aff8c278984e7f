r"""Waveforms stored as Kaldi matrices or vectors: archive entries that start with ``\0B``.

``FM``, ``FV`` (float32) and ``DM``, ``DV`` (float64) contain samples in [-1, 1]. ``CM2``, with two bytes
per value, contains 16-bit samples if its range is that of int16 (Kaldi's compression method
``kTwoByteSignedInteger``), else samples in [-1, 1]. The longer dimension of a matrix is time. Layout: Kaldi's
``matrix/kaldi-matrix.cc`` and ``matrix/compressed-matrix.h``; https://kaldi-asr.org/doc/io.html.

kaldiio reads the same entries, but only whole: this module exists so that a crop of a long recording is
one seek and one read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.references import AudioError, ByteRange

MARK = b"\0B"
LARGEST = 64.0
"""Floating-point samples somewhat above full scale are allowed; above this, they were never scaled."""

HEAD_BYTES = 32

_VECTOR = struct.Struct("<bi")
_MATRIX = struct.Struct("<bibi")
_TWO_BYTES = struct.Struct("<ffii")
_TYPES = {b"F": "<f4", b"D": "<f8"}
_INT16_RANGE = (-32768.0, 65535.0)


@dataclass(frozen=True)
class Matrix:
    """Where the values of a matrix are and what they mean.

    Attributes:
        byte_range: the archive entry.
        data_start: position of the first value in the file.
        dtype: of the values on disk.
        rows: number of rows; the values of a row are next to each other.
        columns: number of columns.
        scale: factor from a value to a sample in [-1, 1].
        offset: added to the scaled value.
    """

    byte_range: ByteRange
    data_start: int
    dtype: np.dtype[np.generic]
    rows: int
    columns: int
    scale: float = 1.0
    offset: float = 0.0

    @property
    def frames(self) -> int:
        """Samples per channel."""
        return max(self.rows, self.columns)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return min(self.rows, self.columns)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); AudioError if they are unscaled."""
        if self.rows >= self.columns:
            values = self._values(start * self.columns, (stop - start) * self.columns)
            wave = values.reshape(-1, self.columns)
        else:
            channels = [self._values(row * self.columns + start, stop - start) for row in range(self.rows)]
            wave = np.stack(channels, axis=1)
        samples = (wave * self.scale + self.offset).astype(np.float32)
        if np.abs(samples).max(initial=0.0) > LARGEST:
            raise AudioError(
                "contains samples far outside [-1, 1]", where=self.byte_range.ref, mend="divide them by 32768"
            )
        return samples

    def _values(self, first: int, count: int) -> NDArray[np.float64]:
        size = self.dtype.itemsize
        data = self.byte_range.bytes_at(self.data_start + first * size, count * size)
        with np.errstate(invalid="ignore"):  # the reader reports NaN
            return np.frombuffer(data, dtype=self.dtype).astype(np.float64)


def read_matrix_header(byte_range: ByteRange) -> Matrix | None:
    """Return the matrix at the start of these bytes, or None if they are not a Kaldi object.

    Raises:
        AudioError: another kind of Kaldi object, or fewer values than the header says.
    """
    head = byte_range.bytes_at(byte_range.begin, HEAD_BYTES)
    if not head.startswith(MARK):
        return None
    kind, _, rest = head[len(MARK) :].partition(b" ")
    start = byte_range.begin + len(MARK) + len(kind) + 1
    try:
        matrix = _matrix(byte_range, kind, rest, start)
    except (struct.error, KeyError):
        raise AudioError(
            "a Kaldi object that is not a waveform",
            where=byte_range.ref,
            mend="supported: FM, FV, DM, DV and CM2",
        ) from None
    count = matrix.rows * matrix.columns
    present = (byte_range.end - matrix.data_start) // matrix.dtype.itemsize
    if matrix.rows < 0 or matrix.columns < 0 or count > present:
        raise byte_range.truncated(count, present)
    return matrix


def _matrix(byte_range: ByteRange, kind: bytes, rest: bytes, start: int) -> Matrix:
    if kind == b"CM2":
        least, extent, rows, columns = _TWO_BYTES.unpack_from(rest)
        unit = 32768.0 if (least, extent) == _INT16_RANGE else 1.0
        return Matrix(
            byte_range,
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
        return Matrix(byte_range, start + _VECTOR.size, dtype, rows, 1)
    if kind[1:] != b"M":
        raise KeyError(kind)
    _, rows, _, columns = _MATRIX.unpack_from(rest)
    return Matrix(byte_range, start + _MATRIX.size, dtype, rows, columns)
