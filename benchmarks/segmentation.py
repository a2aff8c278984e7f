#!/usr/bin/env python3
"""Errors of segments by time, and delays of streams, on joined utterances; prints tables and writes JSON.

    benchmarks/segmentation.py --model exp/mini/lid_mini_ecapa_raw --speech FOLDER
    benchmarks/segmentation.py --whisper FOLDER --speech FOLDER   # Whisper's own answers, without training

The folder has recordings as LANG/VIDEO__NAME.flac, as VoxLingua107's dev set has. Utterances of different
languages are joined with pauses of 0.2 to 0.8 s. One half of the videos gives the recordings on which the
penalty, the shortest duration and the debounce are chosen, the other half those on which they are measured.
The scores of windows are kept in --scores, so that a second run takes little time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from joined_speech import Joined, by_language, join
from numpy.typing import NDArray

from lid_toolkit import DecisionPolicy, LanguageIdentifier
from lid_toolkit.audio.speech_activity import Detector, detector, speech_frames
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole
from lid_toolkit.inference.decision import Decider, decider
from lid_toolkit.inference.listening import Summary
from lid_toolkit.inference.segmentation import Segmenting, find_segments
from lid_toolkit.inference.stream import LanguageStream, Tracking
from lid_toolkit.inference.windows import Windowing

RATE = 16000
FRAME_S = 0.01
COLLAR_S = 0.5
LEAST_RECORDINGS, SHORTEST_S = 15, 4.0
PENALTIES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
DURATIONS = (0.5, 1.0, 2.0, 3.0)
DEBOUNCES = (0.0, 1.0, 2.0, 3.0)
FALSE_CHANGE_S = 2.0
"""What a false change of a stream costs when settings are chosen, in seconds of delay."""


def main(arguments: Sequence[str]) -> None:
    """Choose the settings on one half, and measure them on the other."""
    options = parsed(arguments)
    model = options.model or whisper_model(options.whisper, labels_in(options.speech), options.scores)
    scorer = Scorer(LanguageIdentifier.from_pretrained(model, "cpu", threads=1), options.scores)
    windowing = Windowing(options.window, options.hop)
    halves = [
        [
            Trial(joined, scorer, windowing)
            for joined in join(
                by_language(options.speech, LEAST_RECORDINGS, SHORTEST_S, half),
                *(options.recordings, options.utterances, RATE, 1),
            )
        ]
        for half in (0, 1)
    ]
    result = {"floor": floor(halves[1], scorer)}
    segmenting = chosen(
        [Segmenting(*pair) for pair in itertools.product(PENALTIES, DURATIONS)],
        lambda settings: segment_errors(halves[0], settings)["wrong"],
    )
    tracking = chosen(
        [Tracking(options.window, options.hop, *pair) for pair in itertools.product(PENALTIES, DEBOUNCES)],
        lambda settings: stream_cost(stream_figures(halves[0], settings)),
    )
    for name, settings in (("chosen", segmenting), ("default", Segmenting())):
        result[f"segments, {name}"] = {**vars(settings), **segment_errors(halves[1], settings)}
    usual = Tracking(options.window, options.hop)
    for name, settings in (("chosen", tracking), ("default", usual)):
        result[f"stream, {name}"] = {**vars(settings), **stream_figures(halves[1], settings)}
    for name, figures in result.items():
        print(name, " ".join(f"{key} {value:.4g}" for key, value in figures.items() if value is not None))
    scorer.save()
    with write_whole(options.json) as stream:
        json.dump(result, stream, indent=1)


def parsed(arguments: Sequence[str]):
    """Return the options."""
    parser = OptionParser(__doc__ or "")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="model to identify with")
    source.add_argument("--whisper", type=Path, help="folder of a Whisper model")
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings: LANG/NAME.flac")
    parser.add_argument("--recordings", type=positive_int, default=10, help="joined recordings of each half")
    parser.add_argument("--utterances", type=positive_int, default=6, help="utterances of each")
    parser.add_argument("--window", type=float, default=5.0, help="seconds of a window")
    parser.add_argument("--hop", type=float, default=2.5, help="seconds from one window to the next")
    parser.add_argument(
        "--scores", type=Path, default=Path("exp/benchmarks/segmentation.npz"), help="scores of windows"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/segmentation.json"), help="output file"
    )
    return parser.parse_args(arguments)


class Scorer:
    """A model, and the scores of all that it heard."""

    def __init__(self, lid: LanguageIdentifier, file: Path) -> None:
        self.languages, self._lid, self._file = lid.languages, lid, file
        self._known = dict(np.load(file)) if file.exists() else {}

    def __call__(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        key = hashlib.blake2b(wave.tobytes(), digest_size=16).hexdigest()
        if key not in self._known:
            self._known[key] = self._lid.load().compute([wave], 1)[0][0]
        return self._known[key]

    def save(self) -> None:
        with write_whole(self._file, "wb") as stream:
            np.savez(stream, **self._known)


class Replay:
    """Gives the known probabilities of speech of a recording."""

    def __init__(self, speech_t: NDArray[np.float32]) -> None:
        self._speech_t = speech_t

    def score(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        found, self._speech_t = np.split(self._speech_t, [len(frames_tn)])
        return found

    def finish(self) -> NDArray[np.float32]:
        return self._speech_t[:0]


@dataclass
class Trial:
    """A joined recording, and what does not depend on the settings."""

    joined: Joined
    scorer: Scorer
    windowing: Windowing

    @property
    def decides(self) -> Decider:
        return decider(DecisionPolicy(), self.scorer.languages)

    @cached_property
    def summary(self) -> Summary:
        wave = self.joined.wave
        return Summary(len(wave) / RATE, "silero", speech_frames(wave, RATE, detector("silero")))

    @property
    def detector(self) -> Detector:
        """Gives the known frames of speech again."""
        return Detector("silero", lambda: Replay(self.summary.speech_t))

    @cached_property
    def windows(self) -> tuple[list[tuple[float, float]], NDArray[np.float32]]:
        """Times of the windows in seconds, and scores (N, C)."""
        starts, size = self.windowing.starts(len(self.joined.wave), RATE)
        clips = [self.joined.wave[start : start + size] for start in starts]
        spans = [(start / RATE, (start + size) / RATE) for start in starts]
        return spans, np.stack([self.scorer(clip) for clip in clips])

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """The language of each 10 ms; -1 in pauses."""
        return self.frames(self.joined.parts)

    def frames(self, parts) -> NDArray[np.int64]:
        """Return the languages of parts for each 10 ms; -1 where there is none."""
        languages = np.full(round(self.summary.duration / FRAME_S), -1)
        for start, end, label in parts:
            languages[round(start / FRAME_S) : round(end / FRAME_S)] = self.scorer.languages.index(label)
        return languages

    @cached_property
    def is_near_change(self) -> NDArray[np.bool_]:
        near = np.zeros(len(self.truth), dtype=bool)
        for (_, end, _), (start, _, _) in itertools.pairwise(self.joined.parts):
            near[round((end - COLLAR_S) / FRAME_S) : round((start + COLLAR_S) / FRAME_S)] = True
        return near


def segment_errors(trials: Sequence[Trial], settings: Segmenting) -> dict[str, float]:
    """Return percentages of the time of all utterances: in a wrong language, in no segment."""
    sums = dict.fromkeys(("time", "wrong", "missed", "far", "wrong_far"), 0)
    segments = changes = 0
    for trial in trials:
        found = find_segments(*trial.windows, trial.summary, trial.decides, settings)
        answer = trial.frames([(part.start, part.end, part.language) for part in found])
        spoken, wrong = trial.truth >= 0, (answer >= 0) & (answer != trial.truth)
        far = spoken & ~trial.is_near_change
        sums["time"] += spoken.sum()
        sums["wrong"] += (spoken & wrong).sum()
        sums["missed"] += (spoken & (answer < 0)).sum()
        sums["far"] += far.sum()
        sums["wrong_far"] += (far & wrong).sum()
        segments += len(found)
        changes += sum(one.language != other.language for one, other in itertools.pairwise(found))
    return {
        "minutes": sums["time"] * FRAME_S / 60,
        "wrong": 100 * sums["wrong"] / sums["time"],
        "wrong_without_collar": 100 * sums["wrong_far"] / sums["far"],
        "missed": 100 * sums["missed"] / sums["time"],
        "changes": changes,
        "true_changes": sum(len(trial.joined.parts) - 1 for trial in trials),
    }


def floor(trials: Sequence[Trial], scorer: Scorer) -> dict[str, float]:
    """Return the percentage of time in a wrong language if the begin and end of utterances are known."""
    time = wrong = 0.0
    for trial in trials:
        for start, end, label in trial.joined.parts:
            scores = scorer(trial.joined.wave[round(start * RATE) : round(end * RATE)])
            time += end - start
            wrong += (end - start) * (scorer.languages[int(scores.argmax())] != label)
    return {"wrong": 100 * wrong / time}


def stream_figures(trials: Sequence[Trial], settings: Tracking) -> dict[str, float | None]:
    """Return how many utterances a stream gets right while they last, how late, and false changes."""
    delays: list[float] = []
    utterances = false = 0
    for trial in trials:
        stream = LanguageStream(trial.scorer, RATE, RATE, trial.decides, trial.detector, settings)
        updates = list(stream.follow([trial.joined.wave]))
        starts = [start for start, _, _ in trial.joined.parts] + [np.inf]
        for number, (start, _, label) in enumerate(trial.joined.parts):
            utterances += 1
            within = [update for update in updates if start <= update.time < starts[number + 1]]
            right = [update.time - start for update in within if update.language == label]
            delays += right[:1]
            false += sum(update.changed and update.language != label for update in within)
    late = np.percentile(delays, [50, 90]) if delays else (None, None)
    return {
        "utterances": utterances,
        "detected": 100 * len(delays) / utterances,
        "delay_median": late[0],
        "delay_90": late[1],
        "false_changes": false,
    }


def stream_cost(figures: Mapping[str, float | None]) -> float:
    """Return what is small for good settings: delays, 10 s for each undetected utterance, false changes."""
    found = float(figures["detected"] or 0) / 100
    delay = found * float(figures["delay_median"] or 0) + (1 - found) * 10
    return delay + FALSE_CHANGE_S * float(figures["false_changes"] or 0) / float(figures["utterances"] or 1)


def chosen(candidates, cost: Callable[..., float]):
    """Return the candidate of the lowest cost, and print the five best."""
    costs = [cost(settings) for settings in candidates]
    order = np.argsort(costs, kind="stable")
    for place in order[:5]:
        print(f"{costs[place]:8.3f} {candidates[place]}")
    return candidates[order[0]]


def labels_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def whisper_model(folder: Path, labels: list[str], beside: Path) -> Path:
    """Write a model whose answers are those of Whisper among some languages."""
    from lid_toolkit.models.build import build_model
    from lid_toolkit.training.checkpoint import save_model
    from lid_toolkit.training.config import parse_config

    conf = {"path_or_url": str(folder), "languages": labels, "silence": [0.5, 3.0]}
    description = parse_config(
        {
            "frontend": "whisper_language",
            "frontend_conf": conf,
            **{"encoder": "identity", "pooling": "mean", "projector": "identity"},
            "loss": "linear_softmax",
            "loss_conf": {"offset": True, "bias": False},
        },
        "whisper",
    ).model_description()
    model = build_model(description, len(labels))
    description["frontend_conf"] = model.frontend.portable_conf(conf)
    path = beside.with_suffix(".pth")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, model.state_dict(), description, labels, RATE)
    return path


if __name__ == "__main__":
    run(main)
