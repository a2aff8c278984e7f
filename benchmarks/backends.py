#!/usr/bin/env python3
"""Compare what computes a model: PyTorch and onnxruntime, float32 and int8; prints a table and writes JSON.

    benchmarks/backends.py [--seconds 10] [--recordings 8] [--rounds 3] [--model exp/x --speech FOLDER]

Without ``--model``, the model is ECAPA-TDNN with 512 channels and random weights. It is exported as float32
and as int8. Each row is measured in a process of its own, with one thread: CPU seconds until the first
answer, start-up included, for the first recording; audio-seconds per CPU second of the others, one at a time;
and the peak memory. *floor* is the rate of onnxruntime's own ``run`` on these waveforms, without code of
ours. In each round all rows take their turn, since other programs slow the machine down now and then; a
figure is the best of the rounds (of the memory, the largest). The answers of int8 are compared with those of
float32 by ``lid export``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processes import ROOT
from settings import ECAPA_512

from lid_toolkit.cli import OptionParser, non_negative, positive_int, run
from lid_toolkit.files import write_whole

LABELS = 107
MEASURE = """import json, sys, time
sys.path.insert(0, {root!r})
began = time.process_time()
import numpy as np
from lid_toolkit import LanguageIdentifier
seconds, recordings = float(sys.argv[2]), int(sys.argv[3])
draw = np.random.default_rng(0)
lid = LanguageIdentifier.from_pretrained(sys.argv[1], "cpu", threads=1)
def wave():
    return (0.1 * draw.standard_normal(round(seconds * lid.rate))).astype(np.float32)
lid.identify(wave(), vad="none")
found = dict(start_s=time.process_time() - began)
waves = [wave() for _ in range(recordings)]
def rate(work):
    began = time.process_time()
    for one in waves:
        work(one)
    return seconds * recordings / (time.process_time() - began)
ours = lambda one: lid.identify(one, vad="none")
session = getattr(lid.load(), "session", None)
floor = lambda one: session.run(None, dict(waveforms=one[None], lengths=np.array([len(one)])))
found["rate"] = rate(ours)
found["floor"] = None if session is None else rate(floor)
# Not ru_maxrss, which begins with the memory of the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
found["memory_mb"] = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps(found))
"""


def main(arguments: Sequence[str]) -> None:
    """Export, measure in turns, and print the table."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", help="a trained model; default: ECAPA-TDNN with random weights")
    parser.add_argument("--speech", help="folder of recordings for static int8; default: noise")
    parser.add_argument("--seconds", type=non_negative, default=10.0, help="length of the recordings")
    parser.add_argument("--recordings", type=positive_int, default=8, help="number of recordings")
    parser.add_argument("--rounds", type=positive_int, default=3, help="times that each row is measured")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/backends.json"), help="output file")
    options = parser.parse_args(arguments)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or random_model(folder)
        sources = exported(folder, model, options.speech)
        for what, source in [*sources.items()] * options.rounds:
            size = source.stat().st_size / 1e6 if source.is_file() else None
            command = [sys.executable, "-c", MEASURE.format(root=str(ROOT)), str(source)]
            command += [str(options.seconds), str(options.recordings)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            measured = {"what": what, "mb": size, **json.loads(done.stdout)}
            rows[what] = measured if what not in rows else better(rows[what], measured)
    print(f"{'':14s}{'MB':>7s}{'start CPU s':>13s}{'audio-s/CPU s':>15s}{'floor':>8s}{'memory MiB':>12s}")
    for row in rows.values():
        print(line(row), flush=True)
    with write_whole(options.json) as stream:
        json.dump({"rows": [*rows.values()], "rounds": options.rounds}, stream, indent=1)


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the best figures of two rounds, and the larger memory."""
    best = {key: max(one[key], other[key]) for key in ("rate", "memory_mb")}
    floor = None if one["floor"] is None else max(one["floor"], other["floor"])
    return {**one, **best, "floor": floor, "start_s": min(one["start_s"], other["start_s"])}


def line(row: dict[str, Any]) -> str:
    size = "" if row["mb"] is None else f"{row['mb']:.1f}"
    floor = "" if row["floor"] is None else f"{row['floor']:.1f}"
    return (
        f"{row['what']:14s}{size:>7s}{row['start_s']:13.2f}{row['rate']:15.1f}{floor:>8s}"
        f"{row['memory_mb']:12.0f}"
    )


def random_model(folder: Path) -> str:
    """Save ECAPA-TDNN with random weights; return its file."""
    import torch

    from lid_toolkit.models.build import build_model
    from lid_toolkit.training.checkpoint import save_model

    torch.manual_seed(0)
    model = build_model(ECAPA_512, LABELS)
    path = folder / "valid.accuracy.best.pth"
    save_model(path, model.state_dict(), ECAPA_512, [f"l{number:03d}" for number in range(LABELS)], 16000)
    return str(path)


def exported(folder: Path, model: str, speech: str | None) -> dict[str, Path]:
    """Return the model, and its exports, by what they are called in the table."""
    found = {"torch": Path(model)}
    kinds = {"onnx": [], "int8 dynamic": ["--int8", "dynamic"]}
    if speech is not None:
        kinds["int8 static"] = ["--int8", "static"]
    for what, options in kinds.items():
        found[what] = folder / f"{what.replace(' ', '_')}.onnx"
        command = [sys.executable, "-m", "lid_toolkit.commands", "export", "--format", "onnx", model]
        command += [str(found[what]), *options, *(["--speech", speech] if speech else [])]
        print(subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout, end="")
    return found


if __name__ == "__main__":
    run(main)
