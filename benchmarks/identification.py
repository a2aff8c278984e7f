#!/usr/bin/env python3
"""Time and memory of identification as a whole process; prints a table and writes JSON.

    benchmarks/identification.py                                      # 512 channels with random weights
    benchmarks/identification.py --model exp/mini/lid_mini_ecapa_raw  # another model

Each row is a process of its own. Compare the rows of one run: the first is the floor, and other programs slow
all of them down. On a busy machine, CPU time is more reliable than wall time, except for the rows about
threads, which show what waiting costs.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile
from processes import Figures, python

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole

RATE = 16000
ONE = "from lid_toolkit.commands.main import main; main()"
MANY = """
import sys
import numpy as np
from lid_toolkit import LanguageIdentifier
model, batch_size, threads, *paths = sys.argv[1:]
lid = LanguageIdentifier.from_pretrained(model, "cpu", threads=int(threads))
for path in paths if batch_size == "1" else [paths]:
    lid.identify(path, batch_size=int(batch_size))
"""
DESCRIPTION = {
    "frontend": "default",
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 512, "model_scale": 8, "output_size": 1536},
    "loss": "aamsoftmax_sc_topk",
}


def main(arguments: Sequence[str]) -> None:
    """Measure every row."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, help="model to identify with; default: random weights")
    parser.add_argument(
        "--recordings", type=positive_int, default=40, help="number of recordings of 2 to 14 s"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/identification.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        model = options.model or random_model(Path(name) / "model.pth")
        rows = measure(model, *recordings(Path(name), options.recordings))
    for name, figures in rows.items():
        print(f"{name:44s} {figures}")
    with write_whole(options.json) as stream:
        json.dump({name: figures._asdict() for name, figures in rows.items()}, stream, indent=1)


def measure(model: Path, paths: list[Path], seconds: float) -> dict[str, Figures]:
    """Run every row once."""

    def many(batch_size: int, threads: int, **environment: str) -> Figures:
        return program(MANY, model, batch_size, threads, *paths, **environment)

    one = ("identify", "--model", model, "--device", "cpu", paths[0])
    return {
        "import torch": program("import torch"),
        "import LanguageIdentifier": program("from lid_toolkit import LanguageIdentifier"),
        "lid identify, one recording of 2 s": program(ONE, *one, "--threads", 1),
        f"{seconds:.0f} s of speech, batches of 1": many(1, 1),
        f"{seconds:.0f} s of speech, batches of 8": many(8, 1),
        f"{seconds:.0f} s of speech, batches of 32": many(32, 1),
        "batches of 1, 2 threads that wait": many(1, 2),
        "batches of 1, 2 threads that spin": many(1, 2, OMP_WAIT_POLICY="ACTIVE"),
    }


def program(text: str, *words: object, **environment: str) -> Figures:
    """Run a program text with words; return its figures."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script, patch.dict(os.environ, environment):
        script.write(text)
        script.flush()
        return python(script.name, *words)


def random_model(path: Path) -> Path:
    """Write a model with random weights."""
    from lid_toolkit.models.build import build_model
    from lid_toolkit.training.checkpoint import save_model
    from lid_toolkit.training.config import parse_config

    description = parse_config(DESCRIPTION, "benchmark").model_description()
    languages = [f"l{number:03d}" for number in range(107)]
    model = build_model(description, len(languages))
    save_model(path, model.state_dict(), description, languages, RATE)
    return path


def recordings(directory: Path, count: int) -> tuple[list[Path], float]:
    """Write recordings of noise, the first of 2 s, the others of 2 to 14 s; return them and their seconds."""
    rng = np.random.default_rng(0)
    lengths = [2.0, *rng.uniform(2, 14, count - 1)]
    paths = [directory / f"{number:03d}.wav" for number in range(count)]
    for path, length in zip(paths, lengths, strict=True):
        soundfile.write(path, 0.1 * rng.standard_normal(round(length * RATE)), RATE)
    return paths, sum(lengths)


if __name__ == "__main__":
    run(main)
