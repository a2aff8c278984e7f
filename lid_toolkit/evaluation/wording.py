"""How reports write numbers, intervals and tables."""

from __future__ import annotations

from collections.abc import Sequence

from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Bucket


def percent(estimate: Estimate) -> str:
    """Return e.g. ``97.36 % [95.92, 98.31]``."""
    return f"{100 * estimate.value:6.2f} % {interval(estimate)}"


def interval(estimate: Estimate) -> str:
    """Return the interval in percent, e.g. ``[95.92, 98.31]``."""
    return f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def plural(count: int, noun: str) -> str:
    """Return e.g. ``3 languages`` or ``1 language``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def seconds_range(bucket: Bucket) -> str:
    """Return a bucket's range of durations, e.g. ``1-2``, ``< 1`` or ``>= 10``."""
    if bucket.to_s is None:
        return f">= {bucket.from_s:g}"
    return f"{bucket.from_s:g}-{bucket.to_s:g}" if bucket.from_s else f"< {bucket.to_s:g}"


def columns_text(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return a table as text; ``align`` has ``<`` (left) or ``>`` (right) for each column."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True))
        for row in (head, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
