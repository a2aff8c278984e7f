"""Every kind of speech that can be identified, opened as samples that are read in order."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.kaldi_matrix import LARGEST
from lid_toolkit.audio.reader import (
    HIGHEST_RATE,
    LOWEST_RATE,
    AudioError,
    Reading,
    Recording,
    open_audio,
    open_content,
)
from lid_toolkit.errors import LidError

if TYPE_CHECKING:
    from torch import Tensor

Floats: TypeAlias = "npt.NDArray[np.float32]"

Array: TypeAlias = "npt.NDArray[np.generic] | Tensor"
Source: TypeAlias = "str | Path | Array | bytes | bytearray | memoryview | BinaryIO"
Speech: TypeAlias = "Source | Mapping[str, Any] | tuple[Array, float] | tuple[Source, float, float]"
"""One input:

- a path, or a path with start and end in seconds: ``(path, start, end)``;
- samples: a NumPy array, a PyTorch tensor, or anything that NumPy can convert, of shape (samples,),
  (1, samples) or (samples, channels); floats in [-1, 1], int16, int32 or uint8; ``(samples, rate)`` in Hz;
- the bytes of an audio file, or a file object that gives them;
- a mapping as in Hugging Face data sets: ``array`` and ``sampling_rate``, or ``bytes`` or ``path``.
"""

READING = Reading(allow_streams=True)
KINDS = "give a path, samples, (samples, rate), (path, start, end), bytes or a file object; several in a list"
INTEGERS = {"int16": (0, 32768), "int32": (0, 2**31), "uint8": (128, 128)}
"""Zero and full scale of the types of integers, as in wav files."""


@dataclass(frozen=True)
class Samples:
    """The samples of an input, mono.

    Attributes:
        name: what errors call the input.
        rate: samples per second.
        length: number of samples.
        channels: number of channels that were averaged.
        read: returns samples ``start`` to ``stop``, (stop - start,) float32; finite and not far outside
            [-1, 1], or AudioError. Ranges are read in order.
    """

    name: str
    rate: float
    length: int
    channels: int
    read: Callable[[int, int], Floats]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.length / self.rate


@contextlib.contextmanager
def opened(item: Speech, array_rate: float, name: str) -> Iterator[Samples]:
    """Open an input.

    Args:
        item: the input.
        array_rate: samples per second of arrays without a rate.
        name: what errors call it, unless it is a path.

    Raises:
        AudioError: it is not supported, cannot be read, or has no samples.
    """
    item, start, end = _range_of(item)
    with contextlib.ExitStack() as stack:
        if isinstance(item, str | os.PathLike):
            name = os.fspath(item)
            samples = _recorded(stack.enter_context(open_audio(name, READING)), name)
        elif isinstance(item, bytes | bytearray | memoryview):
            samples = _recorded(stack.enter_context(open_content(io.BytesIO(item), name)), name)
        elif hasattr(item, "read"):
            name = str(getattr(item, "name", name))
            samples = _recorded(stack.enter_context(open_content(cast(BinaryIO, item), name)), name)
        else:
            samples = _in_memory(item, array_rate, name)
        yield samples if end is None else _part(samples, start, end)


def is_supported(item: object) -> bool:
    """Return whether something is one input, and not several inputs or anything else."""
    if isinstance(item, tuple):
        if len(item) == 2:
            return hasattr(item[0], "__array__")
        return len(item) == 3 and is_number(item[1]) and is_number(item[2])
    if isinstance(item, Mapping):
        return any(key in item for key in ("array", "bytes", "path"))
    simple = isinstance(item, str | bytes | bytearray | memoryview | os.PathLike)
    return simple or hasattr(item, "read") or hasattr(item, "__array__")


def is_number(value: object) -> bool:
    """Return whether a value is a number, and not a truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def valid_rate(rate: object) -> float:
    """Return a rate in Hz that is a number in a plausible range; else raise AudioError."""
    if not is_number(rate) or not LOWEST_RATE <= rate <= HIGHEST_RATE:  # type: ignore[operator]
        raise AudioError(f"{rate!r:.40} is not a rate in Hz", where="sample_rate", mend="e.g. 8000")
    return float(rate)  # type: ignore[arg-type]


