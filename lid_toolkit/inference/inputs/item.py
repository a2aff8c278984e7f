"""One input: an id, and its speech or the error that is in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.references import AudioError
from lid_toolkit.prepare.manifest import SUFFIXES

Floats: TypeAlias = "npt.NDArray[np.float32]"

Source: TypeAlias = "str | bytes | tuple[str, float, float]"
"""A path or ``ark:offset``; the bytes of a file; a path with start and end in seconds."""


@dataclass(frozen=True)
class Input:
    """One recording, or a part of it, to identify.

    Attributes:
        id: its name in the output. It is valid UTF-8 even if a file's name is not.
        speech: where its audio is, or why it cannot be read.
    """

    id: str
    speech: Source | AudioError


def broken(name: str, what: str, mend: str = "") -> Input:
    """Return the input that stands for something that cannot be read."""
    return Input(text_of(name), AudioError(what, where=text_of(name), mend=mend))


def text_of(name: str) -> str:
    r"""Return a name as valid UTF-8 on one line: bytes that are not are written as ``\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_recording(name: str) -> bool:
    """Return whether a file in a folder or archive is a recording by its name; hidden ones are not."""
    base = name.rpartition("/")[2]
    dot = base.rfind(".")
    return not base.startswith(".") and base[dot:].lower() in SUFFIXES
