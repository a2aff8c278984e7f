"""A training from beginning to end: from data directories to the averaged weights of the best epochs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from lid_toolkit.data.features import check_made_by
from lid_toolkit.data.preprocess import load_sounds
from lid_toolkit.data.utterances import Utterances, load_utterances, read_languages
from lid_toolkit.datadir.datadir import check_sampling_rate
from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.errors import LidError
from lid_toolkit.files import remove_leftovers, write_whole
from lid_toolkit.models.build import build_model
from lid_toolkit.models.compiled import compiled
from lid_toolkit.models.external import EVERY
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.protocols import note_trained, skips_blocks, target_kinds
from lid_toolkit.steps import digest
from lid_toolkit.training.adversarial import attach_adversary
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.console import describe_end, describe_epoch, describe_training, log_lines
from lid_toolkit.training.data_warnings import data_warnings
from lid_toolkit.training.distilling import attach, check_teacher, student_languages, with_teacher
from lid_toolkit.training.distributed import World, spread
from lid_toolkit.training.feature_stats import check_statistics, use_statistics
from lid_toolkit.training.init_weights import initialise, parse_source
from lid_toolkit.training.loop import finish_epoch, train_epoch, validate_epoch
from lid_toolkit.training.measures import check_wandb, report
from lid_toolkit.training.model_labels import model_labels
from lid_toolkit.training.model_selection import average_best, drop_others, keep_best, out_of_patience, rank
from lid_toolkit.training.optimization import configured_optimizer, freeze
from lid_toolkit.training.precision import choose_precision
from lid_toolkit.training.selection_set import hold_out, short_enough
from lid_toolkit.training.signals import stop_request
from lid_toolkit.training.sources import Sources, input_files
from lid_toolkit.training.state import Learner, State, Training, read_checkpoint, restore, save_checkpoint
from lid_toolkit.training.update import seed_everything

# Settings that may change when a training continues from a checkpoint.
FREE_TO_CHANGE = (
    "max_epoch",
    "patience",
    "early_stopping_criterion",
    "num_workers",
    "log_interval",
    "max_bad_updates",
    "max_failed",
    "valid_batch_bins",
    "max_valid_duration",
    "detect_anomaly",
    "use_matplotlib",
    "use_tensorboard",
    "use_wandb",
    "wandb_project",
    "wandb_entity",
    "wandb_name",
    "wandb_id",
)


Tensors = tuple[Tensor, ...] | list[Tensor]
TORCH_COMPILE = "torch_compile", "set torch_compile: false"
"""The option that compiles the model, and how to do without it."""


def train(
    config: TrainConfig,
    sources: Sources,
    world: World,
    checkpoint_interval_s: float,
    digests: Mapping[str, str | None] | None = None,
) -> list[Path]:
    """Train to the end, from the last checkpoint if there is one, and return the model files.

    Every process of ``world`` must call it. The caller holds the lock of the output directory.

    Args:
        config: the configuration.
        sources: directories to read and write.
        world: the processes.
        checkpoint_interval_s: longest time between two checkpoints in seconds.
        digests: digests of :func:`input_files` from before the training; None: they are computed here.

    Raises:
        LidError: the data or the configuration is not valid, or the checkpoint is of another training.
    """
    out = sources.output_dir
    set_backends(config)
    check_wandb(config)
    load_sounds(config.preprocessor_conf)  # reports missing lists before any work
    if digests is None:
        digests = {name: digest(path) for name, path in input_files(config, sources).items()}
    training = gather_training(config, sources, world, checkpoint_interval_s, digests)
    learner, state = make_learner(training, sources.stats_dir)
    if world.main:
        for directory in (out, out / "images"):
            remove_leftovers(directory)
        drop_others(config, state.history, out)
        write_config(config, training.picked_by, out / "config.yaml")
        log_lines(describe_training(training, learner))
        if training.precision.is_slow(world.device):
            logging.warning(
                "%s is slow on this processor; float32 is faster (use_amp: auto)", training.precision
            )
        for text in data_warnings(training):
            logging.warning("%s", text)

    with stop_request(with_parent=world.size > 1) as stop:
        while state.position.epoch <= config.max_epoch and not out_of_patience(config, state.history):
            train_epoch(training, learner, state, stop)
            scores = validate_epoch(training, learner, state, stop)
            measures = finish_epoch(learner, state, scores)
            keep_best(training, learner, state.history, out)
            if world.main:
                logging.info("%s", describe_epoch(measures))
                report(config, state.history, out)
            save_checkpoint(training, learner, state)
            if world.main:
                drop_others(config, state.history, out)
    if not world.main:
        return []
    models = average_best(config, state.history, out)
    best = rank(config.best_model_criterion[0], state.history)[0]
    log_lines(describe_end(training, state, best, models))
    return models


def set_backends(config: TrainConfig) -> None:
    """Set PyTorch's global switches."""
    torch.backends.cudnn.enabled = config.cudnn_enabled
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    torch.backends.cudnn.deterministic = config.cudnn_deterministic or config.deterministic
    torch.backends.cuda.matmul.allow_tf32 = config.use_tf32
    torch.backends.cudnn.allow_tf32 = config.use_tf32
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(config.deterministic)
    torch.autograd.set_detect_anomaly(config.detect_anomaly)