def _range_of(item: Any) -> tuple[Any, float, float | None]:
    """Return an input without its times; the start and the end in seconds, None if it has none."""
    if isinstance(item, Mapping):
        item = _of_mapping(item)
    if not is_supported(item):
        what = "no audio" if item is None else f"{type(item).__name__} is not supported"
        raise AudioError(what, where="speech", mend=KINDS)
    if not isinstance(item, tuple) or len(item) == 2:
        return item, 0.0, None
    source, start, end = item
    if not 0 <= start < end < np.inf:
        raise AudioError(f"no audio from {start} s to {end} s", where=source, mend="0 <= start < end")
    return source, float(start), float(end)


def _of_mapping(row: Mapping[str, Any]) -> Any:
    """Return what a mapping holds; None if it holds nothing."""
    if row.get("array") is not None:
        return row["array"] if row.get("sampling_rate") is None else (row["array"], row["sampling_rate"])
    return next((row[key] for key in ("bytes", "path") if row.get(key) is not None), None)


def _recorded(recording: Recording, name: str) -> Samples:
    info = recording.info
    return Samples(name, info.rate, info.num_samples, info.channels, recording.read)


def _part(samples: Samples, start: float, end: float) -> Samples:
    first, last = round(start * samples.rate), round(end * samples.rate)
    if last > samples.length:
        what = f"no audio from {start:g} s to {end:g} s: it lasts {samples.duration:.3f} s"
        raise AudioError(what, where=samples.name, mend="correct the times")
    return Samples(
        samples.name,
        samples.rate,
        last - first,
        samples.channels,
        lambda begin, stop: samples.read(first + begin, first + stop),
    )


def _in_memory(item: Any, array_rate: float, name: str) -> Samples:
    rate = array_rate
    if isinstance(item, tuple):
        item, rate = item[0], valid_rate(item[1])
    array = _array(item)
    shape: Sequence[int] = array.shape
    if array.ndim == 2 and shape[0] == 1:
        array = array[0]
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] < array.shape[1]):
        mend = "give (samples,), (1, samples) or (samples, channels)"
        raise AudioError(f"shape {tuple(shape)} is not supported", where=name, mend=mend)
    if array.dtype.name not in INTEGERS and not np.issubdtype(array.dtype, np.floating):
        mend = f"give floats, {', '.join(INTEGERS)}"
        raise AudioError(f"type {array.dtype} is not supported", where=name, mend=mend)
    channels = 1 if array.ndim == 1 else array.shape[1]
    return Samples(name, rate, len(array), channels, lambda start, stop: _mono(array[start:stop], name))


def _array(item: Any) -> npt.NDArray[Any]:
    if hasattr(item, "detach"):  # a tensor, perhaps on a GPU, and perhaps of a type that NumPy lacks
        item = item.detach().cpu()
        item = item.float() if item.is_floating_point() else item
    return np.asarray(item)


def _mono(array: npt.NDArray[Any], name: str) -> Floats:
    """Convert samples, (samples,) or (samples, channels), to float32 mono in [-1, 1]."""
    if array.dtype.name in INTEGERS:
        zero, scale = INTEGERS[array.dtype.name]
        wave = ((array.astype(np.float64) - zero) / scale).astype(np.float32)
    else:
        wave = array.astype(np.float32)
    if not np.isfinite(wave).all():
        raise AudioError("samples are not finite", where=name, mend="leave it out")
    if (largest := float(np.abs(wave).max(initial=0.0))) > LARGEST:
        what = f"the largest sample is {largest:g}"
        raise AudioError(what, where=name, mend="scale floats to [-1, 1], or give int16")
    return wave if wave.ndim == 1 else wave.mean(axis=1, dtype=np.float32)


def at_least_one(**numbers: int) -> None:
    """Raise LidError for a number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise LidError(f"must be at least 1, not {number}", where=name)
