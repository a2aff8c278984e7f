#!/usr/bin/env python3
"""Time, memory and padding of the batches of an epoch, for every batch type; prints a table, writes JSON.

    benchmarks/samplers.py --utterances 2500000 --languages 107

Each type is measured in a separate process: the CPU time from the arrays of labels and lengths to the batches
of an epoch, the memory used in addition to these arrays, and the proportions of padding and of unused
``batch_bins``. Durations are log-normal with a median of 8 s, limited to 1 to 20 s.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.data.samplers import Sampler
from lid_toolkit.data.sampling import BY_BATCH_SIZE, LAWS, Corpus
from lid_toolkit.files import write_whole

RATE = 16000
DATASETS = 5


def main(arguments: Sequence[str]) -> None:
    """Measure every batch type, with whole utterances and with crops."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--utterances", type=positive_int, default=2_500_000, help="size of the corpus")
    parser.add_argument("--languages", type=positive_int, default=107, help="number of languages")
    parser.add_argument("--batch_bins", type=positive_int, default=2_880_000, help="samples in a batch")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/samplers.json"), help="output file")
    options = parser.parse_args(arguments)
    rows = []
    print(
        f"{'type':24s} {'crop':>8s} {'law s':>6s} {'epoch s':>8s} {'MB':>5s} {'batches':>8s} padding unused"
    )
    for name in LAWS:
        for crop_s in (None, (2.0, 4.0)):
            task = (name, crop_s, options.utterances, options.languages, options.batch_bins)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(measure, task)
            rows.append(row)
            crop = "whole" if crop_s is None else "{:g}-{:g} s".format(*crop_s)
            print(
                f"{name:24s} {crop:>8s} {row['law_s']:6.2f} {row['epoch_s']:8.2f} {row['megabytes']:5.0f} "
                f"{row['batches']:8d} {100 * row['padding']:6.2f}% {100 * row['unused']:5.1f}%",
                flush=True,
            )
    with write_whole(options.json) as stream:
        json.dump({"utterances": options.utterances, "languages": options.languages, "rows": rows}, stream)


def measure(
    name: str, crop_s: tuple[float, float] | None, utterances: int, languages: int, batch_bins: int
) -> dict[str, object]:
    rng = np.random.default_rng(0)
    lengths = (np.clip(rng.lognormal(np.log(8), 0.6, utterances), 1, 20) * RATE).astype(np.int64)
    shares = rng.lognormal(0, 1, languages)
    labels = rng.choice(languages, utterances, p=shares / shares.sum()).astype(np.int32)
    datasets = rng.integers(DATASETS, size=utterances, dtype=np.int32)
    before = peak_megabytes()
    started = time.process_time()
    law = LAWS[name](Corpus(labels, lengths, datasets))
    law_s = time.process_time() - started
    sampler = Sampler(
        law,
        lengths,
        batch_bins,
        most=20 if name in BY_BATCH_SIZE else None,
        crop_range=None if crop_s is None else (round(crop_s[0] * RATE), round(crop_s[1] * RATE)),
        draws=utterances,
    )
    started = time.process_time()
    batches = sampler.epoch(2)
    epoch_s, megabytes = time.process_time() - started, peak_megabytes() - before
    padded = batches.crops_b @ batches.sizes_b() if batches.crops_b is not None else 0
    return {
        "type": name,
        "crop_s": crop_s,
        "law_s": law_s,
        "epoch_s": epoch_s,
        "megabytes": megabytes,
        "batches": len(batches),
        "padding": batches.padding(lengths),
        "unused": 1 - float(padded) / (batch_bins * len(batches)),
    }


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    run(main)
