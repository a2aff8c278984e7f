#!/usr/bin/env python3
"""Check a training configuration before any work: keys, values, components and their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, run


def main(arguments: Sequence[str]) -> None:
    """Parse the options and build, without data, what stage 5 would train."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    options, overrides = parser.parse_known_args(arguments)

    from lid_toolkit.models.build import build_model
    from lid_toolkit.training.config import load_config
    from lid_toolkit.training.initial import check_sources
    from lid_toolkit.training.optimization import configured_optimizer
    from lid_toolkit.training.report import check_wandb

    config = load_config(options.config, overrides)
    configured_optimizer(build_model(config.model_description(), classes=2), config)
    check_sources(config.init_param)
    check_wandb(config)


if __name__ == "__main__":
    run(main)
