"""The final files of a run of the recipe, and how those of two runs differ."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

COMPARED = ("data", "dump", "exp")
# Locks, logs, records, charts of seconds, and the report, which says when the steps ran. A plan holds the
# number of the run's attempts.
LEFT_OUT = re.compile(
    r"(^|/)(\.lock|\.running|\.done|\.format|\.jobs|logs|tensorboard|seconds\.png|report\.html|[^/]*\.log)(/|$)"
)
TIMES = {"seconds", "waited_s", "waited"}


def contents(recipe: Path) -> dict[str, str]:
    """Return the digest of each final file of a run, by its path; of a checkpoint, without its times."""
    found = {}
    for top in COMPARED:
        for path in sorted((recipe / top).rglob("*")):
            name = path.relative_to(recipe).as_posix()
            if LEFT_OUT.search(name) or path.is_dir():
                continue
            if path.name == "checkpoint.pth":
                found[name] = repr(without_times(torch.load(path, weights_only=True)))
            elif path.suffix in (".json", ".jsonl"):
                text = path.read_text(encoding="utf-8")
                values = text.splitlines() if path.suffix == ".jsonl" else [text]
                found[name] = repr([without_times(json.loads(value)) for value in values])
            else:
                found[name] = hashlib.blake2b(path.read_bytes()).hexdigest()
    return found


def without_times(value: Any) -> Any:
    """Return a nested value without measured times, and with tensors as digests."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return (str(value.dtype), tuple(value.shape), hashlib.blake2b(data).hexdigest())
    return value


def differences(straight: dict[str, str], killed: dict[str, str]) -> list[str]:
    """Return which files differ, are missing or were left over."""
    found = [f"{name} is missing" for name in straight.keys() - killed.keys()]
    found += [f"{name} is left over" for name in killed.keys() - straight.keys()]
    found += [f"{name} differs" for name in straight.keys() & killed.keys() if straight[name] != killed[name]]
    return sorted(found)
