"""Checks of what a model file says about its model, in whatever format it is; they do not need torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.reader import HIGHEST_RATE, LOWEST_RATE
from lid_toolkit.errors import LidError

USE_ANOTHER = "use another file"


def check_rate(rate: object, source: Path) -> None:
    """Raise LidError if a sampling rate is not a whole number of Hz that audio can have."""
    if not isinstance(rate, int) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise LidError(
            f"a sampling rate of {rate!r:.40} is not supported",
            where=source,
            mend=f"it must be a whole number from {LOWEST_RATE} to {HIGHEST_RATE}",
        )


def check_labels(labels: Sequence[object], source: Path) -> None:
    """Raise LidError if there are fewer than two labels, or one is not a word or occurs twice."""
    if len(labels) < 2:
        raise LidError(f"the model has {len(labels)} languages", where=source, mend=USE_ANOTHER)
    for label in labels:
        if not isinstance(label, str) or not label.isprintable() or label.split() != [label]:
            raise LidError(f"{label!r:.40} is not a label", where=source, mend=USE_ANOTHER)
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise LidError(f"label '{twice}' occurs twice", where=source, mend=USE_ANOTHER)
