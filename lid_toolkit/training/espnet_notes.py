"""What a training configuration does here and not in ESPnet, though its keys have the same names."""

from __future__ import annotations

from collections.abc import Mapping

from lid_toolkit.data.sampling import BY_CATEGORY
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.losses import CosineLoss
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.espnet_yaml import RENAMED, has_espnet_keys

ESPNET_POWER = 0.5  # the default of upsampling_factor in ESPnet
OTHER_DEFAULTS = (
    *("batch_type", "best_model_criterion", "iterator_type", "keep_nbest_models", "max_epoch", "optim"),
)
"""Keys that change the result of every training and have other defaults in ESPnet."""


def espnet_notes(
    raw: Mapping[str, object], config: TrainConfig, model: LidModel, from_espnet: bool = False
) -> list[str]:
    """Return a sentence about each difference from ESPnet 202511 that applies to a configuration.

    Args:
        raw: the keys that are written in the YAML and the overrides.
        config: the configuration made from them.
        model: the model made from it.
        from_espnet: the user is known to come from ESPnet; a key that only ESPnet has is a sign of it, too.
    """
    notes = [note for note in (_power_note(raw, config),) if note]
    if not from_espnet and not has_espnet_keys(raw):
        return notes
    if config.batch_type not in ("unsorted", "sorted"):
        notes.append(
            "batch_bins counts padding, and no batch is larger; ESPnet adds utterances until it is exceeded"
        )
    if config.batch_type in BY_CATEGORY:
        notes.append("validation goes over every utterance once; ESPnet draws utterances as for training")
    unset = [key for key in OTHER_DEFAULTS if key not in raw]
    if unset:
        notes.append(f"keys that are not set and have other defaults in ESPnet: {', '.join(unset)}")
    loss = model.loss
    if isinstance(loss, CosineLoss) and loss.penalty and loss.k_top:
        notes.append(
            f"loss_conf.mp {loss.penalty:g} acts; in ESPnet it never does, and mp: 0 trains as ESPnet does"
        )
    return notes


def _power_note(raw: Mapping[str, object], config: TrainConfig) -> str:
    """Return which of two keys catpow uses, if a user may expect the other."""
    used, category = config.upsampling_factor, config.category_upsampling_factor
    written = "category_upsampling_factor" in raw or not raw.keys().isdisjoint(RENAMED)
    if config.batch_type != "catpow" or not written or category == (ESPNET_POWER if used is None else used):
        return ""
    if used is None:
        other = f"ESPnet uses only upsampling_factor, by default {ESPNET_POWER:g}"
        return f"catpow uses category_upsampling_factor {category:g}; {other}"
    return f"catpow uses upsampling_factor {used:g}, not category_upsampling_factor {category:g}"