def gather_training(
    config: TrainConfig,
    sources: Sources,
    world: World,
    checkpoint_interval_s: float,
    digests: Mapping[str, str | None],
) -> Training:
    """Load the data and return everything that stays the same during the training."""
    check_teacher(config, sources.teacher_dir)
    for data_dir in (sources.train_dir, sources.valid_dir):
        check_sampling_rate(data_dir, config.preprocessor_conf.sample_rate, "preprocessor_conf.sample_rate")
        check_made_by(data_dir, config.model_description())
    check_statistics(sources.statistics(config))
    labels = student_languages(config, read_languages(sources.stats_dir / "lang2idx"), sources.teacher_dir)
    languages = model_labels(config.model_description(), labels)
    by_dataset = config.batch_type == "catpow_balance_dataset"
    shapes = sources.stats_dir / "train" / "speech_shape"
    data = load_utterances(sources.train_dir, shapes, languages, by_dataset, config.targets, config.adversary)
    check_has_targets(data, config, sources.train_dir / UTT2LANGS)
    data = with_teacher(config, data, languages, sources.teacher_dir, sources.train_dir)
    check_augmentable(data, config)
    if config.selection_set == "valid":
        shapes = sources.stats_dir / "valid" / "speech_shape"
        valid = load_utterances(sources.valid_dir, shapes, languages, targets=config.targets)
        picked_by = str(sources.valid_dir)
    else:
        data, valid = hold_out(data, config.selection_set, config.seed)
        valid = valid if config.distill_from is None else replace(valid, targets=None)
        picked_by = f"{len(valid)} utterances held out from {sources.train_dir}"
    valid = short_enough(
        valid, config.max_valid_duration, config.preprocessor_conf.sample_rate, warn=world.main
    )
    return Training(
        config=config,
        train=data,
        valid=valid,
        picked_by=picked_by,
        languages=languages,
        sampler=build_sampler(config, data),
        world=world,
        precision=choose_precision(config, world.device),
        identity=identity(config, digests, languages),
        checkpoint=sources.output_dir / "checkpoint.pth",
        checkpoint_interval_s=checkpoint_interval_s,
    )


def identity(
    config: TrainConfig, digests: Mapping[str, str | None], languages: tuple[str, ...]
) -> dict[str, object]:
    """Return what must be unchanged to continue from a checkpoint: settings, labels, and digests of files."""
    settings = {k: v for k, v in config.model_dump(mode="json").items() if k not in FREE_TO_CHANGE}
    return {**settings, **digests, "languages": list(languages)}


