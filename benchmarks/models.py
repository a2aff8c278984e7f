#!/usr/bin/env python3
"""Compare ECAPA-TDNN to a textbook implementation and to matrix products; prints a table and writes JSON.

    benchmarks/models.py [--device cuda] [--channels 512,1024] [--seconds 3] [--batch_size 16]

Encoder and pooling are measured on 80-dimensional features with 100 frames per second. Ours uses masks: half
of the utterances are one frame shorter than the batch. The textbook implementation follows the paper of
ECAPA-TDNN, concatenates the output of each Res2Net stage to the previous ones, and has no masks. On a CPU,
times are CPU times, and the peak memory is that of the process. Each row is measured in a separate process.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lid_toolkit.cli import OptionParser, non_negative, positive_int, run
from lid_toolkit.files import write_whole
from lid_toolkit.models.encoders.ecapa_tdnn import EcapaTdnnEncoder
from lid_toolkit.models.poolings import ChannelAttentiveStatistics

DIMENSION, FRAMES_A_SECOND = 80, 100
ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """The conditions of one row of the table."""

    model: str
    channels: int
    how: str
    backward: bool
    device: str
    seconds: float
    batch_size: int
    threads: int


class TextbookBlock(nn.Module):
    """SE-Res2Net block as in figure 2 of the paper, without masks."""

    def __init__(self, channels: int, dilation: int, scale: int = 8) -> None:
        super().__init__()
        width = channels // scale
        self.width = width
        self.before = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation),
                nn.ReLU(),
                nn.BatchNorm1d(width),
            )
            for _ in range(scale - 1)
        )
        self.after = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool1d(1),
            nn.Conv1d(channels, 128, 1),
            nn.ReLU(),
            nn.BatchNorm1d(128),
            nn.Conv1d(128, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x_bct: Tensor) -> Tensor:
        parts = torch.split(self.before(x_bct), self.width, dim=1)
        joined = stage = self.stages[0](parts[0])
        for number in range(1, len(self.stages)):
            stage = self.stages[number](parts[number] + stage)
            joined = torch.cat((joined, stage), dim=1)
        y_bct = self.after(torch.cat((joined, parts[-1]), dim=1))
        return x_bct + y_bct * self.gate(y_bct)


class Textbook(nn.Module):
    """ECAPA-TDNN with attentive statistics pooling, without masks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv1d(DIMENSION, channels, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(channels)
        )
        self.blocks = nn.ModuleList(TextbookBlock(channels, dilation) for dilation in (2, 3, 4))
        self.last = nn.Sequential(nn.Conv1d(3 * channels, 1536, 1), nn.ReLU())
        self.attention = nn.Sequential(
            nn.Conv1d(3 * 1536, 128, 1),
            nn.ReLU(),
            nn.BatchNorm1d(128),
            nn.Conv1d(128, 1536, 1),
            nn.Softmax(2),
        )

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        del lengths_b
        x_bct = self.first(feats_btd.transpose(1, 2))
        outputs: list[Tensor] = []
        for block in self.blocks:
            outputs.append(block(x_bct + sum(outputs)))
        h_bct = self.last(torch.cat(outputs, dim=1))
        mean_bc1, deviation_bc1 = h_bct.mean(2, keepdim=True), h_bct.std(2, keepdim=True)
        context = torch.cat((h_bct, mean_bc1.expand_as(h_bct), deviation_bc1.expand_as(h_bct)), dim=1)
        weights_bct = self.attention(context)
        mean_bc = (weights_bct * h_bct).sum(2)
        variance_bc = (weights_bct * h_bct.square()).sum(2) - mean_bc.square()
        return torch.cat((mean_bc, variance_bc.clamp(min=1e-4).sqrt()), dim=1)


