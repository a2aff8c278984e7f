"""Build the sampler that a configuration describes.

Shapes: u utterances.
"""

from __future__ import annotations

import math

from lid_toolkit.data.features import UNDIVIDED
from lid_toolkit.data.samplers import Sampler
from lid_toolkit.data.sampling import BY_BATCH_SIZE, BY_CATEGORY, LAWS, Corpus
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.training.config import TrainConfig


def build_sampler(config: TrainConfig, utterances: Utterances) -> Sampler:
    """Return the sampler of the training batches.

    Raises:
        LidError: ``catpow_balance_dataset``, but the datasets of the utterances are not known.
    """
    language_power = config.category_upsampling_factor
    if config.batch_type == "catpow" and config.upsampling_factor is not None:
        language_power = config.upsampling_factor
    corpus = Corpus(
        utterances.labels_u,
        utterances.lengths_u,
        utterances.datasets_u,
        language_power,
        config.dataset_upsampling_factor,
    )
    scale = config.dataset_scaling_factor if config.batch_type in BY_CATEGORY else 1.0
    return Sampler(
        LAWS[config.batch_type](corpus),
        utterances.lengths_u,
        config.batch_bins,
        most=most_utterances(config),
        fewest=config.min_batch_size,
        crop_range=None if utterances.hop_length == UNDIVIDED else crop_range(config),
        drop_last=config.drop_last_iter,
        draws=max(round(scale * len(utterances)), 1),
        batches_an_epoch=config.num_iters_per_epoch,
        seed=config.seed,
    )


def most_utterances(config: TrainConfig) -> int | None:
    """Return the largest number of utterances in a batch; None: as many as fit into ``batch_bins``."""
    limits = [config.max_batch_size] if config.max_batch_size is not None else []
    if config.batch_type in BY_BATCH_SIZE:
        limits.append(config.batch_size)
    return min(limits, default=None)


def crop_range(config: TrainConfig) -> tuple[int, int] | None:
    """Return the shortest and longest crop in samples; None: utterances are not cropped."""
    conf = config.preprocessor_conf
    low, high = (seconds * conf.sample_rate for seconds in conf.crop_range_s())
    return None if math.isinf(high) else (max(round(low), 1), max(round(high), 1))
