"""The error that users see: what is wrong, where, and how to correct it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

WorkName = Literal[
    "data preparation",
    "speed perturbation",
    "formatting",
    "feature extraction",
    "statistics",
    "training",
    "identification",
    "scoring",
    "t-SNE",
    "packing",
]
"""The kinds of work whose output other work needs."""


LEAST_SIMILARITY = 0.75
"""difflib's ratio of two names, from which on one may be a typing error for the other."""


class LidError(Exception):
    """An error that the user can correct. Commands print it on one line and exit with code 2.

    Args:
        what: what is wrong, e.g. ``"duplicate key 'utt1'"``.
        where: the file, file:line, option or recording that is wrong.
        mend: what the user can do.
        redo: the work to run again because its output is missing or out of date. The library does not know
            the stages of a recipe; :meth:`message` translates the work into a stage.
    """

    def __init__(
        self, what: str, *, where: object = None, mend: str = "", redo: WorkName | None = None
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend
        self.redo = redo
        super().__init__(what, self.where, mend, redo)

    def __reduce__(self) -> tuple[Callable[..., LidError], tuple[object, ...]]:
        """Support pickling, so that worker processes can raise the error."""
        return _remade, (type(self), self.what, self.where, self.mend, self.redo)

    def __str__(self) -> str:
        return self.message({})

    def message(self, stages: Mapping[WorkName, str]) -> str:
        """Return the error on one line; ``stages`` gives the recipe's name for each kind of work."""
        place = f"{self.where}: " if self.where else ""
        again = f"run {stages.get(self.redo, self.redo)} again" if self.redo else ""
        advice = " or ".join(filter(None, (again, self.mend)))
        return " ".join(f"{place}{self.what}{f' ({advice})' if advice else ''}".split())


def _remade(kind: type[LidError], what: str, where: str | None, mend: str, redo: WorkName | None) -> LidError:
    return kind(what, where=where, mend=mend, redo=redo)


def nearest(
    name: str, known: Iterable[str], otherwise: str = "", least_similarity: float = LEAST_SIMILARITY
) -> str:
    """Return advice with the most similar known name; if none is similar, ``otherwise`` or all names.

    Args:
        name: the unknown name.
        known: the known ones.
        otherwise: advice if no known name is similar.
        least_similarity: from 0 to 1, see ``difflib.SequenceMatcher.ratio``.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=least_similarity)
    return f"did you mean '{close[0]}'?" if close else otherwise or f"known: {', '.join(names)}"


def reason_of(error: Exception) -> str:
    """Return why a file cannot be opened or read, as the operating system or Python says."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return getattr(error, "strerror", None) or str(error) or "cannot be read"


def allowed_failures(max_failed: float, utterances: int) -> int:
    """Return how many utterances may fail, rounded up: at least one unless ``max_failed`` is 0."""
    return math.ceil(max_failed * utterances)
