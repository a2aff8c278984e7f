#!/usr/bin/env python3
"""Speed of each part of training and identification; prints a table and writes JSON.

    benchmarks/throughput.py --config conf/prompts_ecapa.yaml --data_dir dump/prompts/raw/train_prompts

Speeds are audio-seconds per second of CPU time on one core, so other work on the machine hardly affects
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.data.loader import Minibatch, MinibatchReader
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_model
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.config import TrainConfig, load_config
from lid_toolkit.training.precision import Precision

CPU = torch.device("cpu")


def main(arguments: Sequence[str]) -> None:
    """Measure every part on batches of real speech."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set with utt2lang")
    parser.add_argument("--batches", type=positive_int, default=5, help="batches measured for each part")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/throughput.json"), help="output file"
    )
    options, overrides = parser.parse_known_args(arguments)
    torch.set_num_threads(1)
    config = load_config(options.config, overrides)
    rows = measure(config, load_set(options.data_dir), options.batches)
    for name, rate in rows.items():
        print(f"{name:48s} {rate:9.1f} audio-s/s")
    with write_whole(options.json) as stream:
        json.dump({"config": str(options.config), "overrides": overrides, "rates": rows}, stream, indent=1)


def load_set(data_dir: Path) -> Utterances:
    labels, lengths = read_table(data_dir / "utt2lang"), read_table(data_dir / "utt2num_samples")
    return Utterances(read_table(data_dir / "wav.scp"), labels.codes()[1], lengths.integers())


def measure(config: TrainConfig, utterances: Utterances, count: int) -> dict[str, float]:
    conf = config.preprocessor_conf
    batches = build_sampler(config.model_copy(update={"num_iters_per_epoch": count}), utterances).epoch(1)
    plain = PreprocessorConf(target_duration=conf.target_duration, sample_rate=conf.sample_rate)
    augmenting = MinibatchReader(utterances, batches, conf, conf.sample_rate)
    reading = MinibatchReader(utterances, batches, plain, conf.sample_rate)
    crops = [reading[i] for i in range(count)]
    whole_batches = sorted_batches(utterances.lengths_u, 60 * conf.sample_rate, 8)
    middle = len(whole_batches) // 2
    whole_reader = MinibatchReader(utterances, whole_batches[middle:], plain, conf.sample_rate)
    whole = [whole_reader[i] for i in range(count)]
    singles = [one(batch, 0) for batch in whole]
    model = build_model(config.model_description(), int(utterances.labels_u.max()) + 1)
    rows = {
        "read a crop": rate(conf, crops, lambda i: reading[i]),
        "read and augment a crop": rate(conf, crops, lambda i: augmenting[i]),
    }
    for name, precision in (("float32", Precision()), ("bfloat16", Precision(torch.bfloat16))):
        rows[f"training step, {name}"] = rate(
            conf, crops, lambda i, p=precision: forward_backward(model.train(), crops[i], p)
        )
    model.eval()
    rows["identification, float32, batches of 8"] = rate(conf, whole, lambda i: identify(model, whole[i]))
    rows["identification, float32, one at a time"] = rate(
        conf, singles, lambda i: identify(model, singles[i])
    )
    return rows


def one(batch: Minibatch, row: int) -> Minibatch:
    length = batch.lengths_b[row : row + 1]
    wave_bt = batch.wave_bt[row : row + 1, : int(length)]
    return Minibatch(wave_bt, length, batch.labels_b[row : row + 1], batch.rows_b[row : row + 1], [])


def forward_backward(model: LidModel, batch: Minibatch, precision: Precision) -> None:
    with precision.autocast(CPU):
        loss = model(batch.wave_bt, batch.lengths_b, batch.labels_b).loss
    loss.backward()
    model.zero_grad()


def identify(model: LidModel, batch: Minibatch) -> None:
    model.identify(batch.wave_bt, batch.lengths_b)


def rate(conf: PreprocessorConf, batches: Sequence[Minibatch], work: Callable[[int], object]) -> float:
    """Return audio-seconds per second of CPU time, after one warm-up round."""
    for i in range(len(batches)):
        work(i)
    started = time.process_time()
    for i in range(len(batches)):
        work(i)
    seconds = time.process_time() - started
    return float(np.sum([int(batch.lengths_b.sum()) for batch in batches]) / conf.sample_rate / seconds)


if __name__ == "__main__":
    run(main)
