"""Stages 3 and 4 without the audio: plan, merge, collect statistics; used by data.py.

The audio is not formatted; the results of the jobs are synthetic. The last row is the work of stage 4 with
plain dictionaries.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from processes import Figures, python

from lid_toolkit.files import write_whole
from lid_toolkit.prepare.formatting.job import PartResult
from lid_toolkit.prepare.formatting.plan import load_plan

LANGUAGES = 107
PER_FILE = 1000


def figures(work: Path, utterances: int) -> dict[str, Figures]:
    """Make data directories, run the commands on them, and return time and memory of each command."""
    train, dev = work / "data" / "train", work / "data" / "dev"
    make_set(train, utterances)
    make_set(dev, 20 * LANGUAGES)
    rows = format_set(train, work / "dump" / "train")
    format_set(dev, work / "dump" / "dev")
    sets = ("--train_dir", work / "dump" / "train", "--valid_dir", work / "dump" / "dev")
    rows["stage 4: statistics"] = python("pyscripts/collect_stats.py", *sets, "--out", work / "stats")
    rows["the same in dicts"] = python(
        "benchmarks/statistics_dicts.py", work / "dump" / "train", work / "dicts"
    )
    return rows


def format_set(source: Path, target: Path) -> dict[str, Figures]:
    plan = ("pyscripts/format_audio.py", "plan", "--data_dir", source, "--output_dir", target)
    rows = {"stage 3: plan": python(*plan)}
    make_up_results(target)
    rows["stage 3: merge"] = python("pyscripts/format_audio.py", "merge", "--output_dir", target)
    rows["stage 3: find it current"] = python(*plan)
    return rows


def make_set(path: Path, utterances: int) -> None:
    """Write tables like VoxLingua107's; they refer to empty files, as archives of 1,000 recordings each."""
    rng = np.random.default_rng(0)
    of_utterance = np.sort(rng.integers(LANGUAGES, size=utterances)).tolist()
    names = rng.bytes(3 * utterances).hex()
    files = path / "audio"
    files.mkdir(parents=True)
    for number in range(-(-utterances // PER_FILE)):
        (files / f"{number:05d}.ark").touch()
    with open(path / "wav.scp", "w") as wav_scp, open(path / "utt2lang", "w") as utt2lang:
        for i, language in enumerate(of_utterance):
            key = f"l{language:03d}_{i:08d}{names[6 * i : 6 * i + 3]}__U__S{i % 97}---0000.000-0010.000"
            wav_scp.write(f"{key} {files}/{i // PER_FILE:05d}.ark:{i % PER_FILE}\n")
            utt2lang.write(f"{key} l{language:03d}\n")


def make_up_results(target: Path) -> None:
    """Write results as the jobs do, but without audio, and finish the parts."""
    plan = load_plan(target)
    for part in range(plan.num_parts):
        rows = [
            (utterance.key, f"{plan.audio(part)}:{place}", 160_000, 0)
            for place, utterance in enumerate(plan.utterances(part))
        ]
        with write_whole(plan.result(part)) as stream:
            json.dump(asdict(PartResult(written=rows)), stream)
        with plan.part_step(part).work("making up results", lock=None) as work:
            if work is not None:
                work.finish([plan.result(part)])
