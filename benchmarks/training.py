#!/usr/bin/env python3
"""Speed of stage 5, and the time of each of its parts; prints a table and writes JSON.

    benchmarks/training.py --train_dir dump/prompts/raw/train_prompts \
        --valid_dir dump/prompts/raw/dev_prompts --stats_dir exp/prompts/lid_stats_16k

ECAPA-TDNN 512 on log-mel features, with whole utterances and with 3 s crops, in float32 and with bfloat16
autocast. Padding does not count as speech. "stage 5" is the whole command, including start-up and validation;
"its loop" is the updates only. The parts are measured separately, as CPU seconds on one core for 100 s of
speech, which other work on the machine hardly affects. In training, reading and augmenting run in other
processes while the model computes, so the loop takes about as long as the slower of the two.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.data.loader import Minibatch, MinibatchReader
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.state import Training
from lid_toolkit.training.train import Sources, gather_training, make_learner
from lid_toolkit.training.update import step_optimizer

ROOT = Path(__file__).resolve().parents[1]
CONFIG: Mapping[str, Any] = {
    "frontend": "default",
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "loss": "aamsoftmax_sc_topk",
    "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80},
    "encoder_conf": {"model_scale": 8, "ndim": 512, "output_size": 1536},
    "projector_conf": {"output_size": 192},
    "preprocessor_conf": {"noise_apply_prob": 0.5, "volume_apply_prob": 0.5},
    "batch_bins": 960000,
    "max_epoch": 1,
    "optim_conf": {"lr": 1e-3},
    "keep_nbest_models": 1,
    "use_matplotlib": False,
    "use_tensorboard": False,
}


def main(arguments: Sequence[str]) -> None:
    """Measure whole utterances and crops in each number format."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--train_dir", type=Path, required=True, help="formatted training set")
    parser.add_argument("--valid_dir", type=Path, required=True, help="formatted validation set")
    parser.add_argument("--stats_dir", type=Path, required=True, help="output directory of stage 4")
    parser.add_argument("--batches", type=positive_int, default=40, help="batches in the run of stage 5")
    parser.add_argument("--parts", type=positive_int, default=4, help="batches measured for each part")
    parser.add_argument("--num_workers", type=positive_int, default=1, help="worker processes")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/training.json"), help="output file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures = {}
    for crops, amp in itertools.product((False, True), (False, True)):
        name = f"{'3 s crops' if crops else 'whole utterances'}, {'bfloat16' if amp else 'float32'}"
        figures[name] = measure(configured(crops, amp, options), options)
        print(name)
        for row, value in figures[name].items():
            print(f"  {row:38s} {value:9.2f}", flush=True)
    with write_whole(options.json) as stream:
        json.dump({"cores": len(os.sched_getaffinity(0)), "figures": figures}, stream, indent=1)


def configured(crops: bool, amp: bool, options: Any) -> dict[str, Any]:
    """Return the training configuration of one measurement."""
    preprocessor = {**CONFIG["preprocessor_conf"], "fix_duration": crops}
    changes = {"use_amp": amp, "num_workers": options.num_workers, "num_iters_per_epoch": options.batches}
    return {**CONFIG, **changes, "preprocessor_conf": preprocessor}


def measure(raw: dict[str, Any], options: Any) -> dict[str, float]:
    """Run stage 5 and measure its parts."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = Sources(options.train_dir, options.valid_dir, options.stats_dir, Path(scratch) / "exp")
        figures = whole_stage(raw, sources)
        apart = replace(sources, output_dir=Path(scratch) / "apart")
        training = gather_training(parse_config(raw, "benchmark"), apart, World(), 1e9, {})
        return figures | parts(training, apart, options.parts)


def whole_stage(raw: dict[str, Any], sources: Sources) -> dict[str, float]:
    """Run the command of stage 5; return its speed, and the percentage of time spent waiting for data."""
    config = sources.output_dir.parent / "train.yaml"
    config.write_text(yaml.safe_dump(raw))
    command = [sys.executable, str(ROOT / "pyscripts" / "train.py"), "--config", str(config), "--ngpu", "0"]
    for name in ("train_dir", "valid_dir", "stats_dir", "output_dir"):
        command += [f"--{name}", str(getattr(sources, name))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise LidError(f"stage 5 failed: {done.stderr.splitlines()[-1]}", where="benchmark")
    wall_s, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    epoch = json.loads((sources.output_dir / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "stage 5: audio-s/s": epoch["audio_s"] / wall_s,
        "stage 5: audio-s per processor-s": epoch["audio_s"] / processor_s,
        "its loop: audio-s/s": epoch["audio_s"] / epoch["seconds"],
        "its loop: % waiting for data": 100 * epoch["waited_s"] / epoch["seconds"],
    }


def parts(training: Training, sources: Sources, count: int) -> dict[str, float]:
    """Return the CPU time of each part of an update, in seconds for 100 s of speech."""
    conf = training.config.preprocessor_conf
    plain = conf.model_copy(update={"noise_apply_prob": 0.0, "volume_apply_prob": 0.0})
    batches = training.sampler.epoch(1)[:count]
    readers = [MinibatchReader(training.train, batches, c, conf.sample_rate) for c in (plain, conf)]
    loaded = [readers[1][number] for number in range(count)]
    learner, state = make_learner(training, sources.stats_dir)

    def front_end(batch: Minibatch) -> None:
        with torch.no_grad():
            learner.model.frontend(batch.wave_bt, batch.lengths_b)

    def forward_backward(batch: Minibatch) -> None:
        learner.optimizer.zero_grad()
        with training.precision.autocast(training.world.device):
            loss = learner.model(batch.wave_bt, batch.lengths_b, batch.labels_b).loss
        torch.autograd.backward(loss)

    speech_s = sum(int(batch.lengths_b.sum()) for batch in loaded) / conf.sample_rate
    reading, augmenting = (seconds(reader.__getitem__, range(count)) for reader in readers)
    front, model = (seconds(work, loaded) for work in (front_end, forward_backward))
    optimizer = 0.0
    for batch in loaded:
        forward_backward(batch)
        optimizer += seconds(
            lambda _: step_optimizer(training, learner, state, finite=True), [batch], warm=False
        )
    rows = {
        "reading": reading,
        "augmenting": augmenting - reading,
        "front end": front,
        "model, forward and backward": model - front,
        "optimizer": optimizer,
    }
    return {f"{name}: s for 100 s": 100 * value / speech_s for name, value in rows.items()}


def seconds(work: Callable[[Any], object], items: Sequence[Any], warm: bool = True) -> float:
    """Return the CPU time of the work on all items in seconds, after a warm-up with the first item."""
    if warm:
        work(items[0])
    started = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - started


if __name__ == "__main__":
    run(main)
