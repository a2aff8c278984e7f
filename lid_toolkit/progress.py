"""Show the progress of long work: a bar on a terminal, lines at growing intervals in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

FIRST_LINE_S = 5.0
LONGEST_INTERVAL_S = 60.0


def write_line(line: str) -> None:
    """Write a line on standard error, above the bar if one is shown."""
    tqdm.write(line, file=sys.stderr)


class Progress:
    """Count finished items and seconds of audio; show the rate and the time left.

    Use it as a context manager and call :meth:`advance`. On a terminal it shows a tqdm bar. Elsewhere it
    writes a line after 5 s, then at doubling intervals of at most a minute, and a last one at the end
    unless there was an exception.

    Args:
        title: what is being done, e.g. ``"format train"``.
        total: the number of items; None if unknown.
        unit: the name of an item, e.g. ``"utt"``.
        stream: where to write; standard error by default.
        done: number of items done earlier, which do not count for the rate.
        lines: whether to write lines if the stream is not a terminal.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "utt",
        stream: TextIO | None = None,
        done: int = 0,
        lines: bool = True,
    ) -> None:
        self.title, self.total, self.unit, self.lines = title, total, unit, lines
        self.stream = stream or sys.stderr
        self.done, self.audio_s, self._done_earlier = done, 0.0, done
        self.started = time.monotonic()
        self._interval = FIRST_LINE_S
        self._next_line = self.started + self._interval
        self._bar = (
            tqdm(total=total, initial=done, desc=title, unit=unit, file=self.stream, dynamic_ncols=True)
            if self.stream.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self.lines:
            self._write_line()

    def advance(self, items: int = 1, audio_s: float = 0.0, note: str = "") -> None:
        """Add ``items`` with ``audio_s`` seconds of audio; a bar also shows ``note``, or else the speed."""
        self.done += items
        self.audio_s += audio_s
        if self._bar is not None:
            if note or self.audio_s:
                self._bar.set_postfix_str(note or self._speed(), refresh=False)
            self._bar.update(items)
        elif self.lines and time.monotonic() >= self._next_line:
            self._write_line()
            self._interval = min(2 * self._interval, LONGEST_INTERVAL_S)
            self._next_line = time.monotonic() + self._interval

    def expect(self, total: int) -> None:
        """Set the number of items, once it is known."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total

    def _speed(self) -> str:
        return f"{self.audio_s / max(time.monotonic() - self.started, 1e-3):.0f} audio-s/s"

    def _write_line(self) -> None:
        elapsed = max(time.monotonic() - self.started, 1e-3)
        done_now = self.done - self._done_earlier
        rate = done_now / elapsed
        of_total = f"/{self.total}" if self.total is not None else ""
        parts = [f"{self.done}{of_total} {self.unit}", f"{rate:.1f} {self.unit}/s"]
        if self.audio_s:
            parts.append(self._speed())
        if self.total is not None and done_now and self.done < self.total:
            parts.append(f"{(self.total - self.done) / rate:.0f} s left")
        else:
            parts.append(f"{elapsed:.1f} s")
        self.stream.write(f"{self.title}: {', '.join(parts)}\n")
        self.stream.flush()
