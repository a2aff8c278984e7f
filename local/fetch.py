"""Large files from the web: whole or not at all, resumed where they stopped, with progress."""

from __future__ import annotations

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
"""Pauses before the tries that follow one which brought nothing new."""

TIMEOUT_S = 60.0
MIB = 1 << 20
SPARE_BYTES = 1 << 30
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers after which another try may succeed (RFC 9110, RFC 6585)."""

RETRY = "check the network and the address in db.sh, then run this again: it goes on where it stopped"


@contextmanager
def web_client() -> Iterator[httpx2.Client]:
    """Yield an HTTP client that follows redirects; proxies come from the environment."""
    with httpx2.Client(
        timeout=TIMEOUT_S, follow_redirects=True, headers={"Accept-Encoding": "identity"}
    ) as client:
        yield client


def fetch_text(client: httpx2.Client, url: str) -> str:
    """Return a small text file; raises LidError naming the address if there is none."""
    try:
        answer = client.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    _refuse(answer, url)
    return answer.text


def remote_bytes(client: httpx2.Client, url: str) -> int | None:
    """Return the size of a file, None if its server does not tell; raises LidError if there is none."""
    try:
        answer = client.head(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    _refuse(answer, url)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def require_space(folder: Path, wanted: int, purpose: str) -> None:
    """Raise LidError unless the disk of ``folder`` has room for ``wanted`` bytes and 1 GiB more."""
    if wanted <= 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE_BYTES:
        raise LidError(
            f"{purpose} takes {_gib(wanted + SPARE_BYTES)}, the disk has {_gib(free)} left",
            where=folder,
            mend="make room, or name another disk in db.sh",
        )


def fetch_all(client: httpx2.Client, wanted: Iterable[tuple[str, Path]], title: str) -> None:
    """Fetch each address to its path, one after the other, having made sure that all have room.

    Each file first grows as ``NAME.part`` beside its path: a later call goes on from there.

    Raises:
        LidError: too little space, no such address, or a connection that keeps failing.
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
    """Fetch one file; see :func:`fetch_all`. A connection that drops is taken up again by HTTP range."""
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
        logging.warning("%s: %s at byte %d: going on in %g s", url, fault, _have(path), pause)
        time.sleep(pause)


def part_of(path: Path) -> Path:
    """Return where a file grows until it is whole."""
    return path.with_name(f"{path.name}.part")


class _Meter:
    """Bytes counted, shown as whole mebibytes."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._bytes = progress, 0

    def add(self, count: int) -> None:
        """Count bytes that have arrived; a negative number takes some back."""
        before, self._bytes = self._bytes // MIB, self._bytes + count
        if self._progress is not None:
            self._progress.advance(self._bytes // MIB - before)


def _attempt(client: httpx2.Client, url: str, part: Path, meter: _Meter) -> str:
    """Ask for what ``part`` lacks; return ``""`` once it is whole, else what came between."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:
                return _at_the_end(answer, part, have, meter)
            if answer.status_code in PASSING:
                return f"the server answers {answer.status_code} {answer.reason_phrase}"
            _refuse(answer, url)
            if not _goes_on(answer, have):
                meter.add(-have)
                have = 0
            return _save(answer, part, have, meter)
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise _unreachable(url, error) from None
    except httpx2.HTTPError as error:
        return f"the connection broke ({_reason(error)})"


def _save(answer: httpx2.Response, part: Path, have: int, meter: _Meter) -> str:
    """Write an answer's body to ``part`` from byte ``have`` on; return ``""`` or why it is not whole."""
    length = answer.headers.get("Content-Length", "")
    whole = have + int(length) if length.isdecimal() else None
    with open(part, "r+b" if have else "wb") as stream:
        stream.seek(have)
        stream.truncate()
        for block in answer.iter_raw():  # as they come: of larger ones a drop would lose a part
            stream.write(block)
            meter.add(len(block))
        stream.flush()
        os.fsync(stream.fileno())
        size = stream.tell()
    return "" if whole is None or size == whole else f"{size} of {whole} bytes came"


def _goes_on(answer: httpx2.Response, have: int) -> bool:
    """Say whether an answer's body starts at byte ``have``; a server may send the whole file instead."""
    start = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return answer.status_code == 206 and start


def _at_the_end(answer: httpx2.Response, part: Path, have: int, meter: _Meter) -> str:
    """Judge a refused range: ``part`` has all there is, or it is not part of this file and starts anew."""
    total = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    if total and int(total[1]) == have:
        return ""
    part.unlink()
    meter.add(-have)
    return "what was there is longer than the file"


def _refuse(answer: httpx2.Response, url: str) -> None:
    if answer.status_code >= 400:
        raise LidError(
            f"the server answers {answer.status_code} {answer.reason_phrase}", where=url, mend=RETRY
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
