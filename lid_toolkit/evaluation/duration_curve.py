"""Accuracy against seconds: the answers to crops of the utterances, see :mod:`lid_toolkit.datadir.crops`.

Shapes: u utterances of which there are crops, s utterances of the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.crops import crop_dir
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import FAILED, Answers, lasting
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.proportions import Proportion, clustered_proportion
from lid_toolkit.steps import recorded


@dataclass(frozen=True)
class CropPoint:
    """The answers to crops of one duration.

    Attributes:
        seconds: the duration.
        right: the correct ones, of the utterances that are long enough; None if none is.
        left_out: number of utterances that are shorter.
        unanswered: number of crops without an answer, which count as wrong.
        same: the correct ones, of the utterances of which there are crops of all durations.
    """

    seconds: float
    right: Proportion | None
    left_out: int
    unanswered: int
    same: Proportion | None


@dataclass(frozen=True)
class DurationCurve:
    """Accuracy against seconds.

    Attributes:
        points: by duration.
        longest: duration of the longest crops that there are; None if there are none.
        whole: correct answers to the whole utterances of which there are crops of all durations.
    """

    points: tuple[CropPoint, ...]
    longest: float | None
    whole: Proportion | None

    def as_dict(self) -> dict[str, object]:
        """Return the curve for JSON."""
        return {
            "points": [
                {
                    "seconds": point.seconds,
                    **_plain(point.right),
                    "left_out": point.left_out,
                    "unanswered": point.unanswered,
                    "same_utterances": _plain(point.same),
                }
                for point in self.points
            ],
            "longest": self.longest,
            "whole": _plain(self.whole),
        }


def duration_curve(
    answers: Answers,
    seconds: Sequence[float],
    to_crops: Callable[[float], Answers],
    clusters_in: Callable[[Table], Clusters | None],
) -> DurationCurve:
    """Count the correct answers to crops.

    Args:
        answers: the answers to the whole utterances that count.
        seconds: durations of crops, ascending.
        to_crops: returns the answers to the crops of a duration, which some utterance has.
        clusters_in: returns the clusters of the utterances of a table.
    """
    rows = {duration: lasting(answers, duration) for duration in seconds}
    found = [duration for duration in seconds if len(rows[duration])]
    longest = found[-1] if found else None
    common_s = rows[longest] if longest is not None else np.zeros(0, np.int64)
    clusters = clusters_in(answers.truth.select(common_s)) if len(common_s) else None

    def point(duration: float) -> CropPoint:
        own_s = rows[duration]
        left_out = len(answers.truth) - len(own_s)
        if not len(own_s):
            return CropPoint(duration, None, left_out, 0, None)
        crops = to_crops(duration)
        truth = answers.truth.select(own_s)
        of_u = crops.truth.rows(truth.keys())  # crops may also be of utterances that do not count
        right_u = (crops.true == crops.predicted)[of_u]
        return CropPoint(
            duration,
            clustered_proportion(right_u, clusters_in(truth)),
            left_out,
            int(np.count_nonzero(crops.predicted[of_u] == FAILED)),
            clustered_proportion(right_u[np.isin(own_s, common_s)], clusters),
        )

    right_s = answers.true == answers.predicted
    whole = clustered_proportion(right_s[common_s], clusters) if len(common_s) else None
    return DurationCurve(tuple(map(point, seconds)), longest, whole)


def check_model(inference_dir: Path, seconds: float) -> None:
    """Raise LidError if crops were identified with another model than the whole utterances."""
    crops = crop_dir(inference_dir, seconds)
    models = [recorded(directory, "identify").get("model") for directory in (inference_dir, crops)]
    if models[0] != models[1]:
        raise LidError("the crops are those of another model", where=crops, redo="identification")


def _plain(right: Proportion | None) -> dict[str, object]:
    return {"utterances": 0, "correct": 0, "accuracy": None} if right is None else right.as_dict()
