"""Several systems on one set: the votes of :mod:`.vote` on answers and scores that are already there.

Shapes: m systems, u utterances, c labels of one system, l languages that all systems know.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.tables.table import Table, parse_table, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.identified import Block, Identified, files_of, write_identified
from lid_toolkit.inference.vote import Rule, code_of, common
from lid_toolkit.steps import Step

FEWEST = 2
Scores = npt.NDArray[np.float64]


def vote_results(
    results: Sequence[Path], output_dir: Path, rule: Rule = "fuse", dry_run: bool = False
) -> None:
    """Write the common answers of several systems to one set, unless they are current.

    The files are those of an identification, so ``lid score`` and ``lid compare`` read them. The labels are
    the first system's, for the languages that all systems know. An utterance that a system failed to identify
    has failed. With the rule ``agree``, so has one to which the systems gave different answers.

    Args:
        results: the results of each system, ``.../MODEL/SET``, at least two.
        output_dir: directory to write, ``.../MODEL/SET``.
        rule: see :class:`.vote.Voters`; the scores are used as they are, without calibrations.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: there are fewer than two systems, they answered different sets or have fewer than two
            languages in common, or a file is missing or damaged.
    """
    if len(results) < FEWEST:
        raise LidError(f"{len(results)} system: a vote needs two or more", where="results")
    options = {"rule": rule, "systems": [str(directory) for directory in results]}
    step = Step(f"vote to {output_dir}", output_dir / ".done" / "vote.json", files_of(results), options)
    if dry_run:
        step.due(dry_run=True)
        return
    systems = [Identified.read(directory) for directory in results]
    _check_same_set(systems)
    codes = common([system.languages for system in systems])
    with step.work("voting", lock=output_dir) as work:
        if work is not None:
            work.finish(_write(output_dir, systems, codes, rule))


def _check_same_set(systems: Sequence[Identified]) -> None:
    """Raise LidError unless all systems have answered, or failed to answer, the same utterances."""
    first, *others = ({*system.answers.keys(), *system.failed.keys()} for system in systems)
    for system, keys in zip(systems[1:], others, strict=True):
        if keys != first:
            one = min(keys ^ first)
            what = f"the systems answered different sets: only one of them has '{one}'"
            where = f"{systems[0].directory} and {system.directory}"
            raise LidError(what, where=where, mend="vote on one set")


def _write(out: Path, systems: Sequence[Identified], codes: Sequence[str], rule: Rule) -> list[Path]:
    """Write the common answers and return the files."""
    failed = {key: reason for system in reversed(systems) for key, reason in system.failed}
    if rule == "agree":
        failed = disagreements([system.answers for system in systems]) | failed
    keys = [key for key, _ in systems[0].answers if key not in failed]
    scores_ul = fused([by_code(system, codes, keys) for system in systems])
    own = {code_of(label): label for label in reversed(systems[0].languages)}
    labels = [own[code] for code in codes]
    answers = [(key, labels[column]) for key, column in zip(keys, scores_ul.argmax(axis=1), strict=True)]
    blocks: list[Block] = [(keys, scores_ul.astype(np.float32))] if keys else []
    logging.info("%s: %d answers of %d systems, %d without", out, len(keys), len(systems), len(failed))
    return write_identified(out, _table(dict(answers)), _table(failed), labels, iter(blocks))


def disagreements(answers_m: Sequence[Table]) -> dict[str, str]:
    """Return the utterances that all systems answered, but not alike, and what they said, in their order."""
    first, *others = ({key: code_of(label) for key, label in answers} for answers in answers_m)
    found = {}
    for key in first:
        said = [codes[key] for codes in (first, *others) if key in codes]
        if len(said) == len(answers_m) and len({*said}) > 1:
            found[key] = f"the models disagree: {', '.join(said)}"
    return found


def by_code(system: Identified, codes: Sequence[str], keys: Sequence[str]) -> Scores:
    """Return log posteriors (U, L) of languages; those of labels with the same code are added."""
    columns: dict[str, list[int]] = {}
    for column, label in enumerate(system.languages):
        columns.setdefault(code_of(label), []).append(column)
    scores_uc = system.scores()[1][system.answers.rows(keys)].astype(np.float64)
    parts = [np.logaddexp.reduce(scores_uc[:, columns[code]], axis=1) for code in codes]
    return np.stack(parts, axis=1)


def fused(scores_mul: Sequence[Scores]) -> Scores:
    """Return the mean of log posteriors (U, L) of several systems, normalised: see :mod:`.vote`."""
    mean_ul = np.mean(scores_mul, axis=0)
    fused_ul: Scores = mean_ul - np.logaddexp.reduce(mean_ul, axis=1, keepdims=True)
    return fused_ul


def _table(rows: Mapping[str, str]) -> Table:
    """Return a table, which may be empty."""
    return table_from_pairs(rows.items()) if rows else parse_table(b"", "table", allow_empty=True)
