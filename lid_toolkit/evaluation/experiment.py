"""What is known of the experiment of a scored set: its training, commands, versions and times."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.wording import plural
from lid_toolkit.steps import Run, recorded_run

CONFIG, MEASURES = "config.yaml", "metrics.jsonl"
SELECTED = re.compile(r"# The best epochs are selected on (.+)")
JOB_TIME = re.compile(rb"^# Accounting: time=([0-9.]+)", re.MULTILINE)
TAIL = 4096
"""Bytes at the end of a job's log that are read for its time."""


@dataclass(frozen=True)
class Experiment:
    """An experiment, ``exp/lid_TAG``.

    Attributes:
        directory: where it is.
        config: its training configuration as YAML; "" if there is none.
        picked_by: the utterances that selected the best epochs, in words; "" if not known.
        history: the measures of each epoch, lines of ``metrics.jsonl``.
        training: the command that trained it, if it was recorded.
    """

    directory: Path
    config: str
    picked_by: str
    history: tuple[Mapping[str, Any], ...]
    training: Run | None

    @property
    def training_dirs(self) -> dict[str, Path]:
        """The ``train_dir`` and ``valid_dir`` of the command that trained it, by these names."""
        words = [] if self.training is None else shlex.split(self.training.command)
        return {
            name: Path(words[words.index(f"--{name}") + 1])
            for name in ("train_dir", "valid_dir")
            if f"--{name}" in words[:-1]
        }

    @property
    def training_note(self) -> str:
        """Epochs, updates, audio and time of the training in words."""
        if not self.history:
            return ""
        last = self.history[-1]
        hours, audio_h = (
            sum(epoch.get(name, 0) for epoch in self.history) / 3600 for name in ("seconds", "audio_s")
        )
        parts = [
            plural(len(self.history), "epoch"),
            *([f"{last['updates']:,} updates"] if "updates" in last else []),
        ]
        parts += [f"{audio_h:,.1f} h of audio", f"{hours:,.2f} h of computing without validation"]
        return ", ".join(parts) + "."


def experiment_of(inference_dir: Path) -> Experiment | None:
    """Return the experiment of ``EXP/inference/MODEL/SET``; None if that is no experiment's directory.

    Raises:
        LidError: the measures of the epochs are not readable.
    """
    model_dir = inference_dir.resolve().parent
    if model_dir.parent.name != "inference":
        return None
    directory = model_dir.parent.parent
    config = directory / CONFIG
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    selected = SELECTED.match(text)
    return Experiment(
        directory,
        text,
        selected[1].strip() if selected else "",
        read_history(directory / MEASURES),
        recorded_run(directory, "train"),
    )


def read_history(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Return the lines of ``metrics.jsonl``; none if there is no such file.

    Raises:
        LidError: a line has not the measures of an epoch.
    """
    if not path.is_file():
        return ()
    try:
        epochs = tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        for epoch in epochs:
            if not (isinstance(epoch["epoch"], int) and isinstance(epoch["valid_per_language"], dict)):
                raise ValueError
    except (ValueError, KeyError, TypeError):
        raise LidError("not the measures of a training", where=path, redo="training") from None
    return epochs


def job_hours(logs: Path, pattern: str) -> tuple[int, float]:
    """Return the number of jobs whose logs, by name, have a time, and the sum of the times in hours."""
    times = []
    for path in sorted(logs.glob(pattern)):
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL))
            times += [float(found) for found in JOB_TIME.findall(stream.read())[-1:]]
    return len(times), sum(times) / 3600
