"""Joined recordings with what a model and a detector of speech find in them, and how right settings are.

Shapes: r recordings.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from joined_speech import Joined
from numpy.typing import NDArray

from lid_toolkit import DecisionPolicy, LanguageIdentifier
from lid_toolkit.audio.speech_activity import Detector, detector, speech_frames
from lid_toolkit.files import write_whole
from lid_toolkit.inference.decision import Decider, decider
from lid_toolkit.inference.listening import Summary
from lid_toolkit.inference.segmentation import Segmenting, find_segments
from lid_toolkit.inference.stream import LanguageStream, Tracking
from lid_toolkit.inference.windows import Windowing

RATE = 16000
FRAME_S = 0.01
COLLAR_S = 0.5
FALSE_CHANGE_S = 2.0
"""What a false change of a stream costs when settings are chosen, in seconds of delay."""

MISSED_S = 10.0
"""What an utterance costs that a stream does not recognise while it lasts, in seconds of delay."""

DRAWS = 2000


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

    def windows(self, windowing: Windowing) -> tuple[list[tuple[float, float]], NDArray[np.float32]]:
        """Return the times of the windows in seconds, and their scores (N, C)."""
        starts, size = windowing.starts(len(self.joined.wave), RATE)
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


def segment_sums(trials: Sequence[Trial], windowing: Windowing, settings: Segmenting) -> dict[str, NDArray]:
    """Return sums (R,) for each recording: 10 ms in all, wrong, in no segment, and far from changes."""
    rows = []
    for trial in trials:
        found = find_segments(*trial.windows(windowing), trial.summary, trial.decides, settings)
        answer = trial.frames([(part.start, part.end, part.language) for part in found])
        spoken, wrong = trial.truth >= 0, (answer >= 0) & (answer != trial.truth)
        far = spoken & ~trial.is_near_change
        changes = sum(one.language != other.language for one, other in itertools.pairwise(found))
        rows.append(
            {
                "time": spoken.sum(),
                "wrong": (spoken & wrong).sum(),
                "missed": (spoken & (answer < 0)).sum(),
                "far": far.sum(),
                "wrong_far": (far & wrong).sum(),
                "changes": changes,
                "true_changes": len(trial.joined.parts) - 1,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def segment_figures(sums: dict[str, NDArray], chosen: NDArray | slice = slice(None)) -> dict[str, float]:
    """Return the percentages of the time of all utterances in some recordings."""
    total = {name: float(values_r[chosen].sum()) for name, values_r in sums.items()}
    return {
        "minutes": total["time"] * FRAME_S / 60,
        "wrong": 100 * total["wrong"] / total["time"],
        "wrong_without_collar": 100 * total["wrong_far"] / total["far"],
        "missed": 100 * total["missed"] / total["time"],
        "changes": total["changes"],
        "true_changes": total["true_changes"],
    }


def known_parts_wrong(trials: Sequence[Trial], scorer: Scorer) -> dict[str, float]:
    """Return the percentage of time in a wrong language if the begin and end of utterances are known."""
    time = wrong = 0.0
    for trial in trials:
        for start, end, label in trial.joined.parts:
            scores = scorer(trial.joined.wave[round(start * RATE) : round(end * RATE)])
            time += end - start
            wrong += (end - start) * (scorer.languages[int(scores.argmax())] != label)
    return {"wrong": 100 * wrong / time}


def stream_sums(trials: Sequence[Trial], settings: Tracking) -> list[dict[str, list[float]]]:
    """Return for each recording the delays of the utterances that a stream recognised, and false changes."""
    rows = []
    for trial in trials:
        stream = LanguageStream(trial.scorer, RATE, RATE, trial.decides, trial.detector, settings)
        updates = list(stream.follow([trial.joined.wave]))
        starts = [start for start, _, _ in trial.joined.parts] + [np.inf]
        delays: list[float] = []
        false = 0
        for number, (start, _, label) in enumerate(trial.joined.parts):
            within = [update for update in updates if start <= update.time < starts[number + 1]]
            delays += [update.time - start for update in within if update.language == label][:1]
            false += sum(update.changed and update.language != label for update in within)
        rows.append({"delays": delays, "false": [false], "utterances": [len(trial.joined.parts)]})
    return rows


def stream_figures(
    rows: Sequence[dict[str, list[float]]], chosen: Sequence[int] | None = None
) -> dict[str, float]:
    """Return how many utterances a stream gets right while they last, how late, false changes, the cost."""
    own = rows if chosen is None else [rows[place] for place in chosen]
    delays = [delay for row in own for delay in row["delays"]] or [MISSED_S]
    utterances, false = (sum(row[name][0] for row in own) for name in ("utterances", "false"))
    found = sum(len(row["delays"]) for row in own) / utterances
    median, late = np.percentile(delays, [50, 90])
    return {
        "utterances": utterances,
        "detected": 100 * found,
        "delay_median": median,
        "delay_90": late,
        "false_changes": 100 * false / utterances,
        "cost": found * median + (1 - found) * MISSED_S + FALSE_CHANGE_S * false / utterances,
    }


def interval(figures, recordings: int) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of figures by bootstrap over recordings.

    Args:
        figures: returns figures for chosen recordings, which may be chosen several times.
        recordings: their number.
    """
    rng = np.random.default_rng(0)
    draws = [figures(rng.integers(0, recordings, recordings)) for _ in range(DRAWS)]
    return {name: tuple(np.percentile([draw[name] for draw in draws], [2.5, 97.5])) for name in draws[0]}


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
