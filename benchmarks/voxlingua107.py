#!/usr/bin/env python3
"""Time and memory to prepare and validate VoxLingua107 at its real size; prints figures and writes JSON.

    benchmarks/voxlingua107.py --files 2500000 --work exp/benchmarks/voxlingua107

The corpus is fake: hard links to a few recordings of ten seconds, with names like those of the real corpus.
So all headers are read from the cache; with the real corpus, 2.5 million headers are read from disk once.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lid_toolkit.audio.wav_header import pcm16_wav_header
from lid_toolkit.cli import OptionParser, boolean, positive_int, run
from lid_toolkit.files import write_whole
from lid_toolkit.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from local.voxlingua107.layout import CODES  # noqa: E402

LINKS = 30_000
"""Hard links to one file; ext4 allows 65,000."""

SEGMENTS_A_VIDEO = 30
DEV_LANGUAGES, DEV_FILES = 33, 1609
ALPHABET = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))


def main(arguments: Sequence[str]) -> None:
    """Make the fake corpus, run sub-stages 4 and 5 on it in separate processes, and report the figures."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--files", type=positive_int, default=2_500_000, help="number of training recordings")
    parser.add_argument("--nj", type=positive_int, default=os.cpu_count() or 1, help="number of processes")
    parser.add_argument(
        "--work", type=Path, default=Path("exp/benchmarks/voxlingua107"), help="scratch folder"
    )
    parser.add_argument("--keep", type=boolean, default=False, help="keep the fake corpus")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/voxlingua107.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    corpus, data = options.work / "corpus", options.work / "data"
    shutil.rmtree(data, ignore_errors=True)
    command = [sys.executable, "-m", "local.voxlingua107.prepare", "--nj", str(options.nj)]
    command += ["--corpus_dir", str(corpus.absolute()), "--datadir", str(data.absolute())]
    parts: dict[str, Callable[[], object]] = {
        "tables": lambda: subprocess.run(
            [*command, "--stage", "4", "--stop_stage", "4"], cwd=ROOT, check=True
        ),
        "validate": lambda: subprocess.run(
            [*command, "--stage", "5", "--stop_stage", "5"], cwd=ROOT, check=True
        ),
        "all again, current": lambda: subprocess.run(command, cwd=ROOT, check=True),
    }
    if not corpus.exists():
        parts = {"fake the corpus": lambda: fake(corpus, options.files), **parts}
    rows: dict[str, tuple[float, float, float]] = {}
    for name, work in parts.items():
        rows[name] = (*timed(work), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
        print(
            f"{name}: {rows[name][0]:.1f} s, {rows[name][1]:.1f} s of processors, {rows[name][2]:.0f} MiB",
            flush=True,
        )
    names = ("wall_s", "cpu_s", "largest_process_so_far_mib")
    figures = {name: dict(zip(names, row, strict=True)) for name, row in rows.items()}
    with write_whole(options.json) as stream:
        json.dump({"files": options.files, "nj": options.nj, **figures}, stream, indent=1)
    if not options.keep:
        shutil.rmtree(options.work)


def fake(corpus: Path, files: int) -> None:
    """Make the fake corpus: languages of unequal size, videos cut into segments, and some of them as dev."""
    rng = np.random.default_rng(0)
    samples = np.zeros(160_000, dtype="<i2").tobytes()
    shares = rng.dirichlet(np.full(len(CODES), 3.0))
    (corpus / ".seed").mkdir(parents=True)
    made, seed = 0, corpus
    with Progress("fake voxlingua107", files, "file") as progress:
        for code, share in zip(CODES, shares, strict=True):
            names = segment_names(round(files * share), rng)
            (corpus / code).mkdir()
            for name in names:
                if made % LINKS == 0:
                    seed = corpus / ".seed" / f"{made}.wav"
                    seed.write_bytes(pcm16_wav_header(160_000, 16_000) + samples)
                os.link(seed, f"{corpus}/{code}/{name}")
                made += 1
            progress.advance(len(names))
            if code in CODES[:DEV_LANGUAGES]:
                (corpus / "dev" / code).mkdir(parents=True)
                for name in names[:: max(1, len(names) // (DEV_FILES // DEV_LANGUAGES))]:
                    shutil.copy(seed, corpus / "dev" / code / name)


def segment_names(files: int, rng: np.random.Generator) -> list[str]:
    """Return the names of segments, thirty from each video."""
    videos = ["".join(row) for row in ALPHABET[rng.integers(64, size=(-(-files // SEGMENTS_A_VIDEO), 11))]]
    starts = 20.0 * np.arange(SEGMENTS_A_VIDEO)
    return [
        f"{video}__U__S{i % 3}---{start:08.3f}-{start + 10:08.3f}.wav"
        for video in videos
        for i, start in enumerate(starts)
    ][:files]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and CPU time in seconds; other work on the machine hardly affects the CPU time."""
    started, cpu = time.monotonic(), sum(os.times()[:4])
    work()
    return time.monotonic() - started, sum(os.times()[:4]) - cpu


if __name__ == "__main__":
    run(main)
