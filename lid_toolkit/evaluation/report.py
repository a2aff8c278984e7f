"""The report of a scored set: it gathers what lies in the set's directory and that of its experiment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_optional_table
from lid_toolkit.evaluation.experiment import CONFIG, MEASURES, Experiment, experiment_of, job_hours
from lid_toolkit.evaluation.mistakes import LISTED_AT_MOST
from lid_toolkit.evaluation.wording import plural
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Run, Step, recorded_run

RESULTS, ERRORS, PAGE = "results.json", "errors.tsv", "report.html"
MAP = Path("tsne_plots") / "tsne.csv"
PICTURES = Path("images")
TABLES = ("utt2lang", "utt2spk", "segments", "wav.scp", "report/report.json")
"""What the report reads of the set, and, without ``wav.scp``, of the training and the validation set."""
NEEDED = (
    "set",
    "accuracy",
    "macro_accuracy",
    "utterances",
    "correct",
    "per_language",
    "confusion",
    "duration_buckets",
)
STEPS = {"train": "Training", "identify": "Identification", "score": "Scoring", "tsne": "Map of embeddings"}


def write_report(inference_dir: Path, dry_run: bool = False) -> None:
    """Write ``report.html`` and the pictures in ``images`` of a scored set, unless they are current.

    Args:
        inference_dir: what was scored, ``.../MODEL/SET``; the report has everything that is there.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: the set has not been scored, or a file is damaged.
    """
    inference_dir = inference_dir.resolve()
    step = report_step(inference_dir)
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("reporting", lock=inference_dir) as work:
        if work is None:
            return
        # Not above: matplotlib takes longer to import than it takes to see that the report is current.
        from lid_toolkit.evaluation.html_report import Report, html_report, set_charts
        from lid_toolkit.evaluation.report_pictures import write_pictures

        results = read_results(inference_dir)
        experiment, data_dir = experiment_of(inference_dir), data_dir_of(results, inference_dir)
        charts = set_charts(results)
        page = html_report(Report(**gathered(inference_dir, results, experiment, data_dir)), charts)
        pictures = write_pictures(charts, inference_dir / PICTURES)
        with write_whole(inference_dir / PAGE) as stream:
            stream.write(page)
        work.finish([inference_dir / PAGE, *pictures])


def renew_reports(experiment: Path) -> list[Path]:
    """Write the report of each scored set of an experiment again, unless it is current; return the pages.

    Raises:
        LidError: see :func:`scored_dirs` and :func:`write_report`.
    """
    scored = scored_dirs(experiment)
    for directory in scored:
        write_report(directory)
    return [directory / PAGE for directory in scored]


def scored_dirs(experiment: Path) -> list[Path]:
    """Return the directories of the scored sets of an experiment.

    Raises:
        LidError: the experiment does not exist, or no set has been scored.
    """
    if not experiment.is_dir():
        raise LidError("does not exist", where=experiment, mend="give the directory of an experiment")
    scored = sorted(path.parent for path in experiment.glob(f"inference/*/*/{RESULTS}"))
    if not scored:
        raise LidError("no set has been scored", where=experiment, redo="scoring")
    return scored


def report_step(inference_dir: Path) -> Step:
    """Return the report as a step, which is current if it has what is there now."""
    experiment = inference_dir.parent.parent.parent
    names = (RESULTS, ERRORS, "failed", MAP, "lang_embeddings.scp", "lang_embeddings.ark")
    return Step(
        f"report {inference_dir.name}",
        inference_dir / ".done" / "report.json",
        {
            **{str(name): inference_dir / name for name in names},
            **{name: experiment / name for name in (CONFIG, MEASURES)},
            **tables_of_sets(inference_dir),
        },
        {},
    )


def tables_of_sets(inference_dir: Path) -> dict[str, Path]:
    """Return the files of data directories that the report reads, by name; none if the set is not scored."""
    try:
        data_dir = data_dir_of(read_results(inference_dir), inference_dir)
        experiment = experiment_of(inference_dir)
    except LidError:  # reporting says what is wrong
        return {}
    of_set = {f"data_dir/{name}": data_dir / name for name in TABLES} if data_dir is not None else {}
    trained_with = experiment.training_dirs if experiment is not None else {}
    return of_set | {
        f"{use}/{name}": path / name
        for use, path in trained_with.items()
        for name in TABLES
        if name != "wav.scp"
    }


def read_results(inference_dir: Path) -> dict[str, Any]:
    """Read ``results.json`` of a scored set.

    Raises:
        LidError: there is none, or it is not one of this toolkit.
    """
    path = inference_dir / RESULTS
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LidError("has not been scored", where=inference_dir, redo="scoring") from None
    except ValueError:
        raise LidError("not JSON", where=path, redo="scoring") from None
    if not isinstance(results, dict) or (missing := [name for name in NEEDED if name not in results]):
        what = f"no '{missing[0]}'" if isinstance(results, dict) else "not the results of a set"
        raise LidError(what, where=path, redo="scoring")
    return results


def data_dir_of(results: Mapping[str, Any], inference_dir: Path) -> Path | None:
    """Return the directory of the set that was scored; None if it is not there any more."""
    if not (place := results.get("data_dir")):
        return None
    path = Path(os.path.normpath(inference_dir / place))
    return path if path.is_dir() else None


def gathered(
    inference_dir: Path, results: Mapping[str, Any], experiment: Experiment | None, data_dir: Path | None
) -> dict[str, Any]:
    """Return the attributes of a :class:`lid_toolkit.evaluation.html_report.Report`."""
    from lid_toolkit.evaluation.cautions import cautions
    from lid_toolkit.evaluation.map_page import read_points
    from lid_toolkit.evaluation.recordings import find_recordings

    mistakes = read_mistakes(inference_dir / ERRORS, LISTED_AT_MOST)
    return {
        "results": results,
        "mistakes": mistakes,
        "failed": read_optional_table(inference_dir / "failed"),
        "recordings": find_recordings(data_dir, [row[0] for row in mistakes], inference_dir),
        "cautions": cautions(results, data_dir, experiment),
        "points": read_points(inference_dir / MAP) if (inference_dir / MAP).exists() else (),
        "means": read_means(inference_dir),
        "experiment": experiment,
        "sets": data_sets(data_dir, experiment),
        "runs": recorded_runs(inference_dir, experiment),
    }


def read_mistakes(path: Path, at_most: int) -> list[list[str]]:
    """Read the first wrong answers of ``errors.tsv``: six cells each.

    Raises:
        LidError: the file is missing or not such a table.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            next(stream)
            rows = [line.rstrip("\n").split("\t") for line, _ in zip(stream, range(at_most), strict=False)]
    except (OSError, StopIteration, ValueError):
        raise LidError("missing or broken", where=path, redo="scoring") from None
    if any(len(row) != 6 for row in rows):
        raise LidError("a line has not six columns", where=path, redo="scoring")
    return rows


