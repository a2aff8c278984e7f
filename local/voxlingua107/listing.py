"""List language folders and read their WAV headers in parallel. Names are stored compactly in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.reader import AudioError, audio_info
from local.parallel import parallel


@dataclass(frozen=True)
class FolderListing:
    """The recordings of one language folder that can be read, sorted by name.

    Attributes:
        folder: the folder; its name is the corpus's language code.
        names: file names without suffix, UTF-8, separated by newlines.
        seconds: (files,) float32, durations.
        dropped: name and fault of each file that cannot be read.
    """

    folder: Path
    names: bytes
    seconds: npt.NDArray[np.float32]
    dropped: tuple[tuple[str, str], ...]

    @property
    def code(self) -> str:
        """The language code that the corpus uses."""
        return self.folder.name

    def stems(self) -> list[str]:
        """Return the file names without suffix."""
        return self.names.decode().split("\n") if self.names else []


def list_folder(folder: Path) -> FolderListing:
    """List the ``.wav`` files of a folder and read their headers.

    Files that are empty, truncated or not audio, or whose names are not UTF-8, are dropped with the reason.
    Hidden files are ignored.
    """
    stems: list[str] = []
    seconds: list[float] = []
    dropped: list[tuple[str, str]] = []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for name in names:
        stem = name.removesuffix(".wav")
        try:
            if not name.isprintable():
                raise AudioError("the name has characters that are not printable UTF-8")
            if stem == name:
                raise AudioError("not a .wav file")
            info = audio_info(f"{folder}/{name}")
        except AudioError as error:
            dropped.append((ascii(name)[1:-1] if not name.isprintable() else stem, error.what))
            continue
        stems.append(stem)
        seconds.append(info.num_samples / info.rate)
    return FolderListing(folder, "\n".join(stems).encode(), np.array(seconds, np.float32), tuple(dropped))


def list_folders(folders: Sequence[Path], jobs: int) -> list[FolderListing]:
    """List several folders in parallel; the result has the same order."""
    return list(parallel(list_folder, folders, jobs, "read headers", "folder", at_once=1))
