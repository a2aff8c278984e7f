"""Several models on the same input: their posteriors together, or no answer where they disagree.

The languages of the models are compared by their ISO 639-3 codes. The candidates are those of the model that
knows all languages of the others, or those that all models know if there is no such model. The evidence for a
candidate c is the mean of the log posteriors of the M models m, normalised over the candidates:

    e_c = (1 / M) * sum over m of log p_m(c),      log p(c) = e_c - log(sum over k of exp(e_k))

This is the geometric mean of the posteriors. A language that one model rules out is ruled out.

A model that lacks candidates cannot tell whether one of them is spoken, which is left to the models that
know all candidates. With q the posteriors that these have together, each group G of candidates that the same
models know has the posterior q(G). Within a group, the evidence is that of the models that know it:

    p(c) = q(G) * exp(e_c) / (sum over k in G of exp(e_k)) for c in G

Shapes: m models, c candidates, u utterances.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.identified import NEVER
from lid_toolkit.inference.decision import Decider, decider
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.speech import Speech

Rule = Literal["fuse", "agree"]
Scores = npt.NDArray[np.float64]

SMALLEST = np.finfo(np.float64).tiny
"""Stands for posteriors that are too small for a float."""


@dataclass(frozen=True)
class Ballot:
    """The answer of one model.

    Attributes:
        model: its name.
        language: the ISO 639-3 code of its most probable candidate; None if it gave no scores.
        score: posterior of this language among the candidates, 0 to 1; None if it gave no scores.
    """

    model: str
    language: str | None
    score: float | None


@dataclass(frozen=True)
class Vote:
    """The answer of several models to one input, and the answer of each."""

    answer: Prediction
    ballots: tuple[Ballot, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: those of the answer, and ``models`` with the answer of each model."""
        return {**self.answer.as_dict(), "models": [asdict(ballot) for ballot in self.ballots]}


class Voters:
    """Models that vote.

    Args:
        models: the models by name, at least two.
        rule: ``fuse``: the policy decides from the posteriors of all models together. ``agree``: the same,
            but there is no answer where the most probable candidates of the models differ.
        policy: decides. Its languages are ISO 639-3 codes or anything that means one. Of the models' own
            policies only the calibrations are used.

    Raises:
        LidError: there are fewer than two models, they have fewer than two candidates, or the policy does
            not fit these languages.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageIdentifier],
        rule: Rule = "fuse",
        policy: DecisionPolicy | None = None,
    ) -> None:
        if len(models) < 2:
            raise LidError(f"{len(models)} model: a vote needs two or more", where="models")
        self.models, self.rule = dict(models), rule
        self.policy = DecisionPolicy() if policy is None else policy
        self.languages = candidates([model.languages for model in models.values()])
        self._decider = decider(self.policy, self.languages)

    def identify(self, speech: Iterable[Speech], top_k: int | None = None, **options: Any) -> Iterator[Vote]:
        """Yield the vote on each input, in order.

        Args:
            speech: the inputs. Every model reads each of them, so none may be a pipe or an open file.
            top_k: number of languages in ``scores``; None for all.
            options: further arguments of :meth:`LanguageIdentifier.identify`: ``batch_size``,
                ``sample_rate``, ``window``, ``hop``, ``vad``.
        """
        limits = self.policy
        streams = itertools.tee(speech, len(self.models))
        records = [
            model.identify(
                stream,
                policy=DecisionPolicy(
                    calibration=model.policy.calibration,
                    min_seconds=limits.min_seconds,
                    min_speech_seconds=limits.min_speech_seconds,
                ),
                **options,
            )
            for model, stream in zip(self.models.values(), streams, strict=True)
        ]
        for own in zip(*records, strict=True):
            yield vote(dict(zip(self.models, own, strict=True)), self._decider, self.rule, top_k)


def candidates(labels_m: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the codes of the languages that a vote can answer.

    They are those of the first model that knows all languages of the others. If there is none, they are those
    that all models know, in the order of the first.

    Raises:
        LidError: the models have fewer than two languages in common.
    """
    codes_m = [dict.fromkeys(map(code_of, labels)) for labels in labels_m]
    common = tuple(code for code in codes_m[0] if all(code in codes for codes in codes_m))
    if len(common) < 2:
        what = f"the models have {len(common)} languages in common"
        raise LidError(what, where="models", mend="a vote needs at least two")
    return next(
        (tuple(own) for own in codes_m if all(own.keys() >= codes.keys() for codes in codes_m)), common
    )


