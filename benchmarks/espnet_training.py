#!/usr/bin/env python3
"""Compare stage 5 to ESPnet's, on the same core, data and model; prints a table and writes JSON.

    benchmarks/espnet_training.py --espnet_python espnet/bin/python \
        --train_dir dump/prompts/raw/train_prompts --valid_dir dump/prompts/raw/dev_prompts \
        --stats_dir exp/prompts/lid_stats_16k

``--espnet_python`` is a Python with ``espnet==202511`` and ``numpy<2.4`` (its crops fail with later ones).
Both train ECAPA-TDNN 512 on log-mel features, with catpow batches of at most ``batch_bins`` samples and one
worker process. All processes are pinned to one core, and the toolkits run alternately. The speed is the
duration of the speech, without padding, per second of wall time from the first update to the last. It
includes reading, waiting, computing and the optimizer, but neither start-up nor validation.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from processes import ROOT
from settings import ECAPA_512

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

SHARED: dict[str, Any] = {
    **ECAPA_512,
    "preprocessor": "lid",
    "batch_type": "catpow",
    "category_upsampling_factor": 0.5,
    "max_epoch": 1,
    "optim": "adam",
    "optim_conf": {"lr": 1e-3},
    "keep_nbest_models": 1,
    "num_workers": 1,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "log_interval": 10,
}
RATE = 16000


def main(arguments: Sequence[str]) -> None:
    """Train with ESPnet and the toolkit alternately, with whole utterances and with crops."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--espnet_python", type=Path, required=True, help="Python with ESPnet installed")
    parser.add_argument("--train_dir", type=Path, required=True, help="formatted training set")
    parser.add_argument("--valid_dir", type=Path, required=True, help="formatted validation set")
    parser.add_argument("--stats_dir", type=Path, required=True, help="output directory of stage 4")
    parser.add_argument("--updates", type=positive_int, default=20, help="updates of each training")
    parser.add_argument("--rounds", type=positive_int, default=2, help="rounds; the fastest counts")
    parser.add_argument("--batch_bins", type=positive_int, default=640000, help="samples in a batch")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="core to use")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/espnet_training.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    rows = []
    heads = ("ESPnet", "padding", "float32", "bfloat16", "padding")
    print("speech".ljust(18) + "".join(f"{head:>9s}" for head in heads) + "   audio-s/s")
    for crops in (False, True):
        turns = [one_round(crops, options) for _ in range(options.rounds)]
        row = {name: max(turn[name] for turn in turns) for name in turns[0]}
        rows.append({"crops": crops, **row})
        print(
            f"{'3 s crops' if crops else 'whole utterances':18s}{row['espnet']:9.1f}"
            f"{100 * row['espnet_padding']:8.0f}%{row['float32']:9.1f}{row['bfloat16']:9.1f}"
            f"{100 * row['padding']:8.0f}%   x {row['float32'] / row['espnet']:.2f}, "
            f"{row['bfloat16'] / row['espnet']:.2f}",
            flush=True,
        )
    with write_whole(options.json) as stream:
        json.dump(rows, stream, indent=1)


def one_round(crops: bool, options: Any) -> dict[str, float]:
    """Train once with each toolkit; return the speeds and proportions of padding."""
    conf = {
        **SHARED,
        "preprocessor_conf": {"fix_duration": crops, "target_duration": 3.0},
        "batch_bins": options.batch_bins,
        "num_iters_per_epoch": options.updates,
    }
    figures = dict(zip(("espnet", "espnet_padding"), espnet(conf, options), strict=True))
    for name, amp in (("float32", False), ("bfloat16", True)):
        figures[name], figures["padding"] = ours({**conf, "use_amp": amp}, options)
    return figures


def espnet(conf: dict[str, Any], options: Any) -> tuple[float, float]:
    """Train with ESPnet; return audio-seconds per second and the proportion of padding."""
    words = data_words(options.train_dir, options.valid_dir, options.stats_dir)
    with tempfile.TemporaryDirectory() as scratch:
        notes, directory = Path(scratch) / "notes", Path(scratch) / "exp"
        config = write_config({**conf, "target_duration": 3.0}, Path(scratch))
        command = [options.espnet_python, ROOT / "benchmarks" / "peers" / "espnet_train.py", notes]
        pinned(
            [*command, "--config", config, "--output_dir", directory, *words],
            options.core,
            {"PYTHONPATH": ""},
        )
        seen = json.loads(notes.read_text())
    speech, padded = (sum(batch[place] for batch in seen[:-1]) for place in (1, 2))
    return speech / RATE / (seen[-1][0] - seen[0][0]), 1 - speech / padded


def data_words(train: Path, valid: Path, stats_dir: Path) -> list[str]:
    """Return the options of ESPnet's training for two formatted sets and the output of our stage 4."""
    words = ["--ngpu", "0", "--use_preprocessor", "true", "--valid_iterator_type", "category"]
    words += ["--iterator_type", "category", "--lang2utt", str(train / "lang2utt")]
    words += ["--lang_num", str(len((train / "lang2utt").read_text().splitlines()))]
    for name, directory in (("train", train), ("valid", valid)):
        for table, kind in (("wav.scp,speech", "sound"), ("utt2lang,lid_labels", "text")):
            words += [f"--{name}_data_path_and_name_and_type", f"{directory}/{table},{kind}"]
        words += [f"--{name}_shape_file", str(stats_dir / name / "speech_shape")]
    return words


def ours(conf: dict[str, Any], options: Any) -> tuple[float, float]:
    """Run stage 5; return audio-seconds per second and the proportion of padding."""
    with tempfile.TemporaryDirectory() as scratch:
        config, directory = write_config(conf, Path(scratch)), Path(scratch) / "exp"
        command = [sys.executable, ROOT / "pyscripts" / "train.py", "--config", config, "--ngpu", "0"]
        for name in ("train_dir", "valid_dir", "stats_dir"):
            command += [f"--{name}", getattr(options, name)]
        pinned([*command, "--output_dir", directory], options.core, {"PYTHONPATH": str(ROOT)})
        epoch = json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])
        log = (directory / "train.log").read_text()
    padding = re.findall(r"([\d.]+) % padding", log)
    return epoch["audio_s"] / epoch["seconds"], float(padding[0]) / 100


def write_config(conf: dict[str, Any], directory: Path) -> Path:
    config = directory / "train.yaml"
    config.write_text(yaml.safe_dump(conf))
    return config


def pinned(command: Sequence[object], core: int, variables: dict[str, str]) -> None:
    """Run a command, and the processes that it starts, on one core.

    Raises:
        LidError: the command failed.
    """
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1"}
    words = ["taskset", "--cpu-list", str(core), *map(str, command)]
    done = subprocess.run(words, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        raise LidError(last, where=str(command[1]), mend="check that its Python has the required packages")


if __name__ == "__main__":
    run(main)
