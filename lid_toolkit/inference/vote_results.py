"""Several systems on one set: the votes of :mod:`.vote` on answers and scores that are already there.

Shapes: m systems, u utterances, c labels of one system, l candidates of the vote.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.tables.table import Table, parse_table, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.identified import NEVER, Block, Identified, files_of, write_identified
from lid_toolkit.inference.vote import Rule, Scores, candidates, code_of, fused
from lid_toolkit.steps import Step

FEWEST = 2


def vote_results(
    results: Sequence[Path], output_dir: Path, rule: Rule = "fuse", dry_run: bool = False
) -> None:
    """Write the common answers of several systems to one set, unless they are current.

    The files are those of an identification, so ``lid score`` and ``lid compare`` read them. The languages
    are the candidates of :mod:`.vote`, with the labels of the first system that knows each. An utterance that
    a system failed to identify has failed. One that a system left without an answer has none, and with the
    rule ``agree``, neither has one to which the systems gave different answers.

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
    codes = candidates([system.languages for system in systems])
    with step.work("voting", lock=output_dir) as work:
        if work is not None:
            work.finish(_write(output_dir, systems, codes, rule))


def _check_same_set(systems: Sequence[Identified]) -> None:
    """Raise LidError unless all systems have answered, or failed to answer, the same utterances."""
    first, *others = (
        {*system.answers.keys(), *system.failed.keys(), *system.abstained.keys()} for system in systems
    )
    for system, keys in zip(systems[1:], others, strict=True):
        if keys != first:
            one = min(keys ^ first)
            what = f"the systems answered different sets: only one of them has '{one}'"
            where = f"{systems[0].directory} and {system.directory}"
            raise LidError(what, where=where, mend="vote on one set")


def _write(out: Path, systems: Sequence[Identified], codes: Sequence[str], rule: Rule) -> list[Path]:
    """Write the common answers and return the files."""
    failed = {key: reason for system in reversed(systems) for key, reason in system.failed}
    abstained = {key: reason for system in reversed(systems) for key, reason in system.abstained}
    if rule == "agree":
        abstained |= disagreements([system.answers for system in systems])
    abstained = {key: reason for key, reason in abstained.items() if key not in failed}
    keys = [key for key, _ in systems[0].answers if key not in failed and key not in abstained]
    scores_ul = fused(np.stack([by_code(system, codes, keys) for system in systems]))
    own = {code_of(label): label for system in reversed(systems) for label in reversed(system.languages)}
    labels = tuple(own[code] for code in codes)
    answers = [(key, labels[column]) for key, column in zip(keys, scores_ul.argmax(axis=1), strict=True)]
    blocks: list[Block] = [(keys, scores_ul.astype(np.float32))] if keys else []
    without = len(failed) + len(abstained)
    logging.info("%s: %d answers of %d systems, %d without", out, len(keys), len(systems), without)
    voted = Identified(out, _table(dict(answers)), _table(failed), _table(abstained), labels)
    return write_identified(voted, iter(blocks))


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
    """Return log posteriors (U, L) of languages; NaN for one that the system, or its fold, does not know.

    Those of labels with the same code are added.
    """
    columns: dict[str, list[int]] = {}
    for column, label in enumerate(system.languages):
        columns.setdefault(code_of(label), []).append(column)
    scores_uc = system.scores()[1][system.answers.rows(keys)]
    scores_ul = np.full((len(keys), len(codes)), np.nan)
    for place, code in enumerate(codes):
        if own := columns.get(code):
            sum_u = np.logaddexp.reduce(scores_uc[:, own], axis=1, dtype=np.float64)
            scores_ul[:, place] = np.where((scores_uc[:, own] == NEVER).all(axis=1), np.nan, sum_u)
    return scores_ul


def _table(rows: Mapping[str, str]) -> Table:
    """Return a table, which may be empty."""
    return table_from_pairs(rows.items()) if rows else parse_table(b"", "table", allow_empty=True)
