#!/usr/bin/env python3
"""Time and memory of the work on data directories as large as VoxLingua107; prints a table and writes JSON.

    benchmarks/data.py directories --utterances 2500000
    benchmarks/data.py planning --utterances 2500000      # stages 3 and 4 without the audio
    benchmarks/data.py merging --utterances 1600000       # the merge of stage 6, and stage 7
    benchmarks/formatting.py --data_dir data/train        # the audio of stage 3

Each figure is measured in one process. On a busy machine, CPU time is more reliable than wall time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import directories
import merging
import planning
from processes import Figures

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.files import write_whole

PARTS: dict[str, Callable[[Path, int], dict[str, Figures]]] = {
    "directories": directories.figures,
    "planning": planning.figures,
    "merging": merging.figures,
}


def main(arguments: Sequence[str]) -> None:
    """Run the chosen benchmark."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("part", choices=list(PARTS), help="what to measure")
    parser.add_argument("--utterances", type=positive_int, default=2_500_000, help="size of the set")
    parser.add_argument("--work", type=Path, default=Path("exp/benchmarks/data"), help="scratch directory")
    parser.add_argument("--json", type=Path, help="output file; default: WORK.PART.json")
    options = parser.parse_args(arguments)
    work = options.work / options.part
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows = PARTS[options.part](work, options.utterances)
    for name, figures in rows.items():
        print(f"{name:28s} {figures}")
    with write_whole(options.json or options.work.with_suffix(f".{options.part}.json")) as stream:
        kept = {name: figures._asdict() for name, figures in rows.items()}
        json.dump({"utterances": options.utterances, **kept}, stream, indent=1)
    shutil.rmtree(work)


if __name__ == "__main__":
    run(main)
