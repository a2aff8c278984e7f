#!/usr/bin/env python3
"""Compare stage 3 to a plain loop with soundfile and a resampler; prints a table and writes JSON.

    benchmarks/formatting.py --data_dir data/train_prompts --work exp/benchmarks/formatting

The loop reads the files one by one, averages the channels, resamples and writes. The use of the cores is the
CPU time divided by the wall time and the number of cores, so other work on the machine lowers it.
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
from typing import NamedTuple

from lid_toolkit.audio.writer import AUDIO_FORMATS
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.cores import count_cores
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.prepare.speed import perturb_data_dir

ROOT = Path(__file__).resolve().parents[1]
PLAIN_LOOP = """
import sys
import numpy as np
import soundfile
import soxr
wav_scp, kind, out, fs = sys.argv[1:]
with open(wav_scp, encoding="utf-8") as lines:
    for line in lines:
        key, path = line.rstrip().split(maxsplit=1)
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        wave = soxr.resample(wave.mean(axis=1), rate, int(fs), quality="HQ")
        soundfile.write(f"{out}/{key}.{kind}", wave, int(fs), subtype="PCM_16")
"""


class Figures(NamedTuple):
    """Figures of one way to format; ``peak_mib`` is the peak memory of the largest process so far."""

    seconds: float
    audio_s_per_s: float
    audio_s_per_core_s: float
    use_of_cores: float
    peak_mib: float


def main(arguments: Sequence[str]) -> None:
    """Format a set in every way and report the figures."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--data_dir", type=Path, required=True, help="a set without segments or pipes")
    parser.add_argument("--utterances", type=positive_int, default=1000, help="maximum number, evenly spaced")
    parser.add_argument("--fs", type=positive_int, default=16000, help="sampling rate of the output in Hz")
    parser.add_argument("--nj", type=positive_int, default=count_cores(), help="number of jobs")
    parser.add_argument("--work", type=Path, default=Path("exp/benchmarks/formatting"), help="scratch folder")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/formatting.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    shutil.rmtree(options.work, ignore_errors=True)
    source = choose(options.data_dir, options.work / "data", options.utterances)
    perturb_data_dir(source, options.work / "data_sp", ("0.9", "1", "1.1"))
    rows: dict[str, Figures] = {}
    hours = 0.0
    for kind in AUDIO_FORMATS:
        rows[kind], hours = stage_3(source, options.work / kind, kind, options.fs, options.nj)
    rows["flac.ark at three speeds"], _ = stage_3(
        options.work / "data_sp", options.work / "sp", "flac.ark", options.fs, options.nj
    )
    for kind in ("wav", "flac"):
        rows[f"plain loop, {kind}"] = plain_loop(
            source, options.work / f"loop {kind}", kind, options.fs, hours
        )
    cores = count_cores()
    print(
        f"{'':26s} {'seconds':>8s} {'audio-s/s':>10s} {'a core':>7s} {f'of {cores} cores':>11s} {'MiB':>6s}"
    )
    for name, (seconds, rate, core_rate, share, peak) in rows.items():
        print(f"{name:26s} {seconds:8.1f} {rate:10.0f} {core_rate:7.0f} {share:11.0%} {peak:6.0f}")
    size = {"hours": hours, "nj": options.nj, "cores": cores}
    with write_whole(options.json) as stream:
        json.dump({**size, **{name: figures._asdict() for name, figures in rows.items()}}, stream, indent=1)
    shutil.rmtree(options.work)


def choose(data_dir: Path, target: Path, most: int) -> Path:
    """Write a set of at most ``most`` evenly spaced utterances, and read their files once into the cache."""
    data = read_data_dir(data_dir)
    if data.segments is not None:
        raise LidError("has segments", where=data_dir, mend="give a set whose recordings are its utterances")
    step = max(1, len(data.wav_scp) // most)
    rows = range(0, step * min(most, len(data.wav_scp)), step)
    write_data_dir(target, data.wav_scp.select(rows), data.utt2lang.select(rows))
    for path in read_table(target / "wav.scp").values():
        Path(path).read_bytes()
    return target


def stage_3(source: Path, target: Path, kind: str, fs: int, jobs: int) -> tuple[Figures, float]:
    """Format with the commands of stage 3; return the figures and the hours of audio written."""
    script = [sys.executable, str(ROOT / "pyscripts" / "format_audio.py")]
    where = ["--output_dir", str(target)]
    options = ["--audio_format", kind, "--fs", str(fs), "--num_jobs", str(jobs), "--max_failed", "1"]

    def work() -> None:
        plan = subprocess.run(
            [*script, "plan", "--data_dir", str(source), *where, *options],
            env=environment(),
            stdout=subprocess.PIPE,
            check=True,
        )
        numbers = range(1, int(plan.stdout) + 1)
        running = [
            subprocess.Popen([*script, "job", *where, "--job", str(number)], env=environment())
            for number in numbers
        ]
        if any(process.wait() for process in running):
            raise SystemExit("error: a job failed")
        subprocess.run([*script, "merge", *where], env=environment(), check=True)

    seconds, cpu, peak = measured(work)
    audio_s = read_table(target / "utt2num_samples").integers().sum() / fs
    figures = Figures(seconds, audio_s / seconds, audio_s / cpu, cpu / seconds / count_cores(), peak)
    return figures, audio_s / 3600


def plain_loop(source: Path, target: Path, kind: str, fs: int, hours: float) -> Figures:
    target.mkdir(parents=True)
    words = [sys.executable, "-c", PLAIN_LOOP, str(source / "wav.scp"), kind, str(target), str(fs)]
    seconds, cpu, peak = measured(lambda: subprocess.run(words, env=environment(), check=True))
    audio_s = 3600 * hours
    return Figures(seconds, audio_s / seconds, audio_s / cpu, cpu / seconds / count_cores(), peak)


def measured(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return wall time and CPU time of child processes in seconds, and their peak memory so far in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, after.ru_maxrss / 1024


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    run(main)
