#!/usr/bin/env python3
"""Time to the first answer of ``lid identify FILE``, by its parts; prints a table and writes JSON.

    benchmarks/first_answer.py                          # 512 channels with random weights, 5 s of noise
    benchmarks/first_answer.py --model EXPERIMENT --audio a.wav

Each round is a process of its own that runs the command on one thread. The parts follow each other, and
their sum is the time of the whole process. The median of the rounds counts, in wall time and in CPU time;
the files are in the cache of the system. ``import torch`` alone, in a process of its own, is the floor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from identification import random_model
from processes import ROOT
from settings import ECAPA_512

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole

RATE = 16000
Part = tuple[float, float]
"""Wall and CPU seconds."""

ONE = """
import time
moments = {"start of Python": (time.monotonic(), time.process_time())}
import json, sys
from pathlib import Path
from unittest.mock import patch

def mark(name):
    moments[name] = (time.monotonic(), time.process_time())

notes, *words = sys.argv[1:]
from lid_toolkit.commands import identify
mark("the command")
import torch
mark("import torch")
from lid_toolkit.inference import identifier, lazy_model, listening, lookahead
mark("the rest of the imports")

def marked(function, name):
    def run(*arguments, **options):
        result = function(*arguments, **options)
        mark(name)
        return result
    return run

def watch(observer, blocks):
    yield from original_watch(observer, marked_blocks(blocks))

def marked_blocks(blocks):
    for block in blocks:
        mark("decoding")
        yield block

original_watch = listening.Observer.watch
listening.Observer.watch = watch
listening.Observer.summary = marked(listening.Observer.summary, "finding speech")
identify.open_identifier = marked(identify.open_identifier, "loading the model")
lazy_model.Loaded.compute = marked(lazy_model.Loaded.compute, "the model")

def main(words):
    identify.main(words)
    mark("deciding and writing")
    Path(notes).write_text(json.dumps(moments))

from lid_toolkit.cli import run
run(main, words)
"""


def main(arguments: Sequence[str]) -> None:
    """Measure the rounds."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, help="model to identify with; default: random weights")
    parser.add_argument("--audio", type=Path, help="recording; default: 5 s of noise")
    parser.add_argument("--rounds", type=positive_int, default=5, help="processes")
    parser.add_argument("--vad", default="none" if _lacks_silero() else "silero", help="detector of speech")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/first_answer.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        audio = options.audio or noise(scratch / "noise.wav")
        model = options.model or random_model(scratch / "model.pth", ECAPA_512)
        words = ["--model", model, "--device", "cpu", "--threads", 1, "--vad", options.vad]
        words += ["--min_speech_seconds", 0, audio]
        floors, rounds = [], []
        for _ in range(options.rounds + 1):
            floors.append(timed("import torch"))
            rounds.append(parts_of(scratch / "notes", words))
    rows = {part: middle([own[part] for own in rounds[1:]]) for part in rounds[0]}
    rows["whole process"] = middle([tuple(map(sum, zip(*own.values(), strict=True))) for own in rounds[1:]])
    rows["floor: import torch alone"] = middle(floors[1:])
    print(f"{'':28s}{'s':>8s}{'CPU s':>8s}")
    for part, (wall, cpu) in rows.items():
        print(f"{part:28s}{wall:8.2f}{cpu:8.2f}")
    with write_whole(options.json) as stream:
        json.dump(rows, stream, indent=1)


def parts_of(notes: Path, words: Sequence[object]) -> dict[str, Part]:
    """Run the command once; return the seconds of each part."""
    begun = time.monotonic()
    whole = timed(ONE, notes, *words)
    moments = json.loads(notes.read_text())
    parts, before = {}, (begun, 0.0)
    for name, moment in moments.items():
        parts[name] = (moment[0] - before[0], moment[1] - before[1])
        before = moment
    return {**parts, "end of Python": (begun + whole[0] - before[0], whole[1] - before[1])}


def timed(text: str, *words: object) -> Part:
    """Run a program text; return its wall and CPU seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun = time.monotonic()
    command = [sys.executable, "-c", text, *map(str, words)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: a process of the benchmark ended with exit code {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def middle(parts: Sequence[Part]) -> Part:
    """Return the medians."""
    wall, cpu = np.median(np.array(parts), axis=0).tolist()
    return wall, cpu


def noise(path: Path) -> Path:
    """Write 5 s of noise."""
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(5 * RATE), RATE)
    return path


def _lacks_silero() -> bool:
    from lid_toolkit.audio.silero import is_installed

    return not is_installed()


if __name__ == "__main__":
    run(main)
