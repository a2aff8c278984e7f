#!/usr/bin/env python3
"""Seconds and memory of stages 2 to 4 beside the audio, at VoxLingua107's size; prints a table, writes JSON.

    benchmarks/planning.py --utterances 2500000 --work exp/benchmarks/planning

Speed perturbation, the plan and the merge of formatting, and statistics are measured as processes; the
formatting itself is left out, and its results are made up. Below stage 4 the same work in plain dicts.
Processor time is given too: on a busy machine it tells more than the time of day.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lid_toolkit.audio.formatting.job import Result
from lid_toolkit.audio.formatting.plan import load_plan
from lid_toolkit.cli import OptionParser, boolean, positive, run
from lid_toolkit.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
PER_FILE = 1000
PLAIN_STAGE_4 = """
import sys
train, out = sys.argv[1:]
def table(name):
    with open(f"{train}/{name}", encoding="utf-8") as lines:
        return dict(line.split(maxsplit=1) for line in lines)
wavs, languages, lengths = table("wav.scp"), table("utt2lang"), table("utt2num_samples")
assert wavs.keys() == languages.keys() == lengths.keys()
by_language = {}
for utterance, language in languages.items():
    by_language.setdefault(language.strip(), []).append(utterance)
with open(f"{out}/speech_shape", "w", encoding="utf-8") as lines:
    lines.writelines(f"{key} {lengths[key]}" for key in sorted(lengths))
with open(f"{out}/category2utt", "w", encoding="utf-8") as lines:
    lines.writelines(f"{key} {' '.join(by_language[key])}\\n" for key in sorted(by_language))
with open(f"{out}/lang2idx", "w", encoding="utf-8") as lines:
    lines.writelines(f"{key} {i}\\n" for i, key in enumerate(sorted(by_language)))
"""


def main(arguments: Sequence[str]) -> None:
    """Make a data directory, run the commands on it and report."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--utterances", type=positive, default=2_500_000, help="in the training set")
    parser.add_argument("--languages", type=positive, default=107, help="in all sets")
    parser.add_argument(
        "--perturb", type=boolean, default=False, help="format at three speeds: thrice as many"
    )
    parser.add_argument("--work", type=Path, default=Path("exp/benchmarks/planning"), help="scratch folder")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/planning.json"), help="where figures go"
    )
    options = parser.parse_args(arguments)
    work = options.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    make_set(work / "data" / "train", options.utterances, options.languages)
    make_set(work / "data" / "dev", 20 * options.languages, options.languages)
    rows: dict[str, Figures] = {}
    source = work / "data" / "train"
    if options.perturb:
        source = work / "data" / "train_sp"
        rows["stage 2: perturb speed"] = command("perturb_data_dir.py", work / "data" / "train", source)
    for data, target in ((source, work / "dump" / "train"), (work / "data" / "dev", work / "dump" / "dev")):
        sets = ("--output_dir", target)
        planned = command("format_audio.py", "plan", "--data_dir", data, *sets)
        make_up_results(target)
        merged = command("format_audio.py", "merge", *sets)
        again = command("format_audio.py", "plan", "--data_dir", data, *sets)
        if data == source:
            rows["stage 3: plan"], rows["stage 3: merge"] = planned, merged
            rows["stage 3: find it current"] = again
    sets = ("--train_dir", work / "dump" / "train", "--valid_dir", work / "dump" / "dev")
    rows["stage 4: statistics"] = command("collect_stats.py", *sets, "--out", work / "stats")
    rows["stage 4 in plain dicts"] = measure([sys.executable, "-c", PLAIN_STAGE_4, str(sets[1]), str(work)])
    for name, figures in rows.items():
        seconds, cpu, mib = figures
        print(f"{name:28s} {seconds:8.1f} s, {cpu:6.1f} s of a core, {mib:6.0f} MiB")
    size = {"utterances": options.utterances, "perturb": options.perturb}
    with write_whole(options.json) as stream:
        json.dump({**size, **{name: figures._asdict() for name, figures in rows.items()}}, stream, indent=1)
    shutil.rmtree(work)


def make_set(path: Path, utterances: int, languages: int) -> None:
    """Write tables like VoxLingua107's; the files they name are empty and hold a thousand recordings each."""
    rng = np.random.default_rng(0)
    codes = [f"l{i:03d}" for i in range(languages)]
    of_utterance = np.sort(rng.integers(languages, size=utterances)).tolist()
    files = path / "audio"
    files.mkdir(parents=True)
    for number in range(-(-utterances // PER_FILE)):
        (files / f"{number:05d}.ark").touch()
    names = rng.bytes(3 * utterances).hex()
    with open(path / "wav.scp", "w") as wav_scp, open(path / "utt2lang", "w") as utt2lang:
        for i, language in enumerate(of_utterance):
            key = f"{language:03d}_{i:08d}{names[6 * i : 6 * i + 3]}__U__S{i % 97}---0000.000-0010.000"
            wav_scp.write(f"{key} {files}/{i // PER_FILE:05d}.ark:{i % PER_FILE}\n")
            utt2lang.write(f"{key} {codes[language]}\n")


def make_up_results(target: Path) -> None:
    """Do as jobs do, without audio: note results and finish the parts."""
    plan = load_plan(target)
    for part in range(plan.num_parts):
        rows = [
            (utterance.key, f"{plan.audio(part)}:{place}", 160_000, 0)
            for place, utterance in enumerate(plan.utterances(part))
        ]
        with write_whole(plan.result(part)) as stream:
            json.dump(asdict(Result(written=rows)), stream)
        plan.part_step(part).finish([plan.result(part)])


class Figures(NamedTuple):
    """Of one process: seconds, seconds of processor time, largest resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def command(script: str, *arguments: object) -> Figures:
    return measure([sys.executable, str(ROOT / "pyscripts" / script), *map(str, arguments)])


def measure(words: list[str]) -> Figures:
    """Run a process and return its figures."""
    started = time.monotonic()
    process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(words)} ended with exit code {process.returncode}")
    return Figures(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    run(main)
