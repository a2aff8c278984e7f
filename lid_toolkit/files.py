"""Files that appear whole or not at all, and a lock that keeps two runs out of one directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from multiprocessing.util import register_after_fork
from pathlib import Path
from typing import IO, Any

from lid_toolkit.errors import LidError


@contextlib.contextmanager
def write_whole(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing such that readers see the old file or the whole new one.

    Writes to a temporary name in the same directory, then fsyncs and renames (POSIX ``rename`` is
    atomic). On an exception the temporary file is removed and the old file stays. Makes missing
    parent directories. ``mode`` is ``"w"`` (UTF-8, LF line ends) or ``"wb"``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return an unused name in ``path``'s directory, with its suffix so that writers know the format."""
    return path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")


def remove_leftovers(directory: Path) -> None:
    """Remove what killed writers left in ``directory``; nobody else may be writing there."""
    for path in directory.glob(".tmp-*"):
        path.unlink()


def fsync_directory(directory: Path) -> None:
    """Make a rename inside ``directory`` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: str | Path, doing: str) -> Iterator[None]:
    """Hold ``directory`` for this process alone; the kernel frees it however the process ends.

    Args:
        directory: made if missing; the lock is the file ``.lock`` inside.
        doing: what the holder does, told to whoever finds the door shut.

    Raises:
        LidError: another process holds the directory, or a file is in its place or above it.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        places = (directory, *directory.parents)
        file = next((path for path in places if path.exists() and not path.is_dir()), directory)
        raise LidError("is a file, not a directory", where=file) from None
    with open(directory / ".lock", "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise LidError(
                f"in use: {holder}", where=directory, mend="wait for it, or choose another directory"
            ) from None
        stream.truncate(0)
        stream.write(f"{doing} (process {os.getpid()} on {socket.gethostname()})")
        stream.flush()
        # A forked child may outlive its killed parent: it must not keep the door shut.
        register_after_fork(stream, lambda copy: copy.close())
        yield
