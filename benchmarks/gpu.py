#!/usr/bin/env python3
"""Speed, memory and waits of training and identification on a GPU; prints a table and writes JSON.

    benchmarks/gpu.py                                    # on an NVIDIA GPU
    benchmarks/gpu.py --count                            # without one: counts only

The models have random weights: ECAPA-TDNN on log-mel features, and encoders of the shapes of XLS-R 300M and
MMS 1B with ECAPA-TDNN on the weighted sum of their layers. "plain" is the same as most people write it
(``gpu_plain``), with DDP's defaults in a group of one process. Both compute in bfloat16, on batches that are
in memory; half of the utterances are a tenth shorter. "of peak" is the share of the speed of a large matrix
product, measured in the same run. "waiting" is the time that training waits for batches that workers read.

``--count`` counts the operations that one step asks of a GPU, on PyTorch's meta device, which computes only
shapes (``gpu_counts``). ESPnet's loop is measured by ``espnet_training.py``, where ESPnet is installed.

Shapes: b batch, t samples.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_plain
import numpy as np
import soundfile
import torch
from gpu_counts import count
from gpu_shapes import CLASSES, RATE, make_training, minibatch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lid_toolkit.cli import OptionParser, non_negative, positive_int, run
from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.samplers import Batch
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.training.loop import timed
from lid_toolkit.training.precision import Precision
from lid_toolkit.training.state import State, Training
from lid_toolkit.training.update import SubBatch, run_update

SHAPES = "ecapa-512,ecapa-1024,xlsr-300m,mms-1b"
WORKS = ("training", "identification")
WARM_UP = 3
PEAK_SIZE = {"cuda": 8192, "cpu": 256}
Step = Callable[[Minibatch], object]


def main(arguments: Sequence[str]) -> None:
    """Measure or count all shapes, and print each of them at once."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--count", action="store_true", help="count operations; needs no GPU")
    parser.add_argument("--shapes", default=SHAPES, help="models")
    parser.add_argument("--seconds", type=non_negative, default=5.0, help="length of the utterances")
    parser.add_argument("--batch_size", type=positive_int, default=16, help="utterances in a batch")
    parser.add_argument("--steps", type=positive_int, default=20, help="steps measured for each row")
    parser.add_argument("--num_workers", type=positive_int, default=4, help="workers that read batches")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/gpu.json"), help="output file")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)  # cpu, in a test of this file
    options = parser.parse_args(arguments)
    shapes = options.shapes.split(",")
    found = counted(shapes) if options.count else measured(shapes, options)
    with write_whole(options.json) as stream:
        json.dump(found, stream, indent=1)


def counted(shapes: Sequence[str]) -> dict[str, Any]:
    """Count the operations of a forward pass and of updates of one and two batches."""
    print(
        f"{'shape':12s}{'step':16s}{'kernels':>9s}{'blocking copies':>17s}{'copies':>8s}{'host reads':>12s}"
    )
    found: dict[str, Any] = {}
    for shape in shapes:
        found[shape] = count(shape, 1) | count(shape, 2)
        for name, row in found[shape].items():
            kernels, blocking, copies, reads = row.values()
            print(f"{shape:12s}{name:16s}{kernels:9d}{blocking:17d}{copies:8d}{reads:12d}", flush=True)
    return found


