"""Several experiments on one page: their results on the sets that they share, beside each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.answers import Answers, read_answers
from lid_toolkit.evaluation.clusters import Clusters, read_clusters
from lid_toolkit.evaluation.compare import compare, verdict
from lid_toolkit.evaluation.curve_pictures import (
    coverage_picture,
    crops_picture,
    detection_picture,
    durations_picture,
)
from lid_toolkit.evaluation.experiment import experiment_of
from lid_toolkit.evaluation.html_report import made_by
from lid_toolkit.evaluation.pages import render
from lid_toolkit.evaluation.report import data_dir_of, read_results, recorded_runs, scored_dirs
from lid_toolkit.evaluation.results_json import stored_values
from lid_toolkit.evaluation.style import display_name
from lid_toolkit.evaluation.svg import Picture, inline_svg
from lid_toolkit.evaluation.wording import interval, plural
from lid_toolkit.steps import recorded


@dataclass(frozen=True)
class Scored:
    """A scored set of a system: its directory, ``.../MODEL/SET``, and its ``results.json``."""

    directory: Path
    results: Mapping[str, Any]

    @property
    def truth(self) -> str | None:
        """The digest of the true languages; None if that was not recorded."""
        return recorded(self.directory, "score").get("utt2lang")

    @property
    def counting(self) -> Mapping[str, Any]:
        """The options with which it was scored, as far as they are recorded."""
        try:
            text = (self.directory / ".done" / "score.json").read_text(encoding="utf-8")
            options = dict(json.loads(text)["options"])
        except (OSError, ValueError, LookupError, TypeError):
            return {}
        return {name: value for name, value in options.items() if name not in UNIMPORTANT}


UNIMPORTANT = ("metrics", "espnet_format", "leave_out", "crop_seconds", "calibration")
"""Options of scoring that make no difference to the answers that are compared."""

Sets = Mapping[str, Scored]


def scored_sets(experiment: Path) -> dict[str, Sets]:
    """Return the scored sets of an experiment: name of the model's file -> name of the set -> results.

    Raises:
        LidError: see :func:`lid_toolkit.evaluation.report.scored_dirs`; or results are damaged.
    """
    found: dict[str, dict[str, Scored]] = {}
    for directory in scored_dirs(experiment):
        found.setdefault(directory.parent.name, {})[directory.name] = Scored(
            directory, read_results(directory)
        )
    return {**found}


def systems_of(experiments: Sequence[Path]) -> dict[str, Sets]:
    """Return the scored sets of each model of some experiments, by a name that tells them apart.

    Raises:
        LidError: see :func:`scored_sets`; an experiment is given twice; or they share no set.
    """
    paths = [path.resolve() for path in experiments]
    if twice := [path for path, real in zip(experiments, paths, strict=True) if paths.count(real) > 1]:
        raise LidError("given twice", where=twice[0])
    names = short_paths(experiments)
    systems: dict[str, Sets] = {}
    for name, path in zip(names, experiments, strict=True):
        models = scored_sets(path)
        systems |= {name if len(models) == 1 else f"{name} {model}": sets for model, sets in models.items()}
    if not shared_sets(systems):
        raise LidError(
            "the experiments have no scored set in common",
            where=" and ".join(map(str, experiments)),
            mend="score the same set with each",
        )
    return systems


def short_paths(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of paths, as many as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = [str(Path(*part[-count:])) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def shared_sets(systems: Mapping[str, Sets]) -> list[str]:
    """Return the names of the sets that at least two systems have scored."""
    names = sorted({name for sets in systems.values() for name in sets})
    return [name for name in names if sum(name in sets for sets in systems.values()) > 1]


def side_by_side(experiments: Sequence[Path]) -> str:
    """Return the page of at least two experiments.

    Raises:
        LidError: see :func:`systems_of`; or the answers to a set cannot be read.
    """
    systems = systems_of(experiments)
    sections = [
        _section(name, {system: sets[name] for system, sets in systems.items() if name in sets})
        for name in shared_sets(systems)
    ]
    return render(
        "side_by_side.html.j2",
        title=f"{len(systems)} systems side by side",
        sections=sections,
        experiments=[_described(name, sets) for name, sets in systems.items()],
        made_by=made_by(),
    )


def _section(name: str, scored: Mapping[str, Scored]) -> dict[str, object]:
    """Return what the page shows of one set."""
    results = {system: one.results for system, one in scored.items()}
    differences, notes = _differences(scored)
    return {
        "name": name,
        "notes": notes,
        **_headlines(results),
        "differences": differences,
        "charts": [(title, inline_svg(picture)) for title, picture in _charts(results)],
        **_recalls(results),
    }


def _headlines(results: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Return a table with a row for each metric that any of the systems has, and a column for each system."""
    values = {
        system: {metric.key: value for metric, value in stored_values(reported_metrics.METRICS, one)}
        for system, one in results.items()
    }
    metrics = sorted(reported_metrics.METRICS, key=lambda metric: metric.detail)
    rows = [
        (metric.title, *(metric.text(found.get(metric.key)) for found in values.values()))
        for metric in metrics
        if any(metric.key in found for found in values.values())
    ]
    counts = ("utterances", *(str(one["utterances"]) for one in results.values()))
    return {
        "columns": ["", *results],
        "rows": [counts, *rows],
        "classes": ["left", *["right"] * len(results)],
    }


