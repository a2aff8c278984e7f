"""One training from data directories to averaged best models: the table of contents of stage 5."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from lid_toolkit.data.preprocess import load_sounds
from lid_toolkit.data.utterances import load_utterances, read_languages
from lid_toolkit.errors import LidError
from lid_toolkit.files import remove_leftovers, write_whole
from lid_toolkit.models.build import build_model
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.steps import digest
from lid_toolkit.training.best import average_best, keep_best, out_of_patience
from lid_toolkit.training.checkpoint import load, load_model
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.feature_stats import STATS_FILE, use_statistics
from lid_toolkit.training.loop import (
    State,
    Training,
    finish_epoch,
    save_checkpoint,
    seed_everything,
    train_epoch,
    validate_epoch,
)
from lid_toolkit.training.optimization import make_optimizer
from lid_toolkit.training.precision import choose_precision
from lid_toolkit.training.report import describe, report
from lid_toolkit.training.stop import stop_request

# What may differ between a checkpoint and the run that continues it.
FREE_TO_CHANGE = (
    "max_epoch",
    "patience",
    "num_workers",
    "log_interval",
    "max_bad_updates",
    "max_failed",
    "valid_batch_bins",
)


@dataclass(frozen=True)
class Sources:
    """Where a training reads and writes.

    Attributes:
        train_dir: formatted training set.
        valid_dir: formatted set that picks the best epoch.
        stats_dir: stage 4's directory.
        output_dir: the experiment.
    """

    train_dir: Path
    valid_dir: Path
    stats_dir: Path
    output_dir: Path

    def tables(self) -> dict[str, Path]:
        """Return the tables that decide the training, by name."""
        return {
            "train wav.scp": self.train_dir / "wav.scp",
            "train utt2lang": self.train_dir / "utt2lang",
            "train utt2dataset": self.train_dir / "utt2dataset",
            "train speech_shape": self.stats_dir / "train" / "speech_shape",
            "train feats_stats": self.stats_dir / STATS_FILE,
            "valid wav.scp": self.valid_dir / "wav.scp",
            "valid utt2lang": self.valid_dir / "utt2lang",
            "valid speech_shape": self.stats_dir / "valid" / "speech_shape",
            "lang2idx": self.stats_dir / "lang2idx",
        }


def train(
    config: TrainConfig,
    sources: Sources,
    device: torch.device,
    checkpoint_interval_s: float,
    pretrained_model: Path | None = None,
    ignore_init_mismatch: bool = False,
) -> list[Path]:
    """Train to the end, from the last checkpoint if there is one; return the model files.

    The caller holds the output directory's lock.

    Raises:
        LidError: bad data or configuration, or a checkpoint of another training.
    """
    out = sources.output_dir
    for directory in (out, out / "images"):
        remove_leftovers(directory)
    load_sounds(config.preprocessor_conf)  # what it lacks is told before any work
    languages = read_languages(sources.stats_dir / "lang2idx")
    seed_everything(config.seed)
    model = build_model(config.model_description(), len(languages)).to(device).train()
    use_statistics(model, config, sources.stats_dir)
    rate = config.preprocessor_conf.sample_rate
    if model.frontend.rate not in (None, rate):
        raise LidError(
            f"the front end expects {model.frontend.rate} Hz, preprocessor_conf.sample_rate is {rate}",
            where="frontend_conf",
            mend=f"set fs: {rate}",
        )
    optimizer = make_optimizer(model.parameters(), config.optim, config.optim_conf)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    training = Training(
        config=config,
        train=load_utterances(
            sources.train_dir,
            sources.stats_dir / "train" / "speech_shape",
            languages,
            with_datasets=config.batch_type == "catpow_balance_dataset",
        ),
        valid=load_utterances(sources.valid_dir, sources.stats_dir / "valid" / "speech_shape", languages),
        languages=languages,
        device=device,
        precision=choose_precision(config.use_amp, device),
        identity=identity(config, sources, pretrained_model),
        checkpoint=out / "checkpoint.pth",
        checkpoint_interval_s=checkpoint_interval_s,
    )
    if training.checkpoint.exists():
        state = go_on(training, model, optimizer)
    else:
        state = State()
        if pretrained_model is not None:
            initialise(model, pretrained_model, ignore_init_mismatch)
    write_config(config, out / "config.yaml")
    describe_training(training, model)

    with stop_request() as stop:
        while state.epoch <= config.max_epoch and not out_of_patience(config, state.history):
            train_epoch(training, model, optimizer, state, stop)
            scores = validate_epoch(training, model, optimizer, state, stop)
            measures = finish_epoch(state, scores, optimizer)
            logging.info("%s", describe(measures))
            keep_best(training, model, state.history, out)
            report(state.history, out)
            save_checkpoint(training, model, optimizer, state)
    return average_best(training, state.history, out)


def identity(config: TrainConfig, sources: Sources, pretrained_model: Path | None) -> dict[str, Any]:
    """Return what a checkpoint must agree on to be continued: configuration, data, initial weights."""
    settings = {k: v for k, v in config.model_dump(mode="json").items() if k not in FREE_TO_CHANGE}
    data = {name: digest(path) for name, path in sources.tables().items()}
    first = None if pretrained_model is None else digest(pretrained_model)
    return {**settings, **data, "pretrained_model": first}


def go_on(training: Training, model: LidModel, optimizer: torch.optim.Optimizer) -> State:
    """Load the checkpoint into model and optimizer; return how far it had come."""
    content = load(training.checkpoint)
    if not {"identity", "model", "optimizer", "state"} <= content.keys():
        raise LidError(
            "not a checkpoint of this toolkit", where=training.checkpoint, mend="choose another --lid_tag"
        )
    differing = [
        name
        for name in sorted(content["identity"].keys() | training.identity.keys())
        if content["identity"].get(name) != training.identity.get(name)
    ]
    if differing:
        raise LidError(
            f"the checkpoint comes from other settings or data: {', '.join(differing)}",
            where=training.checkpoint,
            mend="choose another --lid_tag, or remove the directory to train anew",
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    state = State(**content["state"])
    logging.info("going on from epoch %d, batch %d", state.epoch, state.batches)
    return state


def initialise(model: LidModel, path: Path, ignore_mismatch: bool) -> None:
    """Take over a trained model's weights by name.

    Raises:
        LidError: names or shapes differ and ``ignore_mismatch`` is off.
    """
    theirs, ours = load_model(path).model.state_dict(), model.state_dict()
    fitting = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
    unfit = sorted(set(ours) - set(fitting))
    if unfit and not ignore_mismatch:
        raise LidError(
            f"{len(unfit)} parameters do not fit, such as {unfit[0]}",
            where=path,
            mend="set --ignore_init_mismatch true to train these from scratch",
        )
    model.load_state_dict({**ours, **fitting})
    logging.info("%d of %d tensors taken from %s", len(fitting), len(ours), path)


def write_config(config: TrainConfig, path: Path) -> None:
    """Write the complete configuration."""
    with write_whole(path) as stream:
        yaml.safe_dump(config.model_dump(mode="json"), stream, sort_keys=False, allow_unicode=True)


def describe_training(training: Training, model: LidModel) -> None:
    """Log the sizes that matter before work starts."""
    parts: Mapping[str, int] = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    sizes = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
    rate = training.config.preprocessor_conf.sample_rate
    logging.info("parameters: %s; %s in all", sizes, f"{sum(parts.values()):,}")
    for name, data in (("train", training.train), ("valid", training.valid)):
        hours = data.lengths_u.sum() / rate / 3600
        logging.info("%s: %d utterances, %.2f h", name, len(data), hours)
    logging.info(
        "%d languages; %s on %s; batches of %.0f s",
        len(training.languages),
        "bfloat16 autocast" if training.precision.bfloat16 else "float32",
        training.device,
        training.config.batch_bins / rate,
    )
    logging.info("label set %s", hashlib.sha256(" ".join(training.languages).encode()).hexdigest()[:12])
