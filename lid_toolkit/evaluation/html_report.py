"""The results of scoring as one interactive HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.confusion_picture import LEGIBLE, confusion_picture
from lid_toolkit.evaluation.curve_pictures import (
    CURVES,
    coverage_picture,
    crops_picture,
    detection_picture,
    durations_picture,
    epochs_picture,
    learning_picture,
    reliability_picture,
)
from lid_toolkit.evaluation.experiment import Experiment
from lid_toolkit.evaluation.map_page import Point, map_data, thinned
from lid_toolkit.evaluation.pages import render
from lid_toolkit.evaluation.recordings import Recording
from lid_toolkit.evaluation.results_json import stored_values
from lid_toolkit.evaluation.similarity_picture import FEWEST, similarity_picture
from lid_toolkit.evaluation.style import display_name, printable
from lid_toolkit.evaluation.svg import Picture, inline_svg
from lid_toolkit.evaluation.wording import plural
from lid_toolkit.steps import Run, versions

FAILURES_LISTED = 200
PAIRS_LISTED = 20
POINTS_SHOWN = 5000
Row = tuple[str | Markup, ...]
Chart = tuple[str, tuple[str, str], Picture]
"""Name, (title, note) and picture."""


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        results: the content of ``results.json``.
        mistakes: the wrong answers to list, rows of ``errors.tsv``.
        failed: utterance -> why it has no answer; the first ``FAILURES_LISTED`` are listed.
        recordings: utterance -> its recording, for the mistakes.
        cautions: reasons to trust the results less, in words.
        points: the map of embeddings; empty if there is none.
        means: labels and mean embeddings (languages, dimensions); None if there are none.
        experiment: the training; None if it is not known.
        sets: rows of the table of data sets.
        runs: title, command and a note of each step that was recorded.
    """

    results: Mapping[str, Any]
    mistakes: Sequence[Sequence[str]] = ()
    failed: Table | None = None
    recordings: Mapping[str, Recording] = field(default_factory=dict)
    cautions: Sequence[str] = ()
    points: Sequence[Point] = ()
    means: tuple[Sequence[str], npt.NDArray[np.float32]] | None = None
    experiment: Experiment | None = None
    sets: Sequence[Sequence[str]] = ()
    runs: Sequence[tuple[str, Run, str]] = ()


def html_report(report: Report, charts: Sequence[Chart]) -> str:
    """Return the page: metrics first, then pictures and tables; ``charts`` are of :func:`set_charts`."""
    results, failed = report.results, list(islice(report.failed or (), FAILURES_LISTED))
    answered = results["utterances"] - sum(row[-1] for row in results["confusion"]["counts"])
    return render(
        "report.html.j2",
        title=f"Language identification of {results['set']}",
        contents=_contents(report, bool(failed)),
        cards=_cards(results),
        warnings=report.cautions,
        notes=results.get("remarks", ()),
        many=len(results["confusion"]["true"]) > LEGIBLE,
        confusion=inline_svg(confusion_picture(results)),
        pairs=_confused_pairs(results),
        charts=[(anchor, *words, inline_svg(picture)) for anchor, words, picture in charts],
        details=[
            (metric.title, metric.with_unit(value), metric.interval(value), note)
            for metric, value, note in _values(results)
            if metric.detail
        ],
        **_languages(results),
        **_map(report.points),
        similarity=_similarity(report),
        **_mistakes(report, answered - results["correct"]),
        failures=[(printable(utterance), printable(reason)) for utterance, reason in failed],
        failed=len(report.failed or ()),
        **_origin(report),
    )


def made_by() -> str:
    """Return what makes pages: this toolkit, with version and commit."""
    return f"lid_toolkit {versions()['lid_toolkit']}"


