"""Apply a policy to scores: from log posteriors to a record.

Shapes: n utterances or windows, c labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction, Segment, VadName, english_name, reason_of


@dataclass(frozen=True, eq=False)
class Decider:
    """A policy for the labels of one model.

    Attributes:
        policy: the policy.
        labels: the labels in index order.
        offset_c: what is added to the scaled log posteriors: biases and log ratios of priors; minus infinity
            for labels that are no candidates.
        prior_c: log prior of each candidate, less that of the most probable one; minus infinity for labels
            that are no candidates.
        fallback: the label of the policy's fallback.
    """

    policy: DecisionPolicy
    labels: tuple[str, ...]
    offset_c: npt.NDArray[np.float64]
    prior_c: npt.NDArray[np.float64]
    fallback: str | None

    @property
    def candidates(self) -> tuple[str, ...]:
        """The labels to choose from."""
        return tuple(np.array(self.labels)[np.isfinite(self.offset_c)].tolist())

    def posteriors(self, log_posteriors_nc: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the log posteriors (N, C) under the policy; minus infinity for what is no candidate.

        Args:
            log_posteriors_nc: the model's, natural logarithm; a constant for each row makes no difference.
        """
        scaled_nc = log_posteriors_nc.astype(np.float64) * self.policy.calibration.scale + self.offset_c
        return scaled_nc - np.logaddexp.reduce(scaled_nc, axis=-1, keepdims=True)

    def likelihoods(self, log_posteriors_nc: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return log likelihoods (N, C), up to a constant for each row; minus infinity for no candidates.

        They are the calibrated log posteriors without priors, so they can be added for windows of the same
        language, to which ``prior_c`` is added once: by Bayes' rule, the sum is the log posterior of the
        language, up to a constant.

        Args:
            log_posteriors_nc: as for :meth:`posteriors`.
        """
        without_c = np.subtract(
            self.offset_c, self.prior_c, out=np.full(len(self.labels), -np.inf), where=self.prior_c > -np.inf
        )
        scaled_nc = log_posteriors_nc.astype(np.float64) * self.policy.calibration.scale
        logs_nc: npt.NDArray[np.float64] = scaled_nc + without_c
        return logs_nc

    def abstains(
        self,
        duration: float | None,
        speech_seconds: float | None,
        vad: VadName,
        silent: LidError | None = None,
    ) -> Prediction | None:
        """Return the record of an input that needs no scores: too short or without speech. Else None.

        Args:
            duration: seconds of audio; None if not known.
            speech_seconds: seconds of speech; None if no detector was used.
            vad: the detector.
            silent: the error for an input without a signal; None if it has one.
        """
        limits, facts = self.policy, {"duration": duration, "speech_seconds": speech_seconds, "vad": vad}
        if duration is not None and duration < limits.min_seconds:
            what = f"lasts {duration:.3g} s, less than min_seconds ({limits.min_seconds:g} s)"
            return Prediction("too_short", reason=what, **facts)  # type: ignore[arg-type]
        if silent is not None:
            return Prediction("no_speech", reason=reason_of(silent), **facts)  # type: ignore[arg-type]
        if speech_seconds is None or (speech_seconds > 0 and speech_seconds >= limits.min_speech_seconds):
            return None
        what = "no speech was found"
        if speech_seconds > 0:
            least = limits.min_speech_seconds
            what = f"contains {speech_seconds:.3g} s of speech, less than min_speech_seconds ({least:g} s)"
        return Prediction("no_speech", reason=what, **facts)  # type: ignore[arg-type]

    def decide(
        self,
        log_posteriors_c: npt.NDArray[np.floating],
        duration: float | None,
        speech_seconds: float | None = None,
        vad: VadName = "none",
        windows: int = 1,
        segments: Sequence[Segment] = (),
        top_k: int | None = None,
        doubt: str | None = None,
    ) -> Prediction:
        """Return the record of an input.

        The conditions are tested in this order: ``too_short``, ``no_speech``, ``min_score``, ``min_margin``.

        Args:
            log_posteriors_c: the model's log posteriors, (C,).
            duration: seconds of audio; None if not known.
            speech_seconds: seconds of speech; None if no detector was used.
            vad: the detector.
            windows: number of windows that were scored.
            segments: parts of the input by language.
            top_k: number of labels in ``scores``; None for all candidates.
            doubt: a reason beyond the scores not to answer; None if there is none.
        """
        early = self.abstains(duration, speech_seconds, vad)
        if early is not None:
            return early
        posteriors_c = np.exp(self.posteriors(log_posteriors_c))
        order = np.argsort(-posteriors_c, kind="stable")[: np.count_nonzero(np.isfinite(self.offset_c))]
        scores = {self.labels[column]: float(posteriors_c[column]) for column in order}
        best, *others = scores.values()
        margin = best - (others[0] if others else 0.0)
        language: str | None = self.labels[order[0]]
        reason = self.doubt(str(language), best, margin) if doubt is None else doubt
        if reason is not None:
            language = self.fallback
            reason = reason if language is None else f"fallback: {reason}"
        return Prediction(
            status="unknown" if language is None else "ok",
            language=language,
            name=None if language is None else english_name(language),
            score=best if language is None else scores.get(language, 0.0),
            scores=dict(list(scores.items())[:top_k]),
            margin=margin,
            duration=duration,
            speech_seconds=speech_seconds,
            windows=windows,
            segments=tuple(segments),
            reason=reason,
            vad=vad,
        )

    def choose(
        self, posteriors_nc: npt.NDArray[np.float64], seconds_n: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Return the column of each answer, as :meth:`decide` gives it; -1 where there is none.

        Args:
            posteriors_nc: log posteriors under the policy, see :meth:`posteriors`.
            seconds_n: seconds of audio. Speech is not considered.
        """
        rows = np.arange(len(posteriors_nc))
        shares_nc = np.exp(posteriors_nc)
        best_n = shares_nc.argmax(axis=1)
        score_n = shares_nc[rows, best_n]
        shares_nc[rows, best_n] = 0.0
        is_doubtful_n = score_n < self.policy.min_score
        is_doubtful_n |= score_n - shares_nc.max(axis=1) < self.policy.min_margin
        instead = -1 if self.fallback is None else self.labels.index(self.fallback)
        chosen_n = np.where(is_doubtful_n, instead, best_n)
        return np.where(seconds_n < self.policy.min_seconds, -1, chosen_n)

    def doubt(self, best: str, score: float, margin: float) -> str | None:
        """Return why a label with this posterior and margin is not certain enough; None if it is."""
        limits = self.policy
        if score < limits.min_score:
            return f"{best} has a score of {score:.3f}, below min_score ({limits.min_score:g})"
        if margin < limits.min_margin:
            what = f"the score of {best} exceeds the second by {margin:.3f}"
            return f"{what}, less than min_margin ({limits.min_margin:g})"
        return None


def decider(policy: DecisionPolicy, labels: Sequence[str]) -> Decider:
    """Return a policy for a model with these labels, in index order.

    Raises:
        LidError: the policy names a language that the model does not know, or leaves no language.
    """
    known = tuple(labels)
    columns = {label: column for column, label in enumerate(known)}

    def column_of(name: str, where: str) -> int:
        return columns[languages.find(name, known, where)]

    def by_column(values: Mapping[str, float], where: str) -> dict[int, float]:
        return {column_of(name, where): value for name, value in values.items()}

    wanted = known if policy.candidates is None else policy.candidates
    chosen = [column_of(name, "languages") for name in wanted]
    shift_c = np.zeros(len(known))
    for column, bias in by_column(policy.calibration.bias, "calibration.bias").items():
        shift_c[column] = bias
    trained_c = _shared(by_column(policy.training_priors, "training_priors"), range(len(known)), len(known))
    priors_c = _shared(by_column(policy.priors, "priors"), chosen, len(known)) if policy.priors else trained_c
    if not trained_c[chosen][priors_c[chosen] > 0].all():
        mend = "give a larger one, or leave the language out of the candidates"
        raise LidError("the prior of a candidate is 0", where="training_priors", mend=mend)
    chosen = [column for column in chosen if priors_c[column] > 0]
    if not chosen:
        raise LidError("all candidates have a prior of 0", where="priors", mend="give one a larger prior")
    offset_c, prior_c = np.full((2, len(known)), -np.inf)
    offset_c[chosen] = shift_c[chosen] + np.log(priors_c[chosen] / trained_c[chosen])
    prior_c[chosen] = np.log(priors_c[chosen] / priors_c[chosen].max())
    fallback = None if policy.fallback is None else languages.find(policy.fallback, known, "fallback")
    return Decider(policy, known, offset_c, prior_c, fallback)


def _shared(named: Mapping[int, float], chosen: Sequence[int], labels: int) -> npt.NDArray[np.float64]:
    """Return the priors (C,); what the named ones leave to 1 is shared by the other chosen labels."""
    others = [column for column in chosen if column not in named]
    priors_c = np.zeros(labels)
    priors_c[others] = max(0.0, 1.0 - sum(named.values())) / max(1, len(others))
    priors_c[list(named)] = list(named.values())
    return priors_c
