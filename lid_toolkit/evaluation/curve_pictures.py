"""Curves of scored sets and of trainings, for one system or several.

All functions take what ``results.json`` and ``metrics.jsonl`` hold. A series is what one system adds to a
picture; the names of the systems are in the legend if there are several.

Shapes: l languages, e epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.stats import norm

from lid_toolkit.evaluation.style import (
    HEAT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    display_name,
    new_figure,
    plain_axes,
    short_name,
    shortened,
)
from lid_toolkit.evaluation.svg import Picture, Spot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.0, 3.3
LEGEND_LINE = 0.2
SHOWN_POINTS = 60
"""Number of points of a curve that show their values."""
DET_LIMITS = (0.0005, 0.6)
DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4)
SECONDS_TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30, 60)

CURVES = {
    "loss": ("train_loss", "valid_loss"),
    "accuracy": ("train_accuracy", "valid_accuracy", "valid_macro_accuracy"),
    "lr": ("lr",),
}
"""The pictures of a training, and the measures in each."""

Curve = Sequence[Sequence[float]]
History = Sequence[Mapping[str, Any]]


def coverage_picture(series: Mapping[str, Curve]) -> Picture:
    """Draw accuracy of the answers by the proportion answered, from points (coverage, accuracy)."""
    curves = {name: 100 * np.asarray(points, float) for name, points in series.items() if len(points)}
    figure, axes = _axes("coverage, %", "accuracy of the answers, %", series)
    spots = _lines(axes, curves, "coverage {:.1f} %\naccuracy of the answers {:.2f} %")
    lowest = min((points[:, 1].min() for points in curves.values()), default=0.0)
    axes.set_xlim(0, 101)
    _percent_axis(axes, max(0.0, min(lowest - 1, 95)))
    return Picture(figure, "Accuracy against coverage", spots)


def reliability_picture(series: Mapping[str, Sequence[Mapping[str, float]]]) -> Picture:
    """Draw the accuracy of answers by their posterior, in bins of ``results.json``, beside the diagonal."""
    figure, axes = _axes("mean posterior, %", "accuracy, %", series)
    axes.plot((0, 100), (0, 100), color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    spots = []
    for number, (name, bins) in enumerate(series.items()):
        posteriors, accuracies, answers = (
            np.array([part[key] for part in bins]) for key in ("posterior", "accuracy", "answers")
        )
        size = 12 + 150 * answers / max(answers.sum(), 1)
        colour = PALETTE[number % len(PALETTE)]
        axes.plot(100 * posteriors, 100 * accuracies, color=colour, linewidth=1.2)
        axes.scatter(
            100 * posteriors, 100 * accuracies, s=size, color=colour, linewidths=0, label=_label(name)
        )
        spots += [
            _spot(
                axes,
                100 * x,
                100 * y,
                _named(
                    series, name, f"{int(n)} answers\nposterior {100 * x:.1f} %\naccuracy {100 * y:.1f} %"
                ),
            )
            for x, y, n in zip(posteriors, accuracies, answers, strict=True)
        ]
    axes.set_xlim(-2, 103)
    _percent_axis(axes, 0)
    _legend(axes, series)
    return Picture(figure, "Reliability: accuracy against posterior", spots)


def detection_picture(series: Mapping[str, Curve]) -> Picture:
    """Draw misses by false acceptances, from points (false acceptances, misses), as a DET curve.

    Both axes have the scale of the normal deviate (Martin et al. 1997, The DET curve).
    """
    figure, axes = _axes("false acceptances, %", "misses, %", series)
    curves = {name: np.clip(np.asarray(points, float), *DET_LIMITS) for name, points in series.items()}
    deviates = {name: norm.ppf(points) for name, points in curves.items()}
    spots = _lines(
        axes,
        deviates,
        "false acceptances {:.3g} %\nmisses {:.3g} %",
        {name: 100 * np.asarray(points, float) for name, points in series.items()},
    )
    limits, ticks = norm.ppf(DET_LIMITS), norm.ppf(DET_TICKS)
    names = [f"{100 * tick:g}" for tick in DET_TICKS]
    axes.set(xlim=limits, ylim=limits)
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    return Picture(figure, "Detection errors (DET)", spots)


def durations_picture(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture:
    """Draw the accuracy for each range of durations with its interval, from the buckets of each system."""
    figure, axes = _axes("seconds", "accuracy, %", series)
    ranges = sorted(
        {(part["from_s"], part["to_s"] or np.inf) for parts in series.values() for part in _filled(parts)}
    )
    spots, counts = [], dict.fromkeys(ranges, 0)
    step = 0.7 / max(len(series), 1)
    for number, (name, parts) in enumerate(series.items()):
        shift = (number - (len(series) - 1) / 2) * step
        for part in _filled(parts):
            span = (part["from_s"], part["to_s"] or np.inf)
            place, share = ranges.index(span) + shift, part["accuracy"]
            counts[span] = max(counts[span], part["utterances"])
            _interval(axes, place, share, number)
            text = f"{_span(span)} s: {part['correct']} of {part['utterances']}\n{_percent(share)}"
            spots.append(Spot(axes, (place,) * 2, _ends(share), _named(series, name, text)))
        axes.plot([], [], color=PALETTE[number % len(PALETTE)], marker=_marker(number), label=_label(name))
    axes.set_xlim(-0.6, len(ranges) - 0.4)
    _percent_axis(axes, 0)
    axes.set_xticks(range(len(ranges)), [f"{_span(span)}\nn = {counts[span]}" for span in ranges])
    axes.grid(axis="x", visible=False)
    _legend(axes, series)
    return Picture(figure, "Accuracy by duration", spots)


def crops_picture(series: Mapping[str, Mapping[str, Any]]) -> Picture:
    """Draw the accuracy of crops of each duration with its interval, and that of whole utterances dotted.

    Args:
        series: system -> ``duration_curve`` of ``results.json``.
    """
    figure, axes = _axes("seconds of each utterance", "accuracy, %", series)
    spots = []
    for number, (name, curve) in enumerate(series.items()):
        crops = _filled(curve["points"])
        seconds = [crop["seconds"] for crop in crops]
        values = [100 * crop["accuracy"]["value"] for crop in crops]
        colour = PALETTE[number % len(PALETTE)]
        if curve["whole"]["utterances"]:
            axes.axhline(100 * curve["whole"]["accuracy"]["value"], color=colour, linewidth=1, linestyle=":")
        axes.plot(seconds, values, color=colour, marker=_marker(number), markersize=5, label=_label(name))
        for crop in crops:
            share = crop["accuracy"]
            axes.plot((crop["seconds"],) * 2, _ends(share), color=colour, linewidth=1.2)
            text = f"{crop['seconds']:g} s of {crop['utterances']} utterances\n{_percent(share)}"
            spots.append(Spot(axes, (crop["seconds"],) * 2, _ends(share), _named(series, name, text)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(SECONDS_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _percent_axis(axes, 0)
    _legend(axes, series)
    return Picture(figure, "Accuracy against seconds", spots)


def learning_picture(history: History, title: str) -> Picture:
    """Draw one of ``CURVES``: measures of each epoch, accuracies in percent."""
    measures = CURVES[title]
    series = {name: name.replace("_", " ") for name in measures}
    rates = [name for name in measures if "accuracy" in name]
    factor = 100 if rates else 1
    figure, axes = _axes("epoch", f"{title}, %" if rates else title, series)
    epochs = [epoch["epoch"] for epoch in history]
    spots = []
    for number, (name, words) in enumerate(series.items()):
        values = [factor * epoch.get(name, np.nan) for epoch in history]
        axes.plot(
            epochs,
            values,
            color=PALETTE[number],
            linewidth=1.6,
            linestyle="-" if number < 2 else (0, (4, 2)),
            marker=_marker(number) if len(epochs) <= SHOWN_POINTS // 2 else None,
            markersize=4,
            label=words,
        )
        spots += [
            _spot(axes, epoch, value, f"epoch {epoch}\n{words} {value:.4g}{' %' if rates else ''}")
            for epoch, value in _some(list(zip(epochs, values, strict=True)))
            if np.isfinite(value)
        ]
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if rates:
        values = [100 * epoch.get(name, np.nan) for name in measures for epoch in history]
        lowest = min(filter(np.isfinite, values), default=0.0)
        _percent_axis(axes, max(0.0, min(10 * (lowest // 10), 90)))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
    if title == "lr":
        axes.set_ylabel("learning rate")
    _legend(axes, series)
    return Picture(figure, f"{title} of each epoch", spots)


def epochs_picture(history: History) -> Picture:
    """Draw the validation accuracy of each language in each epoch, the hardest of the last on top."""
    last = history[-1]["valid_per_language"]
    labels = sorted(last, key=lambda label: (last[label], display_name(label)))
    values_le = 100 * np.array(
        [[epoch["valid_per_language"][label] for epoch in history] for label in labels]
    )
    names = [short_name(label) for label in labels]
    letters = 8.5 if len(labels) <= 40 else 7
    left = 0.25 + 0.55 * letters / 72 * max(map(len, names))
    row = max(0.14, letters / 60)
    width, height = left + 3.6, row * len(labels) + 0.95
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, 0.5 / height, 2.8 / width, row * len(labels) / height))
    first, end = history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5
    edges = (first, end, len(labels) - 0.5, -0.5)
    image = axes.imshow(
        values_le, aspect="auto", extent=edges, vmin=0, vmax=100, cmap=HEAT, interpolation="none"
    )
    plain_axes(axes, grid="")
    bar = figure.add_axes(((left + 2.9) / width, 0.5 / height, 0.12 / width, row * len(labels) / height))
    figure.colorbar(image, cax=bar, label="accuracy, %")
    plain_axes(bar, grid="")
    axes.set_yticks(range(len(labels)), names, fontsize=letters, parse_math=False)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _title(figure, "Validation accuracy of each language")
    return Picture(figure, "Validation accuracy of each language in each epoch")


def _axes(across: str, up: str, series: Mapping[str, object]) -> tuple[Figure, Axes]:
    """Return a figure with axes, and with room for a legend above them if there are several series."""
    legend = LEGEND_LINE * len(series) if len(series) > 1 else 0
    height = HEIGHT + legend
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((0.66 / WIDTH, 0.58 / height, (WIDTH - 0.85) / WIDTH, (HEIGHT - 0.75) / height))
    axes.set(xlabel=across, ylabel=up)
    plain_axes(axes)
    return figure, axes


def _percent_axis(axes: Axes, lowest: float) -> None:
    """Let the vertical axis go from some percentage to 100, with room for markers at its ends."""
    room = 0.04 * (100 - lowest)
    axes.set_ylim(max(lowest - room, -2), 100 + room)
    ticks = [
        tick
        for tick in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(lowest, 100)
        if lowest <= tick <= 100
    ]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])


def _legend(axes: Axes, series: Mapping[str, object]) -> None:
    if len(series) > 1:
        legend = axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            borderaxespad=0.2,
            labelspacing=0.3,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _title(figure: Figure, text: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        0.12 / width, 1 - 0.12 / height, shortened(text), va="top", fontsize=10, color=INK, parse_math=False
    )


def _lines(
    axes: Axes,
    curves: Mapping[str, npt.NDArray[np.float64]],
    text: str,
    values: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> list[Spot]:
    """Draw curves of (points, 2); ``text`` is shown at some points with their ``values``."""
    spots = []
    for number, (name, points) in enumerate(curves.items()):
        style = "-" if number < len(PALETTE) else (0, (4, 2))
        alone = "o" if len(points) == 1 else None  # a line of one point is not seen
        axes.plot(
            *points.T,
            color=PALETTE[number % len(PALETTE)],
            linewidth=1.8,
            linestyle=style,
            marker=alone,
            label=_label(name),
        )
        shown = (values or curves)[name]
        chosen = _some(list(range(len(points))))
        spots += [
            _spot(axes, points[row, 0], points[row, 1], _named(curves, name, text.format(*shown[row])))
            for row in chosen
        ]
    _legend(axes, curves)
    return spots


def _some(values: list[Any]) -> list[Any]:
    """Return at most ``SHOWN_POINTS`` of the values, evenly spread, with the first and the last."""
    if len(values) <= SHOWN_POINTS:
        return values
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, SHOWN_POINTS)]


def _interval(axes: Axes, place: float, share: Mapping[str, float], number: int) -> None:
    colour = PALETTE[number % len(PALETTE)]
    axes.plot((place, place), _ends(share), color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(place, 100 * share["value"], color=colour, marker=_marker(number), markersize=6)


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def _ends(share: Mapping[str, float]) -> tuple[float, float]:
    return 100 * share["low"], 100 * share["high"]


def _spot(axes: Axes, x: float, y: float, text: str) -> Spot:
    return Spot(axes, (float(x), float(x)), (float(y), float(y)), text)


def _named(series: Mapping[str, object], name: str, text: str) -> str:
    """Return a text, after the name of the series if there are several."""
    return f"{name}\n{text}" if len(series) > 1 else text


def _label(name: str) -> str:
    """Return the label of a series in the legend; a leading ``_`` would hide it."""
    return " " * name.startswith("_") + shortened(name)


def _filled(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [part for part in parts if part["utterances"]]


def _span(span: tuple[float, float]) -> str:
    first, end = span
    if end == np.inf:
        return f"≥ {first:g}"
    return f"{first:g}-{end:g}" if first else f"< {end:g}"


def _percent(share: Mapping[str, float]) -> str:
    return f"{100 * share['value']:.2f} % [{100 * share['low']:.2f}, {100 * share['high']:.2f}]"
