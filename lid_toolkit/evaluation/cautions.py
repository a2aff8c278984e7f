"""Reasons to trust a result less, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.evaluation.clusters import SEGMENTS, SPEAKERS
from lid_toolkit.evaluation.experiment import Experiment
from lid_toolkit.evaluation.metrics import FREQUENT
from lid_toolkit.evaluation.style import short_name, shortened
from lid_toolkit.evaluation.wording import plural

NAMED = 5
KINDS = {"utterance": "utt2lang", "speaker": SPEAKERS, "recording": SEGMENTS}
"""What a test set may have in common with the training set, and the tables that tell."""


def cautions(results: Mapping[str, Any], data_dir: Path | None, experiment: Experiment | None) -> list[str]:
    """Return what limits the meaning of a set's results.

    Args:
        results: the content of ``results.json``.
        data_dir: the set; None if it is not known or no longer there.
        experiment: the experiment; None if it is not known.
    """
    found = [_rare(results)]
    if experiment is not None and data_dir is not None:
        train_dir = experiment.training_dirs.get("train_dir")
        if train_dir is not None and train_dir.is_dir():
            found += _shared(data_dir, train_dir)
        found.append(_picked(data_dir, experiment))
    return [text for text in found if text]


def _rare(results: Mapping[str, Any]) -> str:
    rare = [label for label, row in results["per_language"].items() if row["utterances"] < FREQUENT]
    if not rare:
        return ""
    names = ", ".join(sorted(map(short_name, rare))[:NAMED])
    more = f" and {len(rare) - NAMED} more" if len(rare) > NAMED else ""
    return (
        f"{plural(len(rare), 'language')} with fewer than {FREQUENT} utterances ({names}{more}): "
        "the recalls, and so the macro accuracy, are uncertain."
    )


def _shared(data_dir: Path, train_dir: Path) -> list[str]:
    """Return what test and training have in common."""
    if data_dir.resolve() == train_dir.resolve():
        return ["This is the training set: the results say nothing about other speech."]
    texts = []
    for kind, name in KINDS.items():
        if (data_dir / name).is_file() and (train_dir / name).is_file():
            total, common = _common(kind, read_table(data_dir / name), read_table(train_dir / name))
            more = ", …" if len(common) > 1 else ""
            if common:
                verb = "is" if len(common) == 1 else "are"
                texts.append(
                    f"{len(common):,} of the {plural(total, kind)} of this set {verb} also in the training "
                    f"set ({shortened(common[0])}{more}): the results are too good for other {kind}s."
                )
    return texts


def _common(kind: str, own: Table, other: Table) -> tuple[int, list[str]]:
    """Return the number of utterances, speakers or recordings, and those that the other table has too."""
    if kind == "utterance":
        ids = set(own.keys())
        return len(own), [key for key in other.keys() if key in ids]  # noqa: SIM118  # a table is no mapping
    named, others = ({value.split(" ", 1)[0] for value in table.codes()[0]} for table in (own, other))
    return len(named), sorted(named & others)


def _picked(data_dir: Path, experiment: Experiment) -> str:
    """Return a warning if the best epochs were chosen on the set itself."""
    chosen = Path(experiment.picked_by) if experiment.picked_by else None
    if chosen is None or chosen.name != data_dir.name:
        return ""
    same = chosen.resolve() == data_dir.resolve() or not chosen.exists()
    return "The best epochs were selected on this set, so the results are too good." if same else ""
