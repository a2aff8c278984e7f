"""Download large files with progress. An interrupted download resumes; a file appears only once complete."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses in seconds between attempts. After any progress, the list starts again."""

TIMEOUT_S = 60.0
MIB = 1 << 20
SPARE_BYTES = 1 << 30
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which another attempt may succeed (RFC 9110, RFC 6585)."""

RETRY = "check the network and the address in db.sh, then run this again to resume"


@contextmanager
def web_client() -> Iterator[httpx2.Client]:
    """Yield an HTTP client that follows redirects and uses the proxies set in the environment."""
    with httpx2.Client(
        timeout=TIMEOUT_S, follow_redirects=True, headers={"Accept-Encoding": "identity"}
    ) as client:
        yield client


def fetch_text(client: httpx2.Client, url: str) -> str:
    """Return the content of a small text file. Raises LidError if it is not available."""
    try:
        answer = client.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    _refuse(answer, url)
    return answer.text


def remote_bytes(client: httpx2.Client, url: str) -> int | None:
    """Return the size of a file, or None if the server does not report it; LidError if it is missing."""
    try:
        answer = client.head(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    _refuse(answer, url)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def require_space(folder: Path, wanted: int, purpose: str) -> None:
    """Raise LidError unless the disk of ``folder`` has ``wanted`` bytes free, plus 1 GiB in reserve."""
    if wanted <= 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE_BYTES:
        raise LidError(
            f"{purpose} needs {_gib(wanted + SPARE_BYTES)}, but only {_gib(free)} is free",
            where=folder,
            mend="free some space, or set a directory on another disk in db.sh",
        )


def fetch_all(client: httpx2.Client, wanted: Iterable[tuple[str, Path]], title: str) -> None:
    """Download each address to its path, one after the other, after checking that there is space for all.

    A file is downloaded as ``NAME.part`` next to its path and renamed at the end. A later call resumes it.

    Raises:
        LidError: there is too little space, an address does not exist, or the connection keeps failing.
    """
    files = [(url, path, remote_bytes(client, url)) for url, path in wanted]
    if not files:
        return
    room = sum((size or 0) - _have(path) for _, path, size in files)
    require_space(files[0][1].parent, room, title)
    total = None if any(size is None for *_, size in files) else sum(size or 0 for *_, size in files)
    with Progress(title, None if total is None else -(-total // MIB), "MiB") as progress:
        meter = _Meter(progress)
        for url, path, _ in files:
            logging.info("fetching %s", url)
            fetch(client, url, path, meter)


def fetch(client: httpx2.Client, url: str, path: Path, meter: _Meter | None = None) -> None:
    """Download one file; see :func:`fetch_all`. If the connection drops, an HTTP range request resumes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    meter = meter or _Meter(None)
    meter.add(_have(path))
    waits = iter(WAITS_S)
    while True:
        before = _have(path)
        fault = _attempt(client, url, part, meter)
        if not fault:
            part.replace(path)
            return
        if _have(path) > before:
            waits = iter(WAITS_S)
        pause = next(waits, None)
        if pause is None:
            raise LidError(fault, where=url, mend=RETRY)
        logging.warning("%s: %s at byte %d: resuming in %g s", url, fault, _have(path), pause)
        time.sleep(pause)


def verify_digest(path: Path, digest: str) -> str:
    """Return ``""`` if a file has the checksum, such as ``sha256:...`` or ``md5:...``, else the fault."""
    kind, _, wanted = digest.partition(":")
    summed = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(MIB):
            summed.update(block)
    found = summed.hexdigest()
    return "" if found == wanted else f"its {kind} checksum is {found}, not {wanted}"


def part_of(path: Path) -> Path:
    """Return the path of the partial file while a download is in progress."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn a disk error, such as a file size limit, into a LidError that names the file."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        mend = "check space, permissions and limits (ulimit -f), or set another directory in db.sh"
        raise LidError(what, where=error.filename or path, mend=mend) from error


class _Meter:
    """Count bytes and show whole mebibytes."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._bytes = progress, 0

    def add(self, count: int) -> None:
        """Add received bytes; a negative number subtracts discarded ones."""
        before, self._bytes = self._bytes // MIB, self._bytes + count
        if self._progress is not None:
            self._progress.advance(self._bytes // MIB - before)


def _attempt(client: httpx2.Client, url: str, part: Path, meter: _Meter) -> str:
    """Request the bytes that ``part`` lacks. Return ``""`` if it is now complete, else the reason why not."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:
                return _at_the_end(answer, part, have, meter)
            if answer.status_code in PASSING:
                return f"the server returned {answer.status_code} {answer.reason_phrase}"
            _refuse(answer, url)
            if not _goes_on(answer, have):
                meter.add(-have)
                have = 0
            return _save(answer, part, have, meter)
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    except httpx2.HTTPError as error:
        return f"the connection was lost ({_reason(error)})"


def _save(answer: httpx2.Response, part: Path, have: int, meter: _Meter) -> str:
    """Write a response body to ``part`` from byte ``have`` on; return ``""`` or why it is incomplete."""
    length = answer.headers.get("Content-Length", "")
    whole = have + int(length) if length.isdecimal() else None
    with disk_faults(part), open(part, "r+b" if have else "wb") as stream:
        stream.seek(have)
        stream.truncate()
        for block in answer.iter_raw():  # no chunk size: a dropped connection would lose a partial chunk
            stream.write(block)
            meter.add(len(block))
        stream.flush()
        os.fsync(stream.fileno())
        size = stream.tell()
    return "" if whole is None or size == whole else f"only {size} of {whole} bytes arrived"


def _goes_on(answer: httpx2.Response, have: int) -> bool:
    """Return whether the response starts at byte ``have``; some servers ignore ranges and send everything."""
    start = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return answer.status_code == 206 and start


def _at_the_end(answer: httpx2.Response, part: Path, have: int, meter: _Meter) -> str:
    """Handle a rejected range: ``part`` is complete, or it does not belong to this file and is deleted."""
    total = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    if total and int(total[1]) == have:
        return ""
    part.unlink()
    meter.add(-have)
    return "the partial file does not match the file on the server"


def _refuse(answer: httpx2.Response, url: str) -> None:
    if answer.status_code >= 400:
        raise LidError(
            f"the server returned {answer.status_code} {answer.reason_phrase}", where=url, mend=RETRY
        )


def _unreachable(url: str, error: Exception) -> LidError:
    return LidError(f"cannot be reached: {_reason(error)}", where=url, mend=RETRY)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _have(path: Path) -> int:
    part = part_of(path)
    return part.stat().st_size if part.exists() else 0


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
