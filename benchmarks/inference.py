#!/usr/bin/env python3
"""Speed and memory of ``lid identify`` on many short files, beside the model alone; writes JSON.

    benchmarks/inference.py --speech VOXLINGUA107_DEV                # 10,000 files of 1 to 3 s
    benchmarks/inference.py --speech VOXLINGUA107_DEV --files 1000   # fewer

The files are pieces of the recordings in --speech, one half as wav and the other as flac. The model is an
ECAPA-TDNN of 512 channels with random weights, on one thread. *Model alone* is the floor: its forward pass
on every tenth group of the same files, in the batches that ``lid identify`` makes, decoded and padded
before. It runs before and after ``lid identify`` in processes of its own, and the mean counts.

*Whole command* counts from the start of Python to the last record. The ratio of wall times means little if
other programs use the cores; *main process* compares the CPU time of the process that computes, which is what
limits the speed if the processes that read ahead have a core of their own.
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
from typing import Any

import numpy as np
import soundfile
from identification import random_model
from processes import ROOT
from settings import ECAPA_512

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole

RATE = 16000
SECONDS = (1.0, 3.0)
BATCH_SIZE, AHEAD = 16, 8
EVERY = 10
SUFFIXES = (".wav", ".flac")

IDENTIFY = """
import json, sys, time
from pathlib import Path
from lid_toolkit.commands.identify import main
notes, *words = sys.argv[1:]
main(words)
Path(notes).write_text(json.dumps({"main_cpu": time.process_time()}))
"""
ALONE = """
import json, sys, time
from pathlib import Path
import torch
from inference import ready_batches
from lid_toolkit import LanguageIdentifier
notes, model, listing = sys.argv[1:]
lid = LanguageIdentifier.from_pretrained(model, "cpu", threads=1)
identify, device = lid.load().saved.model.identify, lid.device
wall = cpu = speech = 0.0
for number, (wave_bt, lengths_b) in enumerate(ready_batches(Path(listing).read_text().split(), device)):
    begun, begun_cpu = time.monotonic(), time.process_time()
    identify(wave_bt, lengths_b)
    if number:  # the first one prepares much that is used again
        wall, cpu = wall + time.monotonic() - begun, cpu + time.process_time() - begun_cpu
        speech += float(lengths_b.sum()) / lid.rate
Path(notes).write_text(json.dumps({"wall": wall, "cpu": cpu, "speech": speech}))
"""


def main(arguments: Sequence[str]) -> None:
    """Measure the floor, the command, and the floor again."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings with speech")
    parser.add_argument("--files", type=positive_int, default=10000, help="number of short files")
    parser.add_argument(
        "--channels",
        type=positive_int,
        default=512,
        help="of the model; with few, only memory counts",
    )
    parser.add_argument("--num_workers", type=positive_int, default=1, help="processes that read ahead")
    parser.add_argument("--vad", default="auto", help="detector of speech")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/inference.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        seconds = write_pieces(options.speech, scratch / "files", options.files)
        listing = scratch / "files.txt"
        listing.write_text("".join(f"{path}\n" for path in sorted((scratch / "files").iterdir())))
        encoder = {**ECAPA_512["encoder_conf"], "ndim": options.channels}
        model = random_model(scratch / "model.pth", {**ECAPA_512, "encoder_conf": encoder})
        floors = [timed(ALONE, scratch / "notes", model, listing)]
        words = ["--model", model, "--device", "cpu", "--threads", 1, "--vad", options.vad]
        words += ["--num_workers", options.num_workers, "--output", scratch / "answers.jsonl"]
        ours = timed(IDENTIFY, scratch / "notes", listing, *words)
        floors.append(timed(ALONE, scratch / "notes", model, listing))
        count = len((scratch / "answers.jsonl").read_text().splitlines())
    if count != options.files:
        raise SystemExit(f"error: {options.files} files have {count} records")
    result = figures(ours, floors, seconds)
    for key, value in result.items():
        print(f"{key:42s} {value:10.2f}")
    with write_whole(options.json) as stream:
        json.dump({"files": count, **result}, stream, indent=1)


def figures(ours: dict[str, float], floors: Sequence[dict[str, float]], seconds: float) -> dict[str, float]:
    """Return the speeds in seconds of audio per second, their ratios, and the memory."""
    wall, cpu = (
        sum(floor["speech"] for floor in floors) / sum(floor[kind] for floor in floors)
        for kind in ("wall", "cpu")
    )
    return {
        "hours of audio": seconds / 3600,
        "model alone, audio-s per s": wall,
        "model alone, audio-s per CPU s": cpu,
        "whole command, audio-s per s": seconds / ours["whole_wall"],
        "main process, audio-s per CPU s": seconds / ours["main_cpu"],
        "all processes, audio-s per CPU s": seconds / ours["whole_cpu"],
        "ratio, whole command": seconds / ours["whole_wall"] / wall,
        "ratio, main process": seconds / ours["main_cpu"] / cpu,
        "peak memory of the main process, MiB": ours["peak_mib"],
    }


def write_pieces(speech: Path, folder: Path, count: int) -> float:
    """Write so many pieces of 1 to 3 s of the recordings in a folder, in turns; return their seconds."""
    rng, total = np.random.default_rng(0), 0
    folder.mkdir()
    paths = sorted(path for path in speech.rglob("*") if path.suffix in SUFFIXES)
    order = rng.permutation(np.resize(np.arange(len(paths)), count))
    for place in np.unique(order):
        wave, rate = read_audio(str(paths[place]))
        for number in np.flatnonzero(order == place):
            length = min(len(wave), round(rng.uniform(*SECONDS) * rate))
            begin = rng.integers(0, len(wave) - length + 1)
            suffix = SUFFIXES[number % 2]
            soundfile.write(folder / f"{number:05d}{suffix}", wave[begin : begin + length], rate)
            total += length / rate
    return total


def ready_batches(paths: Sequence[str], device: Any):
    """Yield the batches of every tenth group of recordings that are read ahead together."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from lid_toolkit.inference.compute import plan_batches

    size = BATCH_SIZE * AHEAD
    for begin in range(0, len(paths), size * EVERY):
        waves = [read_audio(path)[0] for path in paths[begin : begin + size]]
        lengths = np.array([len(wave) for wave in waves])
        for batch in plan_batches(lengths, RATE, BATCH_SIZE, device):
            wave_bt = pad_sequence([torch.from_numpy(waves[row]) for row in batch.rows_b], batch_first=True)
            yield wave_bt, torch.from_numpy(lengths[batch.rows_b])


def timed(text: str, notes: Path, *words: object) -> dict[str, float]:
    """Run a program text in a process of its own; return what it notes, and its time and memory."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"}
    begun = time.monotonic()
    command = [sys.executable, "-c", text, str(notes), *map(str, words)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: a process of the benchmark ended with exit code {process.returncode}")
    return {
        "whole_wall": time.monotonic() - begun,
        "whole_cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        **json.loads(notes.read_text()),
    }


if __name__ == "__main__":
    run(main)
