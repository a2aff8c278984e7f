"""A training of seconds: a tiny model on beeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from data.corpus import write_set, write_stats

from lid_toolkit.training import update
from lid_toolkit.training.config import load_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.train import train

ROOT = Path(__file__).resolve().parents[2]
CONFIG: dict[str, Any] = {
    "frontend": "default",
    "frontend_conf": {"n_mels": 20, "hop_length": 256},
    "specaug": "specaug",
    "specaug_conf": {"apply_time_warp": False, "freq_mask_width_range": 3, "time_mask_width_range": 4},
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "aamsoftmax_sc_topk",
    "preprocessor_conf": {"target_duration": [0.2, 0.3], "noise_apply_prob": 0.5},
    "batch_bins": 32000,
    "num_iters_per_epoch": 8,
    "max_epoch": 4,
    "optim": "adam",
    "optim_conf": {"lr": 0.005},
    "scheduler": "tristagelr",
    "scheduler_conf": {"max_steps": 32},
    "keep_nbest_models": 2,
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
}


def write_experiment(directory: Path, **changes: Any) -> Path:
    """Write data, statistics and configuration under ``directory``."""
    train = write_set(directory / "train", 24, seed=1)
    valid = write_set(directory / "valid", 9, seed=2)
    write_stats(directory / "stats", train, valid)
    write_config(directory, **changes)
    return directory


def write_config(directory: Path, **changes: Any) -> None:
    (directory / "train.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))


def arguments(directory: Path, out: str, *more: str) -> list[str]:
    """Return the words of a stage 5 command."""
    return [
        *("--config", str(directory / "train.yaml")),
        *("--train_dir", str(directory / "train"), "--valid_dir", str(directory / "valid")),
        *("--stats_dir", str(directory / "stats"), "--output_dir", str(directory / out)),
        *("--ngpu", "0", *more),
    ]


def start(script: str, words: list[str]) -> subprocess.Popen[str]:
    """Start a stage's command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, str(ROOT / "pyscripts" / script), *words]
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a command has started."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, output and messages of a command."""
    output, messages = process.communicate(timeout=300)
    return process.returncode, output, messages


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, weights_only=True)["model"])


def same(one: Path, other: Path) -> bool:
    """Return whether two model files hold the same weights, bit for bit."""
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def run(directory, out="exp", interval_s=1e9, *words):
    teacher = directory / "teacher"
    sources = Sources(
        directory / "train",
        directory / "valid",
        directory / "stats",
        directory / out,
        teacher if teacher.exists() else None,
    )
    train(load_config(directory / "train.yaml", words), sources, World(), interval_s)
    return directory / out


class StoppedError(Exception):
    """Raised instead of a kill."""


def run_stopped(directory: Path, out: str, batches: int) -> None:
    """Begin a training, stop it after some batches, and run it again to its end."""
    original, seen = update.add_gradient, []

    def stopping(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == batches + 1:
            raise StoppedError
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "add_gradient", stopping)
        with pytest.raises(StoppedError):
            run(directory, out, interval_s=0.0)
    run(directory, out)


def epochs(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def untimed(history):
    return [{k: v for k, v in epoch.items() if k not in ("seconds", "waited_s")} for epoch in history]
