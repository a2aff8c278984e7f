#!/usr/bin/env python3
"""How often a model names a language for sounds without speech and for speech; prints tables, writes JSON.

    benchmarks/decisions.py --model exp/mini/lid_mini_ecapa_raw
    benchmarks/decisions.py --model MODEL --speech data/voxlingua107/dev --sounds /usr/share/games

The pieces are those of benchmarks/nonspeech.py. The policy is the model's. A table is for one detector of
speech, or for none. It has the percentages of the statuses, and of the pieces with a language and at least
such a score.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from nonspeech import DETECTORS, Piece, pieces

from lid_toolkit import LanguageIdentifier
from lid_toolkit.audio.speech_activity import detector, speech_seconds
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole
from lid_toolkit.inference.decision import Decider, decider
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction

STATUSES = ("ok", "unknown", "no_speech", "too_short", "failed")
SCORES = (0.5, 0.9, 0.99)
BATCH = 64
Decisions = dict[str, dict[str, list[Prediction]]]


def main(arguments: Sequence[str]) -> None:
    """Identify every kind of sound."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", required=True, help="as of lid identify")
    parser.add_argument("--speech", type=Path, help="folder of recordings with speech")
    parser.add_argument(
        "--sounds", type=Path, nargs="*", default=[], help="folders of recordings without speech"
    )
    parser.add_argument("--every", type=positive_int, default=1, help="only every n-th piece of speech")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/decisions.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    lid = LanguageIdentifier.from_pretrained(options.model, "cpu")
    audio = thinned(pieces(options.sounds, options.speech), options.every)
    tables = {name: table(found) for name, found in decisions(lid, audio).items()}
    for name, rows in tables.items():
        print_table(f"detector: {name}", rows)
    with write_whole(options.json) as stream:
        json.dump({"policy": lid.policy.to_mapping(), "percent": tables}, stream, indent=1)


def thinned(audio: Iterable[Piece], every: int) -> Iterator[Piece]:
    """Yield all pieces without speech, and every n-th of each kind with speech."""
    seen: Counter[str] = Counter()
    for piece in audio:
        if not piece[0].startswith("speech") or seen[piece[0]] % every == 0:
            yield piece
        seen[piece[0]] += 1


def decisions(lid: LanguageIdentifier, audio: Iterable[Piece]) -> Decisions:
    """Return the records of the pieces, by detector and kind, as ``identify`` gives them.

    The model scores each piece once: with a single window, its scores do not depend on the detector.
    """
    decides, detectors = decider(lid.policy, lid.languages), {name: detector(name) for name in DETECTORS}
    scoring = DecisionPolicy(min_seconds=0.0)
    found: Decisions = {name: defaultdict(list) for name in (*DETECTORS, "none")}
    remaining = iter(audio)
    while group := list(itertools.islice(remaining, BATCH)):
        records = lid.identify([(wave, rate) for _, wave, rate in group], policy=scoring, vad="none")
        for (kind, wave, rate), record in zip(group, records, strict=True):
            for name in found:
                speech = speech_seconds(wave, rate, detectors[name]) if name in detectors else None
                found[name][kind].append(decided(record, speech, decides, lid.languages))
    return found


def decided(record: Prediction, speech: float | None, decides: Decider, labels: Sequence[str]) -> Prediction:
    """Return the record under a policy and with so many seconds of speech."""
    if not record.scores:
        return record
    scores_c = np.log(np.maximum([record.scores[label] for label in labels], 1e-300))
    return decides.decide(scores_c, record.duration, speech)


def table(found: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, float]]:
    """Return the percentages of each kind."""
    rows = {}
    for kind, records in found.items():
        statuses = Counter(record.status for record in records)
        best = np.array([record.score or 0.0 for record in records if record.status == "ok"])
        rows[kind] = {
            "pieces": len(records),
            **{status: 100 * statuses[status] / len(records) for status in STATUSES},
            **{f"score {least}": 100 * int((best >= least).sum()) / len(records) for least in SCORES},
        }
    return rows


def print_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print percentages, one kind on each line."""
    columns = [*STATUSES, *(f"score {least}" for least in SCORES)]
    print(f"{title}\n{'%':26s}{'pieces':>8s}" + "".join(f"{name:>11s}" for name in columns))
    for kind, row in rows.items():
        print(f"{kind:26s}{row['pieces']:8.0f}" + "".join(f"{row[name]:11.1f}" for name in columns))


if __name__ == "__main__":
    run(main)