def _contents(report: Report, has_failures: bool) -> list[tuple[str, str]]:
    """Return anchors and names of the sections."""
    has_history = report.experiment is not None and bool(report.experiment.history)
    sections = (
        ("confusion", "Confusions", True),
        ("languages", "Languages", True),
        ("durations", "Durations", any(part["utterances"] for part in report.results["duration_buckets"])),
        ("map", "Map", bool(report.points)),
        ("numbers", "Numbers", True),
        ("mistakes", "Mistakes", True),
        ("failures", "Failures", has_failures),
        ("training", "Training", has_history),
        ("origin", "Commands and versions", True),
    )
    return [(anchor, name) for anchor, name, there in sections if there]


def _values(
    results: Mapping[str, Any],
) -> list[tuple[reported_metrics.Metric[Any], reported_metrics.Value, str]]:
    notes = results.get("notes", {})
    found = stored_values(reported_metrics.METRICS, results)
    return [(metric, value, notes.get(metric.key, "")) for metric, value in found]


def _cards(results: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {"title": metric.title, "value": metric.with_unit(value), "lines": [metric.interval(value), note]}
        for metric, value, note in _values(results)
        if not metric.detail
    ]


def set_charts(results: Mapping[str, Any]) -> list[Chart]:
    """Return anchor, (title, note) and picture of the charts for which there are numbers."""
    name, charts = results["set"], []
    if any(part["utterances"] for part in results["duration_buckets"]):
        picture = durations_picture({name: results["duration_buckets"]})
        charts.append(("durations", ("Accuracy by duration", ""), picture))
    if any(point["utterances"] for point in results.get("duration_curve", {}).get("points", ())):
        note = (
            "Crops of the utterances that are long enough. Dotted: the whole utterances of the longest crops."
        )
        picture = crops_picture({name: results["duration_curve"]})
        charts.append(("crops", ("Accuracy against seconds", note), picture))
    if results.get("accuracy_by_coverage"):
        words = (
            "Accuracy against coverage",
            "If only the utterances with the highest posteriors are answered.",
        )
        charts.append(("coverage", words, coverage_picture({name: results["accuracy_by_coverage"]})))
    if results.get("reliability"):
        note = "Below the diagonal, the system is too sure. Larger points stand for more answers."
        bins = {name: results["reliability"]}
        if results.get("calibration"):
            bins = {when: results["calibration"][when]["reliability"] for when in ("before", "after")}
            note = f"Before and after the calibration. {note}"
        charts.append(("reliability", ("Reliability", note), reliability_picture(bins)))
    if results.get("detection_errors"):
        note = "All pairs of an utterance and a language, with the threshold as parameter (DET)."
        picture = detection_picture({name: results["detection_errors"]})
        charts.append(("detection", ("Detection errors", note), picture))
    return charts


