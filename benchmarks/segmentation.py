#!/usr/bin/env python3
"""Errors of segments by time, and delays of streams, on joined utterances; prints tables and writes JSON.

    benchmarks/segmentation.py --model exp/mini/lid_mini_ecapa_raw --speech FOLDER
    benchmarks/segmentation.py --whisper FOLDER --speech FOLDER   # Whisper's own answers, without training

The folder has recordings as LANG/VIDEO__NAME.flac, as VoxLingua107's dev set has. Utterances of different
languages are joined with pauses of 0.2 to 0.8 s. One half of the videos gives the recordings on which
settings are chosen, the other half those on which they are measured. The scores of windows are kept in
--scores, so that a second run takes little time.

The rule: the settings with the lowest cost on the first half replace the defaults if the 95 % interval of
the difference of their costs, by bootstrap over recordings, is below 0. The cost of segments is the time in a
wrong language; that of streams is the delay (see ``stream_figures``). The second half chooses nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from joined_speech import by_language, join
from segment_trials import (
    RATE,
    Scorer,
    Trial,
    interval,
    known_parts_wrong,
    labels_in,
    segment_figures,
    segment_sums,
    stream_figures,
    stream_sums,
    whisper_model,
)

from lid_toolkit import LanguageIdentifier
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole
from lid_toolkit.inference.segmentation import Segmenting
from lid_toolkit.inference.stream import Tracking
from lid_toolkit.inference.windows import Windowing

LEAST_RECORDINGS, SHORTEST_S = 15, 4.0
PENALTIES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
DURATIONS = (0.5, 1.0, 2.0, 3.0)
STREAM_PENALTIES, DEBOUNCES = (0.0, 0.5, 1.0, 2.0, 3.0), (0.0, 0.5, 1.0, 2.0)

Figures = Callable[..., dict[str, float]]
"""From chosen recordings, or none for all, to figures."""


def main(arguments: Sequence[str]) -> None:
    """Choose the settings on one half, and measure them on the other."""
    options = parsed(arguments)
    model = options.model or whisper_model(options.whisper, labels_in(options.speech), options.scores)
    scorer = Scorer(LanguageIdentifier.from_pretrained(model, "cpu", threads=1), options.scores)
    halves = [
        [
            Trial(joined, scorer)
            for joined in join(
                by_language(options.speech, LEAST_RECORDINGS, SHORTEST_S, half),
                *(options.recordings, options.utterances, RATE, 1),
            )
        ]
        for half in (0, 1)
    ]
    window = options.window
    hops = options.hop or [window / 4, window / 2]
    result: dict[str, Any] = {}
    windowings = [Windowing(window, hop) for hop in hops]

    def segments(half: int, settings: tuple[Windowing, Segmenting]) -> Figures:
        sums = segment_sums(halves[half], *settings)
        return lambda *chosen: segment_figures(sums, *chosen)

    def streams(half: int, settings: Tracking) -> Figures:
        rows = stream_sums(halves[half], settings)
        return lambda *chosen: stream_figures(rows, *chosen)

    pairs = [Segmenting(*pair) for pair in itertools.product(PENALTIES, DURATIONS)]
    triples = itertools.product(hops, STREAM_PENALTIES, DEBOUNCES)
    ways = {
        "segments": (
            *(segments, "wrong", (Windowing(window), Segmenting())),
            list(itertools.product(windowings, pairs)),
        ),
        "stream": (
            *(streams, "cost", Tracking(window)),
            [Tracking(window, *triple) for triple in triples],
        ),
    }
    for name in options.only or ways:
        measured, cost, usual, others = ways[name]
        best = chosen(name, partial(measured, 0), others, usual, cost, options.recordings)
        for title, settings in (("default", usual), ("best on the first half", best)):
            figures = measured(1, settings)
            result[f"{name}, {title}"] = {
                "settings": str(settings),
                **figures(),
                "intervals": interval(figures, options.recordings),
            }
            report(f"{name}, {title}", result[f"{name}, {title}"])
    if "segments" in (options.only or ways):
        result["segments, known parts"] = known_parts_wrong(halves[1], scorer)
        report("segments, known parts", result["segments, known parts"])
    scorer.save()
    with write_whole(options.json) as stream:
        json.dump(result, stream, indent=1)


def report(name: str, figures: dict[str, Any]) -> None:
    """Print figures with their intervals."""
    print(name, " ".join(f"{key} {shown(figures, key)}" for key in figures if key != "intervals"))


def shown(figures: dict[str, Any], key: str) -> str:
    """Return a figure with its interval."""
    value = figures[key]
    if isinstance(value, str):
        return value
    low, high = figures.get("intervals", {}).get(key, (value, value))
    return f"{value:.4g}" if low == high else f"{value:.4g} [{low:.4g}, {high:.4g}]"


def chosen(
    name: str, measured: Callable[..., Figures], others: Sequence[Any], usual: Any, cost: str, count: int
) -> Any:
    """Return the settings of the lowest cost, and print the five best and how they differ from the usual."""
    figures = [measured(settings) for settings in others]
    order = sorted(range(len(others)), key=lambda place: figures[place]()[cost])
    before = measured(usual)
    print(f"{name}, first half: {cost} {before()[cost]:.3f} with the defaults, {usual}")
    for place in order[:5]:
        print(f"{figures[place]()[cost]:8.3f} {others[place]}")
    best = figures[order[0]]
    low, high = interval(lambda own: {cost: best(own)[cost] - before(own)[cost]}, count)[cost]
    verdict = "replaces the defaults" if high < 0 else "the defaults stay"
    print(f"{name}: the first less the defaults: 95 % interval {low:.3f} to {high:.3f}; {verdict}")
    return others[order[0]]


def parsed(arguments: Sequence[str]):
    """Return the options."""
    parser = OptionParser(__doc__ or "")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="model to identify with")
    source.add_argument("--whisper", type=Path, help="folder of a Whisper model")
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings: LANG/NAME.flac")
    parser.add_argument("--recordings", type=positive_int, default=10, help="joined recordings of each half")
    parser.add_argument("--utterances", type=positive_int, default=6, help="utterances of each")
    parser.add_argument(
        "--only", nargs="*", choices=("segments", "stream"), help="what to measure; default: both"
    )
    parser.add_argument("--window", type=float, default=5.0, help="seconds of a window")
    parser.add_argument(
        "--hop",
        type=float,
        nargs="*",
        help="seconds from one window to the next; several to choose from; default: 1/4 and 1/2 window",
    )
    parser.add_argument(
        "--scores", type=Path, default=Path("exp/benchmarks/segmentation.npz"), help="scores of windows"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/segmentation.json"), help="output file"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