def measured(shapes: Sequence[str], options: Any) -> dict[str, Any]:
    """Measure training and identification of each shape, ours and plain.

    Raises:
        LidError: there is no GPU.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise LidError("there is no NVIDIA GPU", where="benchmarks/gpu.py", mend="--count needs none")
    device = torch.device(options.device, 0 if options.device == "cuda" else None)
    peak = matmul_peak(device)
    print(f"matmul peak, bfloat16: {peak / 1e12:.1f} TFLOP/s")
    heads = ("audio-s/s", "of peak", "memory GB", "kernels", "syncs", "waiting")
    print("shape       who     work           {:>11s}{:>9s}{:>11s}{:>9s}{:>7s}{:>9s}".format(*heads))
    found: dict[str, Any] = {"peak": peak, "device": str(device), "rows": []}
    for shape in shapes:
        for who, make in (("ours", our_steps), ("plain", gpu_plain.steps)):
            with group_of_one(device) if who == "plain" else contextlib.nullcontext():
                steps = make(shape, device, precision_on(device))
                flops = step_flops(steps[0], options)
                for work, step, share in zip(WORKS, steps, (1, 1 / 3), strict=True):
                    row = {"shape": shape, "who": who, "work": work, **figures(step, device, options)}
                    row["of_peak"] = share * flops / row["seconds"] / peak
                    if (who, work) == ("ours", "training"):
                        row["waiting"] = waiting(shape, device, options)
                    found["rows"].append(row)
                    print(line(row), flush=True)
                del steps, step
            gc.collect()
    return found


def line(row: dict[str, Any]) -> str:
    waited = f"{100 * row['waiting']:8.0f}%" if "waiting" in row else ""
    return (
        f"{row['shape']:12s}{row['who']:8s}{row['work']:15s}{row['audio_s_s']:11.0f}"
        f"{100 * row['of_peak']:8.0f}%{row['memory_gb']:11.2f}{row['kernels']:9d}{row['syncs']:7d}{waited}"
    )


def precision_on(device: torch.device) -> Precision:
    """Return bfloat16 on a GPU, and float32 on a CPU, which may not have instructions for bfloat16."""
    return Precision(torch.bfloat16 if device.type == "cuda" else None)


def our_steps(shape: str, device: torch.device, precision: Precision) -> tuple[Step, Step]:
    """Return a function that trains on a batch and one that identifies it."""
    training, learner = make_training(shape, device, precision)
    state = State()

    def train(batch: Minibatch) -> object:
        learner.model.train()
        update = SubBatch(0, 1, len(batch.rows_b))
        return run_update(training, learner, state, update, iter([batch]), [0.0, 0.0])

    def identify(batch: Minibatch) -> object:
        learner.model.eval()
        with precision.autocast(device):
            scores_bc, _ = learner.model.identify(
                batch.wave_bt.to(device, non_blocking=True), batch.lengths_b
            )
        return scores_bc.float().cpu()

    return train, identify


def step_flops(train: Step, options: Any) -> int:
    """Return the operations of a training step, of which a forward pass is a third."""
    with FlopCounterMode(display=False) as counter:
        train(minibatch(options.batch_size, options.seconds))
    flops: int = counter.get_total_flops()
    return flops


def figures(step: Step, device: torch.device, options: Any) -> dict[str, Any]:
    """Return the speed, the memory and the counts of a step."""
    batches = [minibatch(options.batch_size, options.seconds, seed) for seed in range(2)]
    if device.type == "cuda":
        batches = [pinned(batch) for batch in batches]
        torch.cuda.reset_peak_memory_stats()
    for number in range(WARM_UP):
        step(batches[number % 2])
    finish(device)
    started = time.perf_counter()
    for number in range(options.steps):
        step(batches[number % 2])
    finish(device)
    seconds = (time.perf_counter() - started) / options.steps
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {
        "seconds": seconds,
        "audio_s_s": batches[0].samples / RATE / seconds,
        "memory_gb": memory,
        "kernels": kernels(step, batches[0], device),
        "syncs": synchronisations(step, batches[0], device),
    }


def pinned(batch: Minibatch) -> Minibatch:
    names = ("wave_bt", "lengths_b", "labels_b")
    return batch._replace(**{name: getattr(batch, name).pin_memory() for name in names})


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def kernels(step: Step, batch: Minibatch, device: torch.device) -> int:
    """Return the number of kernels and copies on the GPU in a step; 0 on a CPU."""
    if device.type != "cuda":
        step(batch)
        return 0
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        step(batch)
        torch.cuda.synchronize()
    return sum(event.device_type is torch.autograd.DeviceType.CUDA for event in profiler.events())


def synchronisations(step: Step, batch: Minibatch, device: torch.device) -> int:
    """Return how often the host waits for the GPU in a step, by PyTorch's own warnings; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in seen)


def waiting(shape: str, device: torch.device, options: Any) -> float:
    """Return the share of the time that training waits for data, read from files of 16 bits by workers."""
    bare, learner = make_training(shape, device, precision_on(device))
    state, size = State(), options.batch_size
    config = bare.config.model_copy(update={"num_workers": options.num_workers})
    with tempfile.TemporaryDirectory() as folder:
        utterances = noise_set(Path(folder), size, options.seconds)
        training: Training = replace(bare, config=config, train=utterances, valid=utterances)
        batches = [Batch(np.arange(size)) for _ in range(WARM_UP + options.steps)]
        minibatches = timed(training.minibatches(utterances, batches), state)
        for number in range(len(batches)):
            if number == WARM_UP:
                started, state.sums = time.perf_counter(), {}
            run_update(training, learner, state, SubBatch(number, 1, size), minibatches, [0.0, 0.0])
        seconds = time.perf_counter() - started
        waited = state.sums["waited"]
        next(minibatches, None)
    return waited / seconds


def noise_set(folder: Path, size: int, seconds: float) -> Utterances:
    """Write recordings of noise, and return them as a set."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:04d}.wav" for number in range(size)]
    samples = round(seconds * RATE)
    for path in paths:
        soundfile.write(path, rng.normal(scale=0.1, size=samples), RATE, subtype="PCM_16")
    write_table(folder / "wav.scp", ((path.stem, str(path)) for path in paths))
    return Utterances(
        read_table(folder / "wav.scp"), np.arange(size) % CLASSES, np.full(size, samples, dtype=np.int64)
    )


@contextlib.contextmanager
def group_of_one(device: torch.device) -> Iterator[None]:
    """Make this process a group of its own, as DDP needs one."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def matmul_peak(device: torch.device) -> float:
    """Return the FLOP per second of a large square matrix product in bfloat16."""
    size = PEAK_SIZE[device.type]
    a, b = torch.randn(2, size, size, device=device).bfloat16().unbind()
    times = []
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        finish(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


if __name__ == "__main__":
    run(main)
