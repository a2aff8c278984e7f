"""Warnings before a training: data that can be used, but that are probably a mistake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lid_toolkit.datadir.check import missing_rows
from lid_toolkit.training.state import Training

FEW_UTTERANCES = 30
SHOWN = 5


def data_warnings(training: Training) -> list[str]:
    """Return a sentence about each thing that is probably a mistake.

    These are: utterances that are in both sets, a validation set that is too small to compare epochs or that
    lacks languages, and batches of less than a second.
    """
    train, valid, rate = training.train, training.valid, training.config.preprocessor_conf.sample_rate
    warnings = []
    common = len(valid) - len(missing_rows(train.refs, valid.refs))
    if common:
        warnings.append(
            f"{common:,} of {len(valid):,} validation utterances are also in the training set, so the "
            "validation accuracy will be too high and the wrong epochs may be selected"
        )
    if len(valid) < FEW_UTTERANCES:
        warnings.append(
            f"the validation set has only {len(valid)} utterances: one more error changes the accuracy by "
            f"{100 / len(valid):.0f} %, so the selection of epochs is mostly chance"
        )
    trained, present = (set(np.unique(part.labels_u).tolist()) for part in (train, valid))
    absent = [training.languages[index] for index in sorted(trained - present)]
    if absent:
        warnings.append(f"the validation set has no utterances of {_first(absent)}")
    if training.config.batch_bins < rate:
        warnings.append(
            f"batch_bins {training.config.batch_bins} is less than one second of audio ({rate} samples): "
            "the crops may be too short to learn from"
        )
    return warnings


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more languages" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