class Ours(nn.Module):
    """The toolkit's encoder and pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = EcapaTdnnEncoder(DIMENSION, ndim=channels)
        self.pooling = ChannelAttentiveStatistics(self.encoder.output_size)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        pooled_bp: Tensor = self.pooling(*self.encoder(feats_btd, lengths_b))
        return pooled_bp


def main(arguments: Sequence[str]) -> None:
    """Measure all rows, and print each of them at once."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device")
    parser.add_argument("--channels", default="512,1024", help="channels of the blocks")
    parser.add_argument("--seconds", type=non_negative, default=3.0, help="length of the utterances")
    parser.add_argument("--batch_size", type=positive_int, default=16, help="utterances in a batch")
    parser.add_argument("--threads", type=positive_int, default=1, help="threads on a CPU")
    parser.add_argument(
        "--hows",
        default="float32,bfloat16,compiled,compiled bfloat16",
        help="number formats, compiled or not",
    )
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/models.json"), help="output file")
    options = parser.parse_args(arguments)
    device = options.device
    peaks = alone(measure_peaks, device, options.threads)
    for how, peak in peaks.items():
        print(f"matmul peak, {how}: {peak / 1e9:.0f} GFLOP/s")
    heads = ("channels", "how", "pass", "audio-s/s", "of peak", "memory MB")
    print("model     {:>9s}  {:20s}{:18s}{:>10s}{:>9s}{:>11s}".format(*heads))
    rows: list[dict[str, Any]] = []
    for channels in map(int, options.channels.split(",")):
        for how in options.hows.split(","):
            for backward in (False, True):
                for model in ("textbook", "ours"):
                    case = Case(
                        model,
                        channels,
                        how,
                        backward,
                        device,
                        options.seconds,
                        options.batch_size,
                        options.threads,
                    )
                    rows.append({**asdict(case), **alone(measure, case)})
                    print(line(rows[-1], peaks), flush=True)
    with write_whole(options.json) as stream:
        json.dump({"peaks": peaks, "rows": rows}, stream, indent=1)


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that its peak memory is measured separately."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def line(row: dict[str, Any], peaks: dict[str, float]) -> str:
    way = "forward, backward" if row["backward"] else "forward"
    share = row["flop_s"] / peaks["bfloat16" if "bfloat16" in row["how"] else "float32"]
    return (
        f"{row['model']:10s}{row['channels']:9d}  {row['how']:20s}{way:18s}"
        f"{row['audio_s_s']:10.1f}{100 * share:8.0f}%{row['memory_mb']:11.0f}"
    )


def measure(case: Case) -> dict[str, float]:
    """Return audio-seconds per second, useful FLOP per second and peak memory of one case."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    device = torch.device(case.device)
    model = (Ours if case.model == "ours" else Textbook)(case.channels).to(device)
    model.train(case.backward)
    frames = round(FRAMES_A_SECOND * case.seconds)
    feats_btd = torch.randn(case.batch_size, frames, DIMENSION, device=device)
    lengths_b = torch.full((case.batch_size,), frames)
    if case.model == "ours":
        lengths_b[case.batch_size // 2 :] -= 1
    narrow = torch.autocast(case.device, torch.bfloat16, enabled="bfloat16" in case.how)
    forward = torch.compile(model) if "compiled" in case.how else model

    def work(module: Callable[..., Tensor]) -> None:
        with torch.set_grad_enabled(case.backward):
            with narrow:
                pooled_bp = module(feats_btd, lengths_b)
            if case.backward:
                pooled_bp.sum().backward()
                model.zero_grad()

    with FlopCounterMode(display=False) as counter:
        work(model)
    seconds = best_time(lambda: work(forward), case.device)
    return {
        "audio_s_s": case.batch_size * case.seconds / seconds,
        "flop_s": counter.get_total_flops() / seconds,
        "memory_mb": peak_memory_mb(case.device),
    }


def measure_peaks(device: str, threads: int) -> dict[str, float]:
    """Return the FLOP per second of large square matrix products in each number format."""
    torch.set_num_threads(threads)
    size = 8192 if device == "cuda" else 2048
    peaks = {}
    for name in ("float32", "bfloat16"):
        a, b = torch.randn(2, size, size, device=device).to(getattr(torch, name)).unbind()
        peaks[name] = 2 * size**3 / best_time(lambda a=a, b=b: a @ b, device)
    return peaks


def best_time(work: Callable[[], object], device: str) -> float:
    """Return the shortest time of several rounds in seconds, after two warm-up rounds."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    times = []
    for _ in range(ROUNDS + 2):
        started = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - started)
    return min(times[2:])


def peak_memory_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    run(main)
