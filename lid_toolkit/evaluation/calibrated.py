"""What a calibration does to the scores of a set: the figures before and after it.

Shapes: u utterances, c languages, k labels of the system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import Answers, merge_columns
from lid_toolkit.evaluation.calibration import Bin, Trust, brier_score, reliability, trust_in
from lid_toolkit.evaluation.decided import Policy
from lid_toolkit.evaluation.detection import log_ratio_cost
from lid_toolkit.evaluation.posteriors import Chosen, Columns, Floats, LogPosteriors, best


@dataclass(frozen=True)
class Figures:
    """How well log posteriors fit the true languages.

    Attributes:
        trust: cross-entropy, calibration error and accuracy.
        brier: Brier score.
        c_llr: in bits; None if only one language occurs.
        reliability: posteriors and accuracy of the most probable languages, in bins.
    """

    trust: Trust
    brier: float
    c_llr: float | None
    reliability: tuple[Bin, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the figures for JSON."""
        return {
            **asdict(self.trust),
            "brier": self.brier,
            "c_llr": self.c_llr,
            "reliability": [part.as_dict() for part in self.reliability],
        }


@dataclass(frozen=True)
class Calibrated:
    """The figures of a set before and after a calibration.

    Attributes:
        settings: the calibration as plain values.
        fitted_on: the set that it was fitted on; None if that is not known.
        own: whether this is the scored set itself, so that the figures after it are too good.
        utterances: number of utterances, which have scores and are in known languages.
        before, after: the figures.
    """

    settings: Mapping[str, object]
    fitted_on: str | None
    own: bool
    utterances: int
    before: Figures
    after: Figures

    def as_dict(self) -> dict[str, object]:
        """Return both for JSON."""
        return {
            "settings": dict(self.settings),
            "fitted_on": self.fitted_on,
            "fitted_on_this_set": self.own,
            "utterances": self.utterances,
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
        }


TITLES: Mapping[str, str] = {
    "cross_entropy": "cross-entropy, nats",
    "c_llr": "C_llr, bits",
    "calibration_error": "calibration error",
    "brier": "Brier score",
    "accuracy": "accuracy",
}
"""Names of the figures in tables for people, by their keys in ``results.json``."""


def figures_of(log_posteriors_uc: LogPosteriors, true_u: Columns) -> Figures:
    """Return the figures of log posteriors (U, C) and the columns (U,) of the true languages; U > 0."""
    best_u, highest_u = best(log_posteriors_uc)
    return Figures(
        trust_in(log_posteriors_uc, true_u),
        brier_score(log_posteriors_uc, true_u),
        log_ratio_cost(log_posteriors_uc, true_u),
        reliability(np.exp(highest_u.astype(np.float64)), best_u == true_u),
    )


def calibrated(
    answers: Answers,
    columns_uk: npt.NDArray[np.float32],
    labels: Sequence[str],
    calibration: Policy,
    truth_digest: str | None,
) -> Calibrated | None:
    """Return the figures before and after a calibration; None if no utterance in a known language has scores.

    Args:
        answers: truth and answers.
        columns_uk: log posteriors of the system's labels; see
            :func:`lid_toolkit.evaluation.answers.read_columns`.
        labels: the system's labels.
        calibration: a policy that only calibrates.
        truth_digest: digest of the set's ``utt2lang``.
    """
    rows = np.flatnonzero(~np.isnan(columns_uk[:, 0]) & (answers.true < answers.known))
    if not len(rows):
        return None
    ruling = calibration.ruling(labels)

    def merged(block_bk: Floats) -> Floats:
        return merge_columns(answers, block_bk.astype(np.float32, copy=False))

    def changed(block_bk: Floats) -> Floats:
        return merged(ruling.posteriors(block_bk))

    found = [
        figures_of(Chosen(columns_uk, rows, change), answers.true[rows])
        for change in (merged if answers.merged else None, changed)
    ]
    settings = dict(calibration.settings)
    fitted_on, digest = settings.pop("set", None), settings.pop("set_digest", None)
    return Calibrated(
        settings,
        None if fitted_on is None else str(fitted_on),
        digest is not None and digest == truth_digest,
        len(rows),
        *found,
    )


def lines(before: Figures, after: Figures) -> list[str]:
    """Return the figures as lines for people, with a head."""
    old, new = before.as_dict(), after.as_dict()
    rows = [f"{title:<22}{_number(old[key])}{_number(new[key])}" for key, title in TITLES.items()]
    return [f"{'':<22}{'before':>9}{'after':>9}", *rows]


def _number(value: object) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.4f}"
