"""The benchmark of the GPU's path: counts on the meta device, and a run of all of it on a CPU."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gpu_counts() -> Iterator[ModuleType]:
    """Import the script with its folder on the path only meanwhile: it has a ``data.py``, as the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("gpu_counts")


def test_kernels_copies_and_reads_by_hand(gpu_counts):
    host = torch.ones(3)
    with gpu_counts.DeviceCounter() as counter:
        waits = host.to(gpu_counts.META)
        at_once = host.to(gpu_counts.META, non_blocking=True)
        total = (waits + at_once).view(3, 1).sum()
        total.tolist()
        host.add(1).view(3, 1)
    assert counter.counts == {"kernels": 4, "blocking copies": 1, "copies": 1, "host reads": 1}
    assert counter.names["aten.add.Tensor"] == 1


@pytest.mark.parametrize("shape", ["ecapa-8", "xlsr-small"])
def test_nothing_waits_for_a_gpu_but_one_read_in_an_update(shape, gpu_counts):
    """``transformers`` itself reads whether its mask hides anything, once in each forward pass."""
    theirs = int(shape == "xlsr-small")
    counts = gpu_counts.count(shape, 2)
    for name, forwards, own in (("identification", 1, 0), ("update of 2", 2, 1)):
        assert counts[name]["blocking copies"] == 0
        assert counts[name]["host reads"] == forwards * theirs + own


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_a_gpu_it_ends_with_one_line(tmp_path):
    done = run("--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: benchmarks/gpu.py: there is no NVIDIA GPU (--count needs none)"
    ]


@pytest.mark.slow
def test_it_measures_a_small_model_on_a_cpu(tmp_path):
    small = ("--shapes", "xlsr-small", "--seconds", "0.5", "--batch_size", "4", "--steps", "1")
    done = run(*small, "--device", "cpu", "--num_workers", "1", "--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["shape"] for row in rows] == ["xlsr-small"] * 4
    assert all(row["audio_s_s"] > 0 and row["of_peak"] > 0 for row in rows)
    assert all(0 <= row["waiting"] <= 1 for row in rows if "waiting" in row)
