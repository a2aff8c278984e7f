"""Utterances of several languages, as in code switching: the table ``utt2langs``.

A value lists the languages of an utterance, with or without weights: ``eng:0.7 zho:0.3`` or ``eng zho``. The
weights say how much of the utterance is in each language; without them, all languages have the same weight.
``utt2lang`` has the main language, the one with the largest weight, so everything that needs one label for
each utterance works as it does without ``utt2langs``.

Shapes: u utterances, v distinct values of ``utt2langs``, e languages of these values in turn.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError

UTT2LANGS = "utt2langs"

EXAMPLE = "e.g. 'eng:0.7 zho:0.3' or 'eng zho'"

ROUNDING = 1e-9
"""Largest relative difference of two weights that count as equal."""


def parse_mixture(text: str) -> dict[str, float]:
    """Return the weight of each language in a value of ``utt2langs``; the weights sum to 1.

    If a label occurs more than once, its weights are added.

    Raises:
        ValueError: some languages have a weight and others have none, or a weight is not positive and finite.
    """
    words = [_label_and_weight(word) for word in text.split()]
    given = [weight for _, weight in words if weight is not None]
    if given and len(given) < len(words):
        raise ValueError("some languages have a weight, others have none")
    total = sum(given) if given else len(words)
    if not math.isfinite(total) or any(not weight > 0 for weight in given):
        raise ValueError("a weight is not positive and finite")
    weights: dict[str, float] = {}
    for label, weight in words:
        weights[label] = weights.get(label, 0.0) + (1.0 if weight is None else weight) / total
    return weights


@dataclass(frozen=True)
class Mixtures:
    """The languages of utterances and their weights.

    Attributes:
        labels: all labels, in byte order.
        values_u: number of each utterance's value of ``utt2langs``, int32.
        bounds_v: (values + 1,) where the languages of each value begin; the last is their number.
        labels_e: index in ``labels`` of each language, int32.
        weights_e: its weight, float32; those of a value sum to 1.
    """

    labels: tuple[str, ...]
    values_u: NDArray[np.int32]
    bounds_v: NDArray[np.int64]
    labels_e: NDArray[np.int32]
    weights_e: NDArray[np.float32]


def mixtures_of(utt2langs: Table, name: str | Path, label: Callable[[str], str] = str) -> Mixtures:
    """Parse ``utt2langs``, which is called ``name`` in messages.

    Args:
        utt2langs: the table.
        name: its name in messages.
        label: returns the label to use instead of one in the table.

    Raises:
        LidError: a row is malformed.
    """
    texts, values_u = utt2langs.codes()
    try:
        parsed = [parse_mixture(relabelled(text, label)) for text in texts]
    except ValueError as error:
        wrong = next(text for text in texts if _malformed(text))
        raise LidError(f"'{wrong}': {error}", where=name, mend=EXAMPLE) from None
    labels = tuple(sorted({label for mixture in parsed for label in mixture}, key=str.encode))
    index = {label: number for number, label in enumerate(labels)}
    return Mixtures(
        labels,
        values_u,
        np.cumsum([0, *map(len, parsed)]),
        np.array([index[label] for mixture in parsed for label in mixture], dtype=np.int32),
        np.array([weight for mixture in parsed for weight in mixture.values()], dtype=np.float32),
    )


def labels_in(text: str) -> tuple[str, ...]:
    """Return the labels in a value of ``utt2langs``."""
    return tuple(dict.fromkeys(_label_and_weight(word)[0] for word in text.split()))


def relabelled(text: str, label: Callable[[str], str]) -> str:
    """Return a value of ``utt2langs`` with ``label(old)`` instead of each label."""
    olds = ((word, _label_and_weight(word)[0]) for word in text.split())
    return " ".join(label(old) + word[len(old) :] for word, old in olds)


def check_mixtures(mixtures: Table, utt2lang: Table, name: str | Path) -> None:
    """Raise LidError for the first fault in ``utt2langs``, which is called ``name`` in the message."""
    for faults in mixture_faults(mixtures, utt2lang, name):
        raise faults.error(0)


def mixture_faults(
    mixtures: Table, utt2lang: Table, name: str | Path, lines: NDArray[np.int64] | None = None
) -> list[Faults]:
    """Return what is wrong with the rows of ``utt2langs``; ``lines`` are their line numbers, 0 by default.

    A row is malformed, or the label in ``utt2lang`` is not one of those with the largest weight.
    """
    texts, codes_u = mixtures.codes()
    reasons = [_malformed(text) for text in texts]
    malformed_u = np.array([bool(reason) for reason in reasons])[codes_u]
    labels, label_codes = utt2lang.codes()
    rows_u = utt2lang.rows(mixtures.keys())
    compared = np.flatnonzero(~malformed_u & (rows_u >= 0))
    # There are far fewer pairs of a mixture and a label than utterances.
    pairs, pair_of = np.unique(
        codes_u[compared].astype(np.int64) * len(labels) + label_codes[rows_u[compared]], return_inverse=True
    )
    wrong = [not _is_main(labels[pair % len(labels)], texts[pair // len(labels)]) for pair in pairs.tolist()]

    def malformed_what(row: int) -> str:
        return f"'{mixtures.key(row)} {mixtures.value(row)}': {reasons[codes_u[row]]}"

    def contradicting_what(row: int) -> str:
        label, mixture = utt2lang.value(int(rows_u[row])), mixtures.value(row)
        return f"'{mixtures.key(row)}': '{label}' in utt2lang is not the main language of '{mixture}'"

    kinds = (
        ("malformed languages", np.flatnonzero(malformed_u), malformed_what, EXAMPLE),
        (
            "utt2langs contradicts utt2lang",
            compared[np.array(wrong, dtype=bool)[pair_of]],
            contradicting_what,
            "write the language with the largest weight in utt2lang",
        ),
    )
    lines = np.zeros(len(mixtures), dtype=np.int64) if lines is None else lines
    return [
        Faults(kind, name, lines[rows], functools.partial(_describe, what, rows), mend)
        for kind, rows, what, mend in kinds
        if len(rows)
    ]


def _describe(what: Callable[[int], str], rows: NDArray[np.int64], number: int) -> str:
    return what(int(rows[number]))


def _label_and_weight(word: str) -> tuple[str, float | None]:
    """Split ``eng:0.7``; a label may contain a colon, but not end with a colon and a number."""
    label, _, number = word.rpartition(":")
    try:
        return (label, float(number)) if label else (word, None)
    except ValueError:
        return word, None


def _malformed(text: str) -> str:
    """Return why a value cannot be parsed, or ``""``."""
    try:
        parse_mixture(text)
    except ValueError as error:
        return str(error)
    return ""


def _is_main(label: str, text: str) -> bool:
    weights = parse_mixture(text)
    return weights.get(label, 0.0) >= max(weights.values()) * (1 - ROUNDING)