def _differences(scored: Mapping[str, Scored]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the rows of the table of paired differences, and reasons why there are not all of them."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for first, second in itertools.combinations(scored, 2):
        if reason := _unpaired(scored[first], scored[second]):
            notes.append(f"{first} and {second} are not compared: {reason}.")
            continue
        answers, other = _answers(scored[first]), _answers(scored[second])
        found = compare(answers, other, _clusters(scored[first], answers))
        rows.append(
            (
                first,
                second,
                f"{100 * found.gain.value:+.2f}",
                interval(found.gain),
                str(found.only_a),
                str(found.only_b),
                f"{found.p_value:.3g}",
                verdict(found.gain).replace("A is", f"{first} is").replace("B is", f"{second} is"),
            )
        )
    return rows, notes


def _unpaired(first: Scored, second: Scored) -> str:
    """Return why two systems cannot be compared utterance by utterance, or ""."""
    if first.truth is None or first.truth != second.truth:
        return "their sets have other utterances or other true languages"
    if first.counting != second.counting:
        return "they were scored with other options"
    for scored in (first, second):
        if scored.counting.get("policy") is not None or "unknown_languages" in scored.counting:
            return "the comparison is of all answers, without a policy or languages that are left out"
        if data_dir_of(scored.results, scored.directory) is None:
            return f"the set is not where it was when it was scored ({scored.results.get('data_dir', '?')})"
    return ""


def _answers(scored: Scored) -> Answers:
    data_dir = data_dir_of(scored.results, scored.directory)
    assert data_dir is not None
    return read_answers(data_dir, scored.directory, merge=bool(scored.results.get("merged_macrolanguages")))


def _clusters(scored: Scored, answers: Answers) -> Clusters | None:
    data_dir = data_dir_of(scored.results, scored.directory)
    assert data_dir is not None
    return read_clusters(data_dir, answers.truth, scored.counting.get("cluster_from"))


def _charts(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Picture]]:
    """Return titles and pictures, each with the systems that have the numbers."""

    def having(key: str) -> dict[str, Any]:
        return {system: one[key] for system, one in results.items() if one.get(key)}

    kinds = (
        ("Accuracy by duration", "duration_buckets", durations_picture),
        ("Accuracy against seconds", "duration_curve", crops_picture),
        ("Accuracy against coverage", "accuracy_by_coverage", coverage_picture),
        ("Detection errors", "detection_errors", detection_picture),
    )
    return [(title, draw(found)) for title, key, draw in kinds if (found := having(key))]


def _recalls(results: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Return a table with a row for each language and a column for each system."""
    labels = sorted({label for one in results.values() for label in one["per_language"]}, key=display_name)
    rows = []
    for label in labels:
        found = [one["per_language"].get(label) for one in results.values()]
        count = max(row["utterances"] for row in found if row)
        cells = ("-" if row is None else f"{100 * row['recall']['value']:.2f}" for row in found)
        rows.append((display_name(label), str(count), *cells))
    return {
        "language_columns": ["language", "utterances", *results],
        "language_rows": rows,
        "language_classes": ["name", *["right"] * (len(results) + 1)],
    }


def _described(name: str, sets: Sets) -> dict[str, object]:
    first = next(iter(sets.values()))
    experiment = experiment_of(first.directory)
    training = experiment.training_note if experiment else ""
    runs = {
        run.command: run for one in sets.values() for _, run, _ in recorded_runs(one.directory, experiment)
    }
    note = f"{first.directory.parent.name}; {plural(len(sets), 'scored set')}. {training}"
    return {"name": name, "note": note, "runs": list(runs.values())}
