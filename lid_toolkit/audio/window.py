"""The bytes of a recording as a file object, which decoders read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lid_toolkit.audio.references import ByteRange


class Window:
    """Part of a file, as the file object that libsndfile or FFmpeg reads from. Read errors end the file.

    Args:
        byte_range: the part.
        patches: bytes to give out in place of those in the file, by their position in the part.
    """

    def __init__(self, byte_range: ByteRange, patches: Mapping[int, bytes] = MappingProxyType({})) -> None:
        self._descriptor, self._begin = byte_range.descriptor, byte_range.begin
        self._patches = patches
        self._size = byte_range.end - byte_range.begin
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; see io.IOBase.seek."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(0, base + offset), self._size)  # a broken header may say any position
        return self._position

    def tell(self) -> int:
        """Return the position from the start of the window."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the current position; return how many bytes were read."""
        target = memoryview(buffer)[: max(0, min(len(buffer), self._size - self._position))]
        try:
            count = os.preadv(self._descriptor, [target], self._begin + self._position)
        except OSError:
            count = 0
        for place, data in self._patches.items():
            first, last = max(place, self._position), min(place + len(data), self._position + count)
            if first < last:
                target[first - self._position : last - self._position] = data[first - place : last - place]
        self._position += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; soundfile requires that the method exists."""
        buffer = bytearray(max(0, self._size - self._position if size < 0 else size))
        return bytes(buffer[: self.readinto(buffer)])

    def write(self, data: bytes) -> int:
        """Raise OSError; soundfile requires that the method exists."""
        raise OSError(f"read-only: cannot write {len(data)} bytes")