def fused(log_muc: Scores) -> Scores:
    """Return the log posteriors (U, C) of several models together, normalised.

    Args:
        log_muc: log posteriors (M, U, C) of the candidates; NaN for one that a model does not know. If, of an
            input, no model knows all languages that any of them knows, each rules out those that it lacks.
    """
    known_muc = ~np.isnan(log_muc)
    known_muc |= ~known_muc.any(axis=0)
    guides_mu1 = known_muc.all(axis=2, keepdims=True)
    known_muc |= ~guides_mu1.any(axis=0)
    guides_mu1 |= ~guides_mu1.any(axis=0)
    filled_muc = np.where(np.isnan(log_muc), NEVER, log_muc)
    guided_uc = _normalised(filled_muc.mean(axis=0, where=guides_mu1))
    own_uc = filled_muc.mean(axis=0, where=known_muc)
    group_uc = np.tensordot(1 << np.arange(len(known_muc)), known_muc, axes=1)
    fused_uc = np.empty_like(guided_uc)
    for group in np.unique(group_uc):
        inside_uc = group_uc == group
        share_u1, own_u1 = (_total(np.where(inside_uc, log_uc, NEVER)) for log_uc in (guided_uc, own_uc))
        fused_uc = np.where(inside_uc, own_uc - own_u1 + share_u1, fused_uc)
    return fused_uc


def _normalised(log_uc: Scores) -> Scores:
    return log_uc - _total(log_uc)


def _total(log_uc: Scores) -> Scores:
    total_u1: Scores = np.logaddexp.reduce(log_uc, axis=-1, keepdims=True)
    return total_u1


def code_of(label: str) -> str:
    """Return the ISO 639-3 code of a label, or the label itself if it is not known."""
    try:
        return languages.code(label)
    except LidError:
        return label


def vote(records: Mapping[str, Prediction], decides: Decider, rule: Rule, top_k: int | None = None) -> Vote:
    """Return the vote of models on one input.

    If a model gave no scores, the answer is its record: the input is too short, has no speech or failed.

    Args:
        records: by the names of the models, with the posteriors of all their languages.
        decides: the policy for the candidates.
        rule: see :class:`Voters`.
        top_k: number of languages in ``scores``; None for all.
    """
    by_code = {name: posteriors_by_code(record.scores) for name, record in records.items()}
    chosen = None if decides.policy.candidates is None else decides.candidates
    ballots = tuple(ballot_of(name, posteriors, chosen) for name, posteriors in by_code.items())
    first = next((record for record in records.values() if not record.scores), None)
    if first is not None:
        return Vote(first, ballots)
    posteriors_mc = np.array([[own.get(code, np.nan) for code in decides.labels] for own in by_code.values()])
    some = next(iter(records.values()))
    doubt = None
    if rule == "agree" and len({ballot.language for ballot in ballots}) > 1:
        answers = ", ".join(f"{ballot.language} ({ballot.model})" for ballot in ballots)
        doubt = f"the models disagree: {answers}"
    answer = decides.decide(
        fused(np.log(np.maximum(posteriors_mc, SMALLEST))[:, None])[0],
        some.duration,
        some.speech_seconds,
        some.vad,
        some.windows,
        top_k=top_k,
        doubt=doubt,
    )
    return Vote(answer, ballots)


def posteriors_by_code(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the posteriors of ISO 639-3 codes; those of labels with the same code are added."""
    found: dict[str, float] = defaultdict(float)
    for label, posterior in scores.items():
        found[code_of(label)] += posterior
    return dict(found)


def ballot_of(name: str, posteriors: Mapping[str, float], candidates: Sequence[str] | None) -> Ballot:
    """Return the answer of a model: its most probable candidate, of all its languages if there are none."""
    chosen = {c: p for c, p in posteriors.items() if candidates is None or c in candidates}
    if not chosen:
        return Ballot(name, None, None)
    best = max(chosen, key=chosen.__getitem__)
    return Ballot(name, best, chosen[best] / max(sum(chosen.values()), SMALLEST))
