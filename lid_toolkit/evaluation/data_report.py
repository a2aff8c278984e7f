"""Describe a data set: its utterances, hours and languages, as text, JSON and a bar chart."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lid_toolkit import languages
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation.style import FORMS, INK, MUTED, RIGHT, new_figure, plain_axes, saved, short_name
from lid_toolkit.evaluation.wording import columns_text, plural
from lid_toolkit.files import write_whole

QUANTILES = {"min": 0.0, "1 %": 0.01, "5 %": 0.05, "25 %": 0.25, "median": 0.5}
QUANTILES |= {"75 %": 0.75, "95 %": 0.95, "99 %": 0.99, "max": 1.0}
INCH_PER_BAR = 0.19


@dataclass(frozen=True)
class LanguageShare:
    """One language of a set.

    Attributes:
        label: its label.
        name: its English name.
        utterances: number of its utterances.
        hours: total duration of its readable utterances.
        median_s: median duration in seconds; None if no utterance is readable.
    """

    label: str
    name: str
    utterances: int
    hours: float
    median_s: float | None


@dataclass(frozen=True)
class DataReport:
    """Description of a data set.

    Attributes:
        name: name of the set.
        utterances: number of utterances.
        hours: total duration of the readable utterances.
        unreadable: number of utterances without a duration, because their recording cannot be read.
        quantiles_s: quantiles of the durations in seconds, by name; empty if no duration is known.
        languages: the languages, by decreasing number of hours.
    """

    name: str
    utterances: int
    hours: float
    unreadable: int
    quantiles_s: dict[str, float]
    languages: tuple[LanguageShare, ...]


def describe(name: str, utt2lang: Table, seconds: npt.NDArray[np.float64]) -> DataReport:
    """Describe a data set.

    Args:
        name: name of the set.
        utt2lang: utterance -> language.
        seconds: (utterances,) durations; NaN if unknown.
    """
    labels, codes = utt2lang.codes()
    known = np.isfinite(seconds)
    hours = np.bincount(codes[known], weights=seconds[known], minlength=len(labels)) / 3600
    counts = np.bincount(codes, minlength=len(labels))
    order = np.argsort(codes, kind="stable")
    groups = np.split(seconds[order], np.cumsum(counts)[:-1])
    shares = (
        LanguageShare(label, languages.name(label), int(count), float(total), _median(group))
        for label, count, total, group in zip(labels, counts, hours, groups, strict=True)
    )
    quantiles = np.quantile(seconds[known], list(QUANTILES.values())).tolist() if known.any() else []
    return DataReport(
        name,
        len(utt2lang),
        float(hours.sum()),
        int(np.count_nonzero(~known)),
        dict(zip(QUANTILES, quantiles, strict=False)),
        tuple(sorted(shares, key=lambda share: (-share.hours, share.label))),
    )


def write_report(report: DataReport, out: Path) -> list[Path]:
    """Write ``report.txt``, ``report.json`` and ``hours`` in ``FORMS``, log a summary, return the files."""
    with write_whole(out / "report.txt") as stream:
        stream.write(text_of(report))
    with write_whole(out / "report.json") as stream:
        stream.write(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    figure = hours_figure(report)
    for form in FORMS:
        with write_whole(out / f"hours.{form}", "wb") as stream:
            stream.write(saved(figure, form))
    logging.info("%s (see %s)", headline(report), out)
    return [out / name for name in ("report.txt", "report.json", *(f"hours.{form}" for form in FORMS))]


def headline(report: DataReport) -> str:
    """Return a summary in one line."""
    parts = [plural(report.utterances, "utterance"), f"{report.hours:.2f} h"]
    parts.append(plural(len(report.languages), "language"))
    if report.unreadable:
        parts.append(f"{report.unreadable} unreadable")
    return f"{report.name}: {', '.join(parts)}"


def text_of(report: DataReport) -> str:
    """Return the report as text: a summary, the quantiles of the durations and a table of the languages."""
    rows = [
        (
            share.label,
            share.name,
            str(share.utterances),
            f"{share.hours:.2f}",
            f"{100 * share.hours / report.hours:.2f}" if report.hours else "-",
            "-" if share.median_s is None else f"{share.median_s:.2f}",
        )
        for share in report.languages
    ]
    head = ("label", "language", "utterances", "hours", "share %", "median s")
    quantiles = [f"{value:.2f}" for value in report.quantiles_s.values()]
    parts = [headline(report), columns_text(head, rows, "<<>>>>")]
    if quantiles:
        names = ("seconds", *report.quantiles_s)
        parts.insert(1, columns_text(names, [("", *quantiles)], "<" + ">" * len(quantiles)))
    return "\n\n".join(parts) + "\n"


def hours_figure(report: DataReport) -> Figure:
    """Draw a bar chart of the hours of each language, with the most hours at the top."""
    names = [short_name(share.label) for share in report.languages]
    hours = [share.hours for share in report.languages]
    figure = new_figure(7, 1.2 + INCH_PER_BAR * len(names))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    plain_axes(axes, grid="x")
    axes.barh(range(len(names)), hours, color=RIGHT, height=0.7)
    axes.set_yticks(range(len(names)), names, fontsize=8, color=INK, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.15 * max(hours) or 1)
    for row, share in enumerate(report.languages):
        axes.text(share.hours, row, f" {share.hours:.3g}", va="center_baseline", fontsize=7, color=MUTED)
    axes.set_xlabel("hours")
    axes.set_title(headline(report), fontsize=10, color=INK, loc="left", parse_math=False)
    return figure


def _median(seconds: npt.NDArray[np.float64]) -> float | None:
    known = seconds[np.isfinite(seconds)]
    return float(np.median(known)) if len(known) else None
