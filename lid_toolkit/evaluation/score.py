"""Compare a system's answers with the true languages and write metrics, pictures and a report."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation.answers import (
    Answers,
    Scores,
    check_directories,
    input_files,
    known_only,
    read_answers,
    read_scores,
)
from lid_toolkit.evaluation.clusters import SEGMENTS, SPEAKERS, read_clusters, selected
from lid_toolkit.evaluation.decided import Policy, decided
from lid_toolkit.evaluation.espnet_report import espnet_report
from lid_toolkit.evaluation.from_scores import from_scores
from lid_toolkit.evaluation.language_sets import language_sets
from lid_toolkit.evaluation.metrics import Details, evaluate
from lid_toolkit.evaluation.mistakes import Mistake, confident_mistakes
from lid_toolkit.evaluation.report import write_report
from lid_toolkit.evaluation.reported_metrics import metric_keys
from lid_toolkit.evaluation.results_json import as_dict
from lid_toolkit.evaluation.style import FORMS, saved
from lid_toolkit.evaluation.text_report import headline, text_report
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step

GROUP_TABLES = ("utt2dataset", "utt2dialect")
MOST_GROUPS = 1000
OUTPUTS = ("results", "results.json", "errors.tsv", "confusion.png", "confusion.svg")
ERROR_COLUMNS = ("utt", "lang", "predicted", "posterior", "posterior_of_lang", "seconds")


@dataclass(frozen=True)
class Counting:
    """What counts as right, and what is counted.

    Attributes:
        merge: count a macrolanguage and its members as one.
        policy: what answers; None for the most probable language.
        unknown_languages: whether utterances in languages that the system does not know are wrong or
            left out.
        cluster_from: regular expression for the clusters of utterances; see
            :func:`lid_toolkit.evaluation.clusters.read_clusters`.
    """

    merge: bool = False
    policy: Policy | None = None
    unknown_languages: Literal["wrong", "skip"] = "wrong"
    cluster_from: str | None = None

    def options(self) -> dict[str, object]:
        """Return the settings that make a difference, for the record of a scored set."""
        policy = None if self.policy is None else dict(self.policy.settings)
        skip = self.unknown_languages if self.unknown_languages != "wrong" else None
        chosen = {"policy": policy, "unknown_languages": skip, "cluster_from": self.cluster_from}
        return {
            "merge_macrolanguages": self.merge,
            **{key: value for key, value in chosen.items() if value is not None},
        }


AS_THEY_ARE = Counting()


def score(
    data_dir: Path,
    inference_dir: Path,
    dry_run: bool = False,
    *,
    counting: Counting = AS_THEY_ARE,
    espnet_format: bool = False,
) -> None:
    """Write the files ``OUTPUTS`` and the report (:mod:`.report`) unless they are current.

    Args:
        data_dir: the truth, ``dump/raw/SET``.
        inference_dir: the answers, ``.../MODEL/SET``; the outputs go there too.
        dry_run: only log whether there is work to do.
        counting: what counts.
        espnet_format: write ``results`` in the format of ESPnet's recipe.

    Raises:
        LidError: see :func:`lid_toolkit.evaluation.answers.read_answers`.
    """
    inference_dir = inference_dir.resolve()
    tables = (UTT2LANGS, SPEAKERS, SEGMENTS, *GROUP_TABLES)
    step = Step(
        name=f"score {inference_dir.name}",
        record=inference_dir / ".done" / "score.json",
        inputs={
            **input_files(data_dir, inference_dir),
            **{name: data_dir / name for name in tables},
            **{name: inference_dir / name for name in ("scores.scp", "scores.ark")},
        },
        options={
            **counting.options(),
            "metrics": metric_keys(),
            **({"espnet_format": True} if espnet_format else {}),
        },
        version=4,
    )
    if dry_run:
        step.due(dry_run=True)
        write_report(inference_dir, dry_run=True)
        return
    check_directories(data_dir, inference_dir)
    with step.work("scoring", lock=inference_dir) as work:
        if work is not None:
            answers, scores, details = _read(data_dir, inference_dir, counting)
            place = os.path.relpath(data_dir.resolve(), inference_dir)
            _write_results(inference_dir, answers, scores, details, espnet_format, place)
            work.finish(inference_dir / name for name in OUTPUTS)
    write_report(inference_dir)
    logging.info("see %s and %s", inference_dir / "results", inference_dir / "report.html")


def _read(data_dir: Path, inference_dir: Path, counting: Counting) -> tuple[Answers, Scores, Details]:
    """Return the answers and scores that count, and what else is known of the set."""
    answers = read_answers(data_dir, inference_dir, merge=counting.merge)
    if counting.policy is None:
        scores = read_scores(inference_dir, answers)
    else:
        answers, scores = decided(answers, inference_dir, counting.policy)
    scored = from_scores(answers, scores)  # with the unknown languages
    if counting.unknown_languages == "skip":
        answers, scores = known_only(answers, scores)
    details = Details(
        read_clusters(data_dir, answers.truth, counting.cluster_from),
        language_sets(answers, scores, data_dir / UTT2LANGS),
        scored,
        group_tables(data_dir, answers.truth),
    )
    return answers, scores, details


def _write_results(
    inference_dir: Path,
    answers: Answers,
    scores: Scores,
    details: Details,
    espnet_format: bool,
    place: str,
) -> None:
    """Write the outputs; ``place`` is the way from ``inference_dir`` to the set, for the report."""
    # Not above: it takes longer to import matplotlib than to see that the results are current.
    from lid_toolkit.evaluation.confusion_picture import confusion_picture

    mistakes = confident_mistakes(answers, scores, None)
    evaluation = evaluate(answers, details)
    results = {**as_dict(evaluation), "data_dir": place}
    numbers = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    figure = confusion_picture(results).figure
    with write_whole(inference_dir / "results") as stream:
        stream.write(espnet_report(evaluation, answers) if espnet_format else text_report(evaluation))
    with write_whole(inference_dir / "results.json") as stream:
        stream.write(numbers)
    with write_whole(inference_dir / "errors.tsv") as stream:
        for row in (ERROR_COLUMNS, *map(error_row, mistakes)):
            stream.write("\t".join(row) + "\n")
    for form in FORMS:
        with write_whole(inference_dir / f"confusion.{form}", "wb") as stream:
            stream.write(saved(figure, form))
    for line in headline(evaluation).splitlines():
        logging.info("%s", line)


def error_row(mistake: Mistake) -> tuple[str, ...]:
    """Return a wrong answer as a row of ``errors.tsv``; a posterior of an unknown language is empty."""
    known = mistake.true_probability
    return (
        mistake.utterance,
        mistake.true,
        mistake.predicted,
        f"{mistake.probability:.4f}",
        "" if known is None else f"{known:.4f}",
        f"{mistake.seconds:.2f}",
    )


def group_tables(data_dir: Path, truth: Table) -> dict[str, Table]:
    """Return the tables whose values divide a set into groups that are reported, where there are any."""
    found = {name: selected(data_dir / name, truth) for name in GROUP_TABLES if (data_dir / name).exists()}
    return {name: table for name, table in found.items() if len(table.codes()[0]) <= MOST_GROUPS}
