"""Which stage of ``lid.sh`` does which work of the library. Error messages name the stage to run again."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import check_environment  # noqa: F401  # first: it finds lid_toolkit

from lid_toolkit import cli
from lid_toolkit.errors import WorkName

STAGES: Mapping[WorkName, str] = {
    "data preparation": "stage 1",
    "speed perturbation": "stage 2",
    "formatting": "stage 3",
    "feature extraction": "stage 4",
    "statistics": "stage 4",
    "training": "stage 5",
    "identification": "stage 6",
    "scoring": "stage 7",
    "t-SNE": "stage 8",
    "packing": "stage 9",
}

run = functools.partial(cli.run, stages=STAGES)
"""Run a command of the recipe: :func:`lid_toolkit.cli.run` with error messages that name stages."""
