"""Fit the calibration of a model's scores on utterances that it was not trained with.

The fit minimises the cross-entropy of the true languages plus a penalty that keeps it near no calibration,

    sum over u of w_u * -log posterior(true language of u) + ((scale - 1)^2 + sum over c of bias_c^2) / 2,

which is the most probable calibration if scale and biases have normal distributions of variance 1 around 1
and 0. The penalty matters only where the data say little: without it, the scale of scores that are never
wrong would be infinite. The sum is convex, so the minimum is the only one.

- ``temperature`` has no biases and w_u = 1 (C. Guo et al., "On calibration of modern neural networks", ICML
  2017). It never changes which language is the most probable.
- ``affine`` has a bias for each language, and all languages have the same weight together, so that the biases
  do not learn how frequent each language is in these data (N. Brümmer & D. van Leeuwen, "On calibration of
  language recognition scores", Odyssey 2006). It may change answers.

Shapes: u utterances, c languages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.calibrated import Figures, figures_of
from lid_toolkit.evaluation.posteriors import Columns, Floats
from lid_toolkit.inference.policy import LARGEST, Calibration

Method = Literal["temperature", "affine"]

FEWEST = 100
FEWEST_OF_A_LANGUAGE = 10
"""Utterances that a fit needs: in all, and, if there is a bias for each language, of each."""

FOLDS = 5
MOST_STEPS = 500
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of utterances whose languages are known.

    Attributes:
        labels: the model's labels in index order.
        log_posteriors_uc: the model's log posteriors, without calibration.
        true_u: column of the true language of each utterance.
    """

    labels: tuple[str, ...]
    log_posteriors_uc: Floats
    true_u: Columns

    def part(self, chosen_u: npt.NDArray[np.bool_]) -> Scored:
        """Return some of the utterances."""
        return Scored(self.labels, self.log_posteriors_uc[chosen_u], self.true_u[chosen_u])


@dataclass(frozen=True)
class Fit:
    """A fitted calibration.

    Attributes:
        calibration: fitted on all utterances.
        before: the figures without calibration.
        after: the figures of each fifth of the utterances with a calibration fitted on the others.
        utterances: their number.
        changed: number of utterances whose most probable language ``calibration`` changes.
    """

    calibration: Calibration
    before: Figures
    after: Figures
    utterances: int
    changed: int


def fitted(scored: Scored, method: Method) -> Fit:
    """Fit a calibration and measure it by cross-validation.

    Raises:
        LidError: there are too few utterances, in all or of a language, or the scores say nothing about the
            language.
    """
    require_enough(scored, method)
    calibration = fit(scored, method)
    after_uc = np.empty(scored.log_posteriors_uc.shape)
    fold_u = folds(scored.true_u)
    for number in range(FOLDS):
        inside_u = fold_u == number
        others = fit(scored.part(~inside_u), method)
        after_uc[inside_u] = calibrated(scored.part(inside_u), others)
    before_uc = calibrated(scored, Calibration())
    answers_u = calibrated(scored, calibration).argmax(axis=1)
    return Fit(
        calibration,
        before=figures_of(before_uc, scored.true_u),
        after=figures_of(after_uc, scored.true_u),
        utterances=len(scored.true_u),
        changed=int(np.count_nonzero(answers_u != before_uc.argmax(axis=1))),
    )


def require_enough(scored: Scored, method: Method) -> None:
    """Raise LidError unless there are enough utterances for a fit."""
    if (count := len(scored.true_u)) < FEWEST:
        what = f"{count} utterances with scores, fewer than {FEWEST}"
        raise LidError(what, where="calibration", mend="give more data")
    if method == "temperature":
        return
    counts = Counter(scored.true_u.tolist())
    few = [label for column, label in enumerate(scored.labels) if counts[column] < FEWEST_OF_A_LANGUAGE]
    if few:
        named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        what = f"fewer than {FEWEST_OF_A_LANGUAGE} utterances of {named}"
        raise LidError(what, where="calibration", mend="give more data, or fit a temperature")


def fit(scored: Scored, method: Method) -> Calibration:
    """Return the calibration that minimises the sum of this module's description.

    Raises:
        LidError: the scores say nothing about the language: the best scale is not above 0.
    """
    scores_uc = torch.from_numpy(scored.log_posteriors_uc.astype(np.float64))
    true_u = torch.from_numpy(scored.true_u)
    weights_u = torch.ones(len(true_u), dtype=torch.float64)
    scale = torch.ones((), dtype=torch.float64)
    bias_c = torch.zeros(len(scored.labels), dtype=torch.float64)
    variables = [scale]
    if method == "affine":
        counts_c = torch.bincount(true_u, minlength=len(scored.labels))
        weights_u = len(true_u) / (torch.count_nonzero(counts_c) * counts_c[true_u].double())
        variables.append(bias_c)

    def loss() -> torch.Tensor:
        losses_u = torch.nn.functional.cross_entropy(scale * scores_uc + bias_c, true_u, reduction="none")
        penalty = ((scale - 1).square() + bias_c.square().sum()) / 2
        return (losses_u @ weights_u + penalty) / len(true_u)

    minimise(loss, variables)
    if not 1 / LARGEST <= scale.item() <= LARGEST:
        what = f"the best scale of the scores is {scale.item():.3g}, so they say nothing about the language"
        raise LidError(what, where="calibration", mend="check the model and the labels of the data")
    biases = dict(zip(scored.labels, bias_c.tolist(), strict=True)) if method == "affine" else {}
    return Calibration(scale.item(), biases)


def minimise(loss: Callable[[], torch.Tensor], variables: Sequence[torch.Tensor]) -> None:
    """Change variables so that a smooth convex function of them is smallest (L-BFGS)."""
    for variable in variables:
        variable.requires_grad_()
    optimiser = torch.optim.LBFGS(
        variables,
        max_iter=MOST_STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=TOLERANCE**2,
        line_search_fn="strong_wolfe",
    )

    def step() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimiser.step(step)  # type: ignore[no-untyped-call]


def calibrated(scored: Scored, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Return the log posteriors (U, C) with a calibration whose biases have the model's labels."""
    bias_c = np.array([calibration.bias.get(label, 0.0) for label in scored.labels])
    scores_uc = scored.log_posteriors_uc.astype(np.float64) * calibration.scale + bias_c
    posteriors_uc: npt.NDArray[np.float64] = scores_uc - np.logaddexp.reduce(scores_uc, axis=1, keepdims=True)
    return posteriors_uc


def folds(true_u: Columns) -> Columns:
    """Return the number of the fold of each utterance, such that the folds share each language equally."""
    order = np.argsort(true_u, kind="stable")
    counts_c = np.bincount(true_u)
    within_u = np.arange(len(true_u)) - np.repeat(np.cumsum(counts_c) - counts_c, counts_c)
    fold_u = np.empty(len(true_u), np.int64)
    fold_u[order] = within_u % FOLDS
    return fold_u
