"""Compare a system's answers with the true languages and write metrics, pictures and a report."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lid_toolkit.datadir.crops import crop_dir
from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation.answers import (
    Answers,
    Scores,
    answer_file,
    check_directories,
    input_files,
    known_only,
    merge_columns,
    read_answers,
    read_columns,
    read_languages,
)
from lid_toolkit.evaluation.calibrated import calibrated
from lid_toolkit.evaluation.clusters import SEGMENTS, SPEAKERS, Clusters, read_clusters, selected
from lid_toolkit.evaluation.coverage import How
from lid_toolkit.evaluation.decided import Policy, decided
from lid_toolkit.evaluation.duration_curve import check_model, duration_curve
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
from lid_toolkit.steps import Step, digest

GROUP_TABLES = ("utt2dataset", "utt2dialect")
MOST_GROUPS = 1000
SCORE_FILES = ("scores.scp", "scores.ark")
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
        leave_out: how languages are left out to measure how well posteriors tell unknown ones; see
            :func:`lid_toolkit.evaluation.coverage.leave_out`.
        crop_seconds: durations of the crops whose accuracies are reported, ascending.
        calibration: a policy that only calibrates, whose figures before and after are reported.
    """

    merge: bool = False
    policy: Policy | None = None
    unknown_languages: Literal["wrong", "skip"] = "wrong"
    cluster_from: str | None = None
    leave_out: How | None = "folds"
    crop_seconds: tuple[float, ...] = ()
    calibration: Policy | None = None

    def options(self) -> dict[str, object]:
        """Return the settings that make a difference, for the record of a scored set."""
        policies = {"policy": self.policy, "calibration": self.calibration}
        chosen = {
            **{name: None if one is None else dict(one.settings) for name, one in policies.items()},
            "unknown_languages": self.unknown_languages if self.unknown_languages != "wrong" else None,
            "cluster_from": self.cluster_from,
            "leave_out": (self.leave_out or "no") if self.leave_out != "folds" else None,
            "crop_seconds": list(self.crop_seconds) or None,
        }
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
            **{name: inference_dir / name for name in SCORE_FILES},
            **crop_files(inference_dir, counting.crop_seconds),
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
    columns = read_columns(inference_dir, answers)
    labels = read_languages(inference_dir / "languages")
    change = counting.calibration
    truth = digest(data_dir / "utt2lang")
    figures = None if change is None else calibrated(answers, columns, labels, change, truth)
    answers, scores = answered(answers, columns, labels, counting.policy)
    scored = from_scores(answers, scores, counting.leave_out)  # with the unknown languages
    if counting.unknown_languages == "skip":
        answers, scores = known_only(answers, scores)

    def clusters_in(truth: Table) -> Clusters | None:
        return read_clusters(data_dir, truth, counting.cluster_from)

    def to_crops(seconds: float) -> Answers:
        check_model(inference_dir, seconds)
        crops = crop_dir(inference_dir, seconds)
        found = read_answers(data_dir, crops, merge=counting.merge, crop_seconds=seconds)
        if counting.policy is None:
            return found
        return answered(found, read_columns(crops, found), labels, counting.policy)[0]

    seconds = counting.crop_seconds
    details = Details(
        clusters_in(answers.truth),
        language_sets(answers, scores, data_dir / UTT2LANGS),
        scored,
        group_tables(data_dir, answers.truth),
        duration_curve(answers, seconds, to_crops, clusters_in) if seconds else None,
        figures,
    )
    return answers, scores, details


def answered(
    answers: Answers, columns: Scores, labels: Sequence[str], policy: Policy | None
) -> tuple[Answers, Scores]:
    """Return the answers of a policy, if there is one, and the log posteriors of the languages."""
    if policy is None:
        return answers, merge_columns(answers, columns)
    return decided(answers, columns, labels, policy)


def crop_files(inference_dir: Path, seconds: Sequence[float]) -> dict[str, Path]:
    """Return the files with the answers to crops, by name."""
    found = {}
    for duration in seconds:
        crops = crop_dir(inference_dir, duration)
        names = (answer_file(crops).name, "failed", "languages", *SCORE_FILES)
        found.update({f"crops of {duration:g} s: {name}": crops / name for name in names})
    return found


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

    evaluation = evaluate(answers, details)
    results = {**as_dict(evaluation), "data_dir": place}
    numbers = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    figure = confusion_picture(results).figure
    with write_whole(inference_dir / "results") as stream:
        stream.write(espnet_report(evaluation, answers) if espnet_format else text_report(evaluation))
    with write_whole(inference_dir / "results.json") as stream:
        stream.write(numbers)
    with write_whole(inference_dir / "errors.tsv") as stream:
        wrong = map(error_row, confident_mistakes(answers, scores, None))
        stream.writelines("\t".join(row) + "\n" for row in itertools.chain([ERROR_COLUMNS], wrong))
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
