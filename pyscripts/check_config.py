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
    from lid_toolkit.training.optimization import make_optimizer

    config = load_config(options.config, overrides)
    model = build_model(config.model_description(), classes=2)
    make_optimizer(model.parameters(), config.optim, config.optim_conf)


if __name__ == "__main__":
    run(main)
