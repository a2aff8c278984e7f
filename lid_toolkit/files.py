"""Write files atomically, and lock directories against simultaneous runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Container, Iterator
from multiprocessing.util import register_after_fork
from pathlib import Path
from typing import IO, Any

from lid_toolkit.errors import LidError, WorkName


@contextlib.contextmanager
def write_whole(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing, so that readers see either the old file or the complete new one.

    It writes to a temporary file in the same directory, then calls fsync and renames it, because POSIX
    ``rename`` is atomic. After an exception the temporary file is removed and the old file is kept. Missing
    parent directories are created. ``mode`` is ``"w"`` (UTF-8, LF line ends) or ``"wb"``.
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
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_directory(path: Path, redo: WorkName | None = None) -> None:
    """Raise LidError unless ``path`` is a directory; ``redo`` is the work that makes it."""
    if not path.is_dir():
        raise LidError(
            "is a file, not a directory" if path.exists() else "does not exist", where=path, redo=redo
        )


def temporary_beside(path: Path) -> Path:
    """Return an unused path in the directory of ``path``, with the same suffix, which some writers need."""
    return path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")


def remove_leftovers(directory: Path, names: Container[str] | None = None) -> None:
    """Remove what killed writers left in ``directory`` under temporary names.

    With ``names``, only what they left of files and directories with these names. No other process may be
    writing them.
    """
    for path in directory.glob(".tmp-*-*"):
        if names is not None and path.name.split("-", 2)[2] not in names:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def fsync(path: Path) -> None:
    """Write a file, or the names in a directory, to disk, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(
    directory: str | Path, doing: str, mend: str = "wait for it, or choose another directory"
) -> Iterator[None]:
    """Lock ``directory`` for this process. The kernel releases the lock however the process ends.

    Args:
        directory: created if missing; the lock is the file ``.lock`` in it.
        doing: what this process does, for the error message of other processes.
        mend: what the user of another process can do, for this process's message.

    Raises:
        LidError: another process has locked the directory, or the path or one of its parents is a file.
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
            raise LidError(f"in use: {holder}", where=directory, mend=mend) from None
        stream.truncate(0)
        stream.write(f"{doing} (process {os.getpid()} on {socket.gethostname()})")
        stream.flush()
        # A forked child may outlive its killed parent, and must not keep the lock.
        register_after_fork(stream, lambda copy: copy.close())
        yield