def make_learner(training: Training, stats_dir: Path) -> tuple[Learner, State]:
    """Build the model and optimizer, with initial weights or from the last checkpoint."""
    config, world = training.config, training.world
    seed_everything(config.seed)
    model = build_model(config.model_description(), len(training.languages), EVERY)
    check_rate(model, config.preprocessor_conf.sample_rate)
    model.check_posteriors(training.languages)
    check_sharded(model, config)
    check_targets(model, config)
    exists = training.checkpoint.exists()
    content = read_checkpoint(training.checkpoint, training.identity) if exists else None
    if content is None:
        note_trained(model.loss, trained_classes(training))
        use_statistics(model, config, stats_dir)
        for text in config.init_param:
            initialise(model, parse_source(text), training.languages, config.ignore_init_mismatch)
    attach(model, config, training.train.targets)
    attach_adversary(model, config, training.train, len(training.languages))
    if content is not None:
        model.load_state_dict(content["model"])
    freeze(model, config.freeze_param)
    model.to(world.device).train()
    average = None if config.ema_decay is None else moving_average(model, config.ema_decay)
    dtype = training.precision.dtype
    wrapped = spread(model, world, config.sharded_ddp, config.unused_parameters, dtype)
    learner = Learner(
        model=model,
        wrapped=wrapped,
        forward=compiled(wrapped, *TORCH_COMPILE) if config.torch_compile else wrapped,
        optimizer=configured_optimizer(model, config),
        scaler=training.precision.scaler(world.device),
        average=average,
    )
    return learner, State() if content is None else restore(content, learner)


def trained_classes(training: Training) -> Tensor:
    """Return which classes (C,), bool, have utterances in the training set."""
    trained_c = torch.zeros(len(training.languages), dtype=torch.bool)
    trained_c[torch.from_numpy(np.unique(training.train.labels_u)).long()] = True
    return trained_c


def check_rate(model: LidModel, rate: int) -> None:
    """Check that the front end expects the sampling rate of the data.

    Raises:
        LidError: it expects another rate.
    """
    if model.frontend.rate not in (None, rate):
        raise LidError(
            f"the front end expects {model.frontend.rate} Hz, preprocessor_conf.sample_rate is {rate}",
            where="frontend_conf",
            mend=f"set fs: {rate}",
        )


def check_targets(model: LidModel, config: TrainConfig) -> None:
    """Check that the loss can be trained with the configured targets.

    Raises:
        LidError: it cannot.
    """
    supported = target_kinds(model.loss)
    if config.targets is not None and config.targets not in supported:
        raise LidError(
            f"loss {config.loss} cannot be trained with targets: {config.targets}",
            where="targets",
            mend=f"its targets are {' or '.join([*supported, 'null'])}",
        )


def check_has_targets(data: Utterances, config: TrainConfig, utt2langs: Path) -> None:
    """Raise LidError if the configured targets are the weights of a table that the training set lacks."""
    if config.targets is not None and data.targets is None:
        raise LidError(
            f"does not exist, but targets is {config.targets}",
            where=utt2langs,
            mend="write it in the data directory and format that again, or set targets: null",
        )


def check_augmentable(data: Utterances, config: TrainConfig) -> None:
    """Raise LidError if distortions are to be applied on the device, and the training set has no audio."""
    if config.preprocessor_conf.augment_on == "device" and data.hop_length is not None:
        raise LidError(
            "extracted features cannot be augmented in training",
            where="preprocessor_conf.augment_on",
            mend="set it to readers, and extract augmented copies of the utterances instead",
        )


def check_sharded(model: LidModel, config: TrainConfig) -> None:
    """Check that a model can be sharded: a process that skips a block would leave the others waiting for it.

    Raises:
        LidError: each process skips blocks of the model at random.
    """
    if config.sharded_ddp and skips_blocks(model):
        raise LidError(
            "sharded_ddp with a model that skips blocks at random in training",
            where="encoder_conf",
            mend="set the probability of skipping blocks to 0, or set sharded_ddp: false",
        )


def moving_average(model: LidModel, decay: float) -> AveragedModel:
    """Return a moving average of a model: ``average += (1 - d) * (model - average)`` at each update.

    In update n, d is the smaller of ``decay`` and (1 + n) / (10 + n), so that the initial weights are soon
    forgotten. Integer buffers are copied from the model.
    """

    def follow(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        rising = (1 + int(updates)) / (10 + int(updates))
        torch._foreach_lerp_(averaged, current, 1 - min(decay, rising))

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)


def write_config(config: TrainConfig, picked_by: str, path: Path) -> None:
    """Write the complete configuration, and which utterances select the best epochs."""
    with write_whole(path) as stream:
        stream.write(f"# The best epochs are selected on {picked_by}\n")
        yaml.safe_dump(config.model_dump(mode="json"), stream, sort_keys=False, allow_unicode=True)
