"""Several systems on the same utterances: tables of their accuracies and differences, and of what changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.compare import Comparison, compare
from lid_toolkit.evaluation.metrics import Details, evaluate
from lid_toolkit.evaluation.wording import columns_text, interval, percent

Rows = Sequence[Sequence[str]]


def comparison_tables(
    systems: Mapping[str, Answers], clusters: Clusters | None, table: Callable[[Sequence[str], Rows], str]
) -> str:
    """Return a table of accuracies and one of the differences of each pair of systems.

    A difference is the accuracy of the column minus that of the row, in points; ``*`` marks an interval that
    does not hold 0.

    Args:
        systems: name -> answers, at least two, all to the same set.
        clusters: utterances that err together; None: they are independent.
        table: returns a table from its head and its rows.

    Raises:
        LidError: the systems answered different sets.
    """
    found = {name: evaluate(answers, Details(clusters)) for name, answers in systems.items()}
    accuracies = [
        (name, percent(result.accuracy.estimate).strip(), percent(result.macro_accuracy).strip())
        for name, result in found.items()
    ]
    differences = {
        (row, column): cell(compare(systems[row], systems[column], clusters))
        for row, column in itertools.permutations(systems, 2)
    }
    matrix = [(row, *(differences.get((row, column), "") for column in systems)) for row in systems]
    return "\n\n".join(
        (
            table(("system", "accuracy", "macro accuracy"), accuracies),
            table(("column - row, points", *systems), matrix),
        )
    )


def cell(comparison: Comparison) -> str:
    """Return a difference with its interval, and ``*`` if the interval does not hold 0."""
    gain = comparison.gain
    mark = " *" if gain.low > 0 or gain.high < 0 else ""
    return f"{100 * gain.value:+.2f} {interval(gain)}{mark}"


def plain(head: Sequence[str], rows: Rows) -> str:
    """Return a table for a terminal."""
    return columns_text(head, rows, "<" * len(head))


def markdown(head: Sequence[str], rows: Rows) -> str:
    """Return a table in Markdown."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines)


def latex(head: Sequence[str], rows: Rows) -> str:
    """Return a table in LaTeX, with the rules of the package booktabs."""
    lines = [" & ".join(map(escaped, line)) + r" \\" for line in (head, *rows)]
    columns = "l" * len(head)
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])


def escaped(text: str) -> str:
    """Return a text for LaTeX, with a backslash before each character that has a meaning there."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, rf"\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


FORMATS: Mapping[str, Callable[[Sequence[str], Rows], str]] = {
    "text": plain,
    "markdown": markdown,
    "latex": latex,
}


def answer_rows(systems: Mapping[str, Answers], only_changes: bool) -> list[tuple[str, ...]]:
    """Return a row for each utterance: id, true language, answer of each system, ``-`` if it failed.

    Args:
        systems: name -> answers, all to the same set.
        only_changes: leave out the utterances that all systems answer alike.
    """
    first = next(iter(systems.values()))
    labels_su = np.array(
        [
            [answers.languages[answer] if answer != FAILED else "-" for answer in answers.predicted.tolist()]
            for answers in systems.values()
        ]
    )
    differ_u = (labels_su != labels_su[0]).any(axis=0)
    rows = np.flatnonzero(differ_u) if only_changes else np.arange(len(differ_u))
    return [
        (first.truth.key(row), first.truth.value(row), *labels_su[:, row].tolist()) for row in rows.tolist()
    ]


def recalls(systems: Mapping[str, Answers]) -> list[tuple[str, ...]]:
    """Return the recall of each language of the set in percent: label, utterances, recall of each system."""
    first = next(iter(systems.values()))
    labels, codes_u = first.truth.codes()
    right = [answers.true == answers.predicted for answers in systems.values()]
    rows = []
    for code, label in enumerate(labels):
        here = codes_u == code
        shares = (f"{100 * right_u[here].mean():.2f}" for right_u in right)
        rows.append((label, str(int(here.sum())), *shares))
    return rows
