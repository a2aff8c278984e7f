#!/usr/bin/env python3
"""Time and memory of identification as a whole process; prints a table and writes JSON.

    benchmarks/identification.py                                      # 512 channels with random weights
    benchmarks/identification.py --model exp/mini/lid_mini_ecapa_raw  # another model
    benchmarks/identification.py --espnet_python espnet/bin/python --speechbrain_python speechbrain/bin/python

ESPnet computes the same ECAPA-TDNN 512 on the same features, in the order of the list, and once sorted by
length. SpeechBrain computes its ECAPA-TDNN 1024, whose weights we load too. A row is a process of its own,
on one thread unless it says otherwise. "Loop" is speech per second of CPU without start-up.

Compare the rows of one run: the first is the floor, and other programs slow all of them down. On a busy
machine, CPU time is more reliable than wall time, except for the rows about threads, which show what waiting
costs. The lengths of the recordings are distributed as those of VoxLingua107's dev set.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
from peer_models import Espnet, SpeechBrain
from processes import Figures, python
from settings import ECAPA_512

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole

RATE, LANGUAGES = 16000, 107
ONE = "from lid_toolkit.commands.main import main; main()"
MANY = """
import sys, time
from pathlib import Path
from lid_toolkit import LanguageIdentifier
notes, model, batch_size, threads, *paths = sys.argv[1:]
lid = LanguageIdentifier.from_pretrained(model, "cpu", threads=int(threads))
started = time.process_time()
for path in paths if batch_size == "1" else [paths]:
    lid.identify(path, batch_size=int(batch_size), vad="none")  # as the peers
Path(notes).write_text(str(time.process_time() - started))
"""

Row = dict[str, float]


def main(arguments: Sequence[str]) -> None:
    """Measure every row, and print it at once."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, help="model to identify with; default: random weights")
    parser.add_argument(
        "--recordings", type=positive_int, default=30, help="number of recordings of 2 to 18 s"
    )
    parser.add_argument("--rounds", type=positive_int, default=1, help="rounds in turns; the fastest counts")
    parser.add_argument("--espnet_python", type=Path, help="Python with ESPnet installed")
    parser.add_argument("--speechbrain_python", type=Path, help="Python with SpeechBrain installed")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/identification.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        work = plan(options, Path(name))
        rows: dict[str, Row] = {}
        for turn in range(options.rounds):
            for title, measure in work.items():
                row = measure()
                if turn == 0 or row["cpu_seconds"] < rows[title]["cpu_seconds"]:
                    rows[title] = row
                print(f"{title:52s} {line(row)}", flush=True)
                with write_whole(options.json) as stream:
                    json.dump(rows, stream, indent=1)


def line(row: Row) -> str:
    loop = f", loop {row['loop']:6.1f} audio-s/s" if "loop" in row else ""
    return f"{row['seconds']:7.1f} s, {row['cpu_seconds']:6.1f} s of a core, {row['peak_mib']:5.0f} MiB{loop}"


def plan(options: Any, scratch: Path) -> dict[str, Callable[[], Row]]:
    """Return how to measure each row."""
    paths, seconds = recordings(scratch, options.recordings)
    model = options.model or random_model(scratch / "model.pth", ECAPA_512)
    notes = scratch / "notes"

    def ours(model: Path, batch_size: int, threads: int = 1, wait: str = "PASSIVE") -> Row:
        words = (notes, model, batch_size, threads, *paths)
        return looped(program(MANY, *words, OMP_WAIT_POLICY=wait), notes, seconds)

    one = ("identify", "--model", model, "--device", "cpu", "--threads", 1, paths[0])
    rows = {
        "import torch": partial(started, "import torch"),
        "import LanguageIdentifier": partial(started, "from lid_toolkit import LanguageIdentifier"),
        "lid identify, one recording of 2 s": partial(started, ONE, *one),
        **{f"batches of {size}": partial(ours, model, size) for size in (1, 8, 32)},
    }
    if options.espnet_python:
        espnet = Espnet(options.espnet_python, scratch, LANGUAGES)
        by_length = sorted(paths, key=lambda path: path.stat().st_size)
        orders = {"batches of 1": (paths, 1), "batches of 8": (paths, 8)}
        for name, (chosen, size) in {**orders, "batches of 8, sorted": (by_length, 8)}.items():
            rows[f"ESPnet, {name}"] = partial(peer, espnet, chosen, size, notes, seconds)
    if options.speechbrain_python:
        brain = SpeechBrain(options.speechbrain_python, scratch, LANGUAGES)
        for size in (1, 8):
            rows[f"SpeechBrain's model, batches of {size}"] = partial(ours, brain.folder, size)
            rows[f"SpeechBrain, batches of {size}"] = partial(peer, brain, paths, size, notes, seconds)
    rows["batches of 1, 2 threads that wait"] = partial(ours, model, 1, 2)
    rows["batches of 1, 2 threads that spin"] = partial(ours, model, 1, 2, "ACTIVE")
    return rows


def started(text: str, *words: object) -> Row:
    return program(text, *words)._asdict()


def peer(
    toolkit: Espnet | SpeechBrain, paths: Sequence[Path], batch_size: int, notes: Path, seconds: float
) -> Row:
    return looped(toolkit.identify(paths, batch_size, notes), notes, seconds)


def looped(figures: Figures, notes: Path, seconds: float) -> Row:
    """Return figures with the speed of the loop, whose CPU seconds the process wrote to ``notes``."""
    return {**figures._asdict(), "loop": seconds / float(notes.read_text()), "speech": seconds}


def program(text: str, *words: object, **environment: str) -> Figures:
    """Run a program text with words; return its figures."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script, patch.dict(os.environ, environment):
        script.write(text)
        script.flush()
        return python(script.name, *words)


def random_model(path: Path, settings: dict[str, Any]) -> Path:
    """Write a model with random weights."""
    from lid_toolkit.models.build import build_model
    from lid_toolkit.training.checkpoint import save_model
    from lid_toolkit.training.config import parse_config

    description = parse_config(settings, "benchmark").model_description()
    languages = [f"l{number:03d}" for number in range(LANGUAGES)]
    model = build_model(description, len(languages))
    save_model(path, model.state_dict(), description, languages, RATE)
    return path


def recordings(directory: Path, count: int) -> tuple[list[Path], float]:
    """Write recordings of noise, the first of 2 s, the others of 2 to 18 s; return them and their seconds."""
    rng = np.random.default_rng(0)
    lengths = [2.0, *rng.uniform(2, 18, count - 1)]
    paths = [directory / f"{number:03d}.wav" for number in range(count)]
    for path, length in zip(paths, lengths, strict=True):
        soundfile.write(path, 0.1 * rng.standard_normal(round(length * RATE)), RATE)
    return paths, sum(lengths)


if __name__ == "__main__":
    run(main)