def read_means(inference_dir: Path) -> tuple[tuple[str, ...], npt.NDArray[np.float32]] | None:
    """Return labels and mean embeddings of the languages that have one; None if there are no embeddings."""
    path = inference_dir / "lang_embeddings.scp"
    if not path.exists():
        return None
    labels, means = read_vectors(path)
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    return tuple(labels[row] for row in there.tolist()), means[there]


def data_sets(data_dir: Path | None, experiment: Experiment | None) -> list[tuple[str, ...]]:
    """Return name, use, utterances, languages, hours and median seconds of the sets that were described."""
    uses = {"train_dir": "training", "valid_dir": "validation"}
    found = experiment.training_dirs if experiment else {}
    places = [(uses[name], path) for name, path in found.items()]
    rows: list[tuple[str, ...]] = []
    for use, path in [*places, *([("this report", data_dir)] if data_dir else [])]:
        try:
            report = json.loads((path / "report" / "report.json").read_text(encoding="utf-8"))
            median = report["quantiles_s"].get("median")
            rows.append(
                (
                    path.name,
                    use,
                    f"{report['utterances']:,}",
                    str(len(report["languages"])),
                    f"{report['hours']:,.2f}",
                    "-" if median is None else f"{median:.2f}",
                )
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # a set need not have a description
    return rows


def recorded_runs(inference_dir: Path, experiment: Experiment | None) -> list[tuple[str, Run, str]]:
    """Return title, command and times of the steps of a set that were recorded."""
    jobs, hours = job_hours(inference_dir / "logs", "infer.*.log")
    notes = {"identify": f"{plural(jobs, 'job')}, {hours:.2f} h of computing; " if jobs else ""}
    if experiment is not None and experiment.training_note:
        notes["train"] = f"{experiment.training_note.rstrip('.')}; "
    runs = {"train": experiment.training if experiment else None}
    runs |= {name: recorded_run(inference_dir, name) for name in STEPS if name != "train"}
    return [(STEPS[name], run, notes.get(name, "")) for name, run in runs.items() if run is not None]
