#!/usr/bin/env python3
"""What is paid before and around the computing; prints a table and writes JSON.

    ./run.sh --corpus mini
    benchmarks/start_up.py

The rows are ``./run.sh`` again, when all stages are current; stage 6 of the test set (plan, one job and
merge); and a model with 324 million random parameters loaded from its file. The first row, the import of
torch, is in each of them except ``./run.sh`` again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gpu_shapes import XLSR_300M, pretrained
from identification import program, random_model
from processes import ROOT, Figures, command, python
from settings import ECAPA_512

from lid_toolkit.cli import OptionParser, run
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

LARGE = {**ECAPA_512, **pretrained(XLSR_300M)}
LOAD = "import sys; from lid_toolkit.training.checkpoint import load_model; load_model(sys.argv[1])"


def main(arguments: Sequence[str]) -> None:
    """Measure every row, and print it at once."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--corpus", default="mini", help="corpus whose run is finished")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/start_up.json"), help="output file")
    options = parser.parse_args(arguments)
    models = sorted((ROOT / "exp" / options.corpus).glob("lid_*/valid.accuracy.best.pth"))
    if not models:
        raise LidError("has no model", where=ROOT / "exp" / options.corpus, mend="run ./run.sh first")
    data_dir = ROOT / "dump" / options.corpus / "raw" / f"test_{options.corpus}"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        work: dict[str, Callable[[], Figures]] = {
            "import torch": lambda: program("import torch"),
            "run.sh again": lambda: command([ROOT / "run.sh", "--corpus", options.corpus]),
            "stage 6": lambda: stage_6(models[0], data_dir, scratch / "results"),
            "324 million parameters": lambda: program(LOAD, random_model(scratch / "model.pth", LARGE)),
        }
        rows = {}
        for title, measure in work.items():
            rows[title] = measure()
            print(f"{title:24s} {rows[title]}", flush=True)
    with write_whole(options.json) as stream:
        json.dump({title: figures._asdict() for title, figures in rows.items()}, stream, indent=1)


def stage_6(model: Path, data_dir: Path, output_dir: Path) -> Figures:
    """Return the figures of plan, one job and merge together."""
    where = ("--model", model, "--data_dir", data_dir, "--output_dir", output_dir)
    job = ("job", *where, "--batch_size", 8, "--ngpu", 0, "--job", 1)
    figures = [python("pyscripts/infer.py", *words) for words in (("plan", *where), job, ("merge", *where))]
    seconds, cpu_seconds, peaks = zip(*figures, strict=True)
    return Figures(sum(seconds), sum(cpu_seconds), max(peaks))


if __name__ == "__main__":
    run(main)
