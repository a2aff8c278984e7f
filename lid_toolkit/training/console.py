"""What a person sees during a training: the progress bar and the lines of the log.

Files and dashboards of measures are in :mod:`lid_toolkit.training.measures`.

Shapes: d draws, l languages.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from lid_toolkit.data.samplers import Batches
from lid_toolkit.progress import Progress
from lid_toolkit.training.state import EpochMeasures, Learner, State, Training, measure

SHOWN_LANGUAGES = 5


@contextlib.contextmanager
def shown_progress(title: str, total: int, done: int) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar on a terminal; yields ``(batches, note) -> None`` to advance it."""
    if not sys.stderr.isatty():
        yield lambda _batches, _note: None
        return
    with logging_redirect_tqdm(), Progress(title, total, "batch", done=done) as progress:
        yield lambda batches, note: progress.advance(batches, note=note)


def describe_progress(training: Training, learner: Learner, state: State, batches: int) -> str:
    """Return one line about the progress of the current epoch."""
    sums = state.sums
    seconds, count = max(sums["seconds"], 1e-9), max(sums.get("utterances", 0), 1)
    left = seconds / max(state.position.batches, 1) * (batches - state.position.batches)
    parts = [
        f"batch {state.position.batches}/{batches}: loss {sums.get('loss', math.nan) / count:.3f}",
        f"accuracy {sums.get('correct', 0) / count:.4f}",
        f"lr {learner.optimizer.param_groups[0]['lr']:.3g}",
        f"{sums.get('audio_s', 0.0) / 3600:.2f} h of audio",
        f"{sums.get('audio_s', 0.0) / seconds:.1f} audio-s/s",
        f"{100 * sums.get('waited', 0.0) / seconds:.0f} % waiting for data",
    ]
    if training.world.device.type == "cuda":
        used = torch.cuda.max_memory_allocated(training.world.device)
        parts.append(f"{used / 2**30:.1f} GiB of GPU memory")
    return ", ".join([*parts, f"{clock(left)} left"])


def describe_training(training: Training, learner: Learner) -> list[str]:
    """Return lines about model, data and batches, to be logged before the training starts."""
    model, rate = learner.model, training.config.preprocessor_conf.sample_rate
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parts = ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count)
    batches = training.sampler.epoch(1)
    lines = [f"parameters: {parts}; {sum(sizes.values()):,} in total, {trained:,} trained"]
    for name, data in (("train", training.train), ("valid", training.valid)):
        lines.append(f"{name}: {len(data):,} utterances, {data.lengths_u.sum() / rate / 3600:.2f} h")
    processes = f"{training.world.size} processes, each " if training.world.size > 1 else ""
    lines += [
        f"the best epochs are selected on {training.picked_by}",
        f"languages: {len(training.languages)}; {drawn_languages(training, batches)}",
        f"batches: {len(batches):,} per epoch, of up to {training.config.batch_bins / rate:.0f} s, "
        f"{100 * batches.padding(training.train.lengths_u):.1f} % padding",
        f"an average batch: {batches.sizes_b().mean():.1f} utterances, {batches.mean_different():.1f} "
        f"of them different, in {batches.mean_different(training.train.labels_u):.1f} languages",
        f"computing: {processes}{training.precision} on {training.world.device}",
    ]
    return lines


def drawn_languages(training: Training, batches: Batches) -> str:
    """Return each language's percentage of an epoch's utterances, and its percentage of the training set."""
    labels_d = training.train.labels_u[batches.rows()]
    count = len(training.languages)
    drawn_l = np.bincount(labels_d, minlength=count) / len(labels_d)
    in_set_l = np.bincount(training.train.labels_u, minlength=count) / len(training.train)
    order = np.argsort(-drawn_l, kind="stable")
    shown = order if count <= 2 * SHOWN_LANGUAGES else [*order[:SHOWN_LANGUAGES], *order[-SHOWN_LANGUAGES:]]
    shares = ", ".join(
        f"{training.languages[i]} {100 * drawn_l[i]:.1f} % ({100 * in_set_l[i]:.1f} %)" for i in shown
    )
    return f"drawn (in the set): {shares}"


def describe_epoch(epoch: EpochMeasures) -> str:
    """Return one line about a finished epoch."""
    return (
        f"epoch {epoch['epoch']}: train loss {epoch['train_loss']:.3f}, "
        f"accuracy {epoch['train_accuracy']:.4f}; valid loss {epoch['valid_loss']:.3f}, "
        f"accuracy {epoch['valid_accuracy']:.4f}, macro {epoch['valid_macro_accuracy']:.4f}; "
        f"{epoch['seconds']:.0f} s"
    )


def describe_end(training: Training, state: State, best: int, models: Sequence[Path]) -> list[str]:
    """Return a summary of a finished training, in five lines."""
    epochs = {epoch["epoch"]: epoch for epoch in state.history}
    chosen = epochs[best]
    audio_s, seconds, waited = (
        sum(measure(epoch, name) for epoch in epochs.values()) for name in ("audio_s", "seconds", "waited_s")
    )
    speed, waiting = audio_s / max(seconds, 1e-9), 100 * waited / max(seconds, 1e-9)
    worst = sorted(chosen["valid_per_language"].items(), key=lambda item: item[1])[:SHOWN_LANGUAGES]
    return [
        f"best: epoch {best} of {len(epochs)}, accuracy {chosen['valid_accuracy']:.4f}, "
        f"macro {chosen['valid_macro_accuracy']:.4f}, loss {chosen['valid_loss']:.3f}; "
        f"selected on {training.picked_by}",
        f"hardest languages: {', '.join(f'{name} {value:.4f}' for name, value in worst)}",
        f"trained: {state.updates:,} updates on {audio_s / 3600:.2f} h of audio in {clock(seconds)}, "
        f"{speed:.1f} audio-s/s, {waiting:.0f} % waiting for data",
        f"skipped: {state.bad_updates} updates, {state.failed} recordings that could not be read",
        f"models: {' '.join(map(str, models))}",
    ]


def log_lines(lines: Sequence[str]) -> None:
    """Log some lines."""
    for line in lines:
        logging.info("%s", line)


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}"
