"""What a server accepts, and how it refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of a server. Its uploads need at most ``(workers + waiting) * max_bytes`` of memory.

    Attributes:
        max_bytes: largest upload.
        max_seconds: longest recording.
        workers: recordings identified at the same time.
        waiting: further requests that may wait for a worker.
        upload_seconds: longest time that an upload may take.
    """

    max_bytes: int = 64 << 20
    max_seconds: float = 600.0
    workers: int = 1
    waiting: int = 16
    upload_seconds: float = 120.0

    @property
    def max_mb(self) -> int:
        """Largest upload in MiB."""
        return self.max_bytes >> 20


class RefusedError(Exception):
    """An answer other than a record.

    Args:
        status: of HTTP.
        sentence: what is wrong, and how to mend it.
        retry_after: seconds after which to try again; None if that does not help.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        self.status, self.sentence, self.retry_after = status, sentence, retry_after
        super().__init__(status, sentence, retry_after)