def _confused_pairs(results: Mapping[str, Any]) -> list[Row]:
    """Return the most frequent confusions: true and answered language, number, proportion of the true one."""
    true, answered = results["confusion"]["true"], results["confusion"]["predicted"][:-1]
    counts = np.asarray(results["confusion"]["counts"], np.int64)
    totals, counts = counts.sum(axis=1), counts[:, :-1].copy()
    counts[np.arange(len(true)), [answered.index(label) for label in true]] = 0
    most = np.argsort(-counts, axis=None, kind="stable")[:PAIRS_LISTED]
    rows, columns = np.unravel_index(most, counts.shape)
    return [
        (
            display_name(true[row]),
            display_name(answered[column]),
            str(counts[row, column]),
            f"{100 * counts[row, column] / totals[row]:.1f}",
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if counts[row, column]
    ]


def _languages(results: Mapping[str, Any]) -> dict[str, object]:
    """Return the table of languages, the lowest recall on top."""
    metrics = reported_metrics.LANGUAGE_METRICS
    headings = [heading for metric in metrics for heading in metric.headings]
    languages = sorted(
        results["per_language"].items(), key=lambda item: (item[1]["recall"]["value"], display_name(item[0]))
    )
    rows = []
    for label, row in languages:
        values = stored_values(metrics, row)
        cells = [cell for metric, value in values for cell in metric.cells(value)]
        confused = row["mistaken_for"]
        mistaken = f"{display_name(confused)}: {row['mistaken_times']}" if confused else ""
        rows.append(
            (
                display_name(label),
                str(row["utterances"]),
                _bar(row["recall"]),
                *cells,
                str(row["correct"]),
                mistaken,
            )
        )
    return {
        "language_columns": ["language", "utterances", "recall", *headings, "correct", "mistaken for"],
        "language_rows": rows,
        "language_classes": ["name", "right", "left", *["right"] * (len(headings) + 1), "name"],
    }


def _bar(share: Mapping[str, float]) -> Markup:
    """Return a bar with its interval, from 0 to 100 %."""
    value, low, high = (100 * share[name] for name in ("value", "low", "high"))
    return Markup(
        f'<span class="bar" style="--value: {value:.2f}; --low: {low:.2f}; --high: {high:.2f}" '
        f'data-tip="{value:.2f} % [{low:.2f}, {high:.2f}]"></span>'
    )


def _map(points: Sequence[Point]) -> dict[str, object]:
    if not points:
        return {"map": "", "map_note": ""}
    shown = thinned(points, POINTS_SHOWN)
    some = f"{len(shown):,} of {len(points):,} utterances; tsne_plots/tsne.html has all. "
    note = "An outline marks a wrong answer. Select languages in the list; Ctrl and the wheel zoom."
    return {"map": map_data(shown), "map_note": (some if len(shown) < len(points) else "") + note}


def _similarity(report: Report) -> Markup | str:
    if report.means is None or len(report.means[0]) < FEWEST:
        return ""
    return inline_svg(similarity_picture(*report.means))


def _mistakes(report: Report, wrong: int) -> dict[str, object]:
    """Return the table of wrong answers, with a player for each recording that can be played."""
    head = ("utterance", "true", "answered", "probability", "of the true language", "seconds")
    recordings = [report.recordings.get(row[0], Recording("", "")) for row in report.mistakes]
    known = any(recording.source for recording in recordings)
    rows: list[Row] = [
        (
            printable(utterance),
            display_name(true),
            display_name(answered),
            probability,
            of_true or "-",
            seconds,
            *([_player(recording)] if known else []),
        )
        for (utterance, true, answered, probability, of_true, seconds), recording in zip(
            report.mistakes, recordings, strict=True
        )
    ]
    reasons = sorted({recording.reason.partition(":")[0] for recording in recordings} - {""})
    note = "The recordings are not part of this page: keep it where it is to play them." if known else ""
    if recordings and not known and reasons:
        note = f"The recordings cannot be played here: {', '.join(reasons)}."
    return {
        "wrong_answers": plural(wrong, "wrong answer"),
        "mistakes": rows,
        "mistake_columns": [*head, *(["recording"] if known else [])],
        "mistake_classes": ["code", "name", "name", "right", "right", "right", *(["wraps"] if known else [])],
        "audio_note": note,
    }


def _player(recording: Recording) -> Markup | str:
    if not recording.source:
        return recording.reason
    return Markup('<audio controls preload="none" src="{}"></audio>').format(recording.source)


def _origin(report: Report) -> dict[str, object]:
    """Return curves, commands, versions and configuration."""
    experiment = report.experiment
    history = experiment.history if experiment else ()
    pictures = [learning_picture(history, name) for name in CURVES] if history else []
    runs = [
        {
            "what": what,
            "command": run.command,
            "note": f"{note}{run.ended}; {', '.join(map(' '.join, run.versions.items()))}",
        }
        for what, run, note in report.runs
    ]
    return {
        "learning": [*map(inline_svg, pictures), *([inline_svg(epochs_picture(history))] if history else [])],
        "training_note": experiment.training_note if experiment else "",
        "sets": report.sets,
        "runs": runs,
        "config": experiment.config if experiment else "",
        "made_by": made_by(),
    }
