#!/usr/bin/env python3
"""Check a training configuration before training: keys, values, components and their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.errors import LidError


def main(arguments: Sequence[str]) -> None:
    """Parse the options, and build the model of stage 5 without data."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training configuration (YAML)")
    parser.add_argument("--fs", type=positive_int, help="sampling rate of the formatted audio, in Hz")
    options, overrides = parser.parse_known_args(arguments)

    from lid_toolkit.models.build import build_model
    from lid_toolkit.models.external import EVERY
    from lid_toolkit.training.config import load_config
    from lid_toolkit.training.init_weights import check_sources
    from lid_toolkit.training.measures import check_wandb
    from lid_toolkit.training.optimization import configured_optimizer, freeze
    from lid_toolkit.training.train import check_rate, check_sharded, check_targets

    config = load_config(options.config, overrides)
    rate = config.preprocessor_conf.sample_rate
    if options.fs is not None and options.fs != rate:
        mend = f"set preprocessor_conf.sample_rate and frontend_conf.fs to {options.fs}, or change --fs"
        raise LidError(f"configured for {rate} Hz, but --fs is {options.fs}", where=options.config, mend=mend)
    model = build_model(config.model_description(), 2, EVERY)
    check_rate(model, rate)
    check_sharded(model, config)
    check_targets(model, config)
    freeze(model, config.freeze_param)
    configured_optimizer(model, config)
    check_sources(config.init_param)
    check_wandb(config)


if __name__ == "__main__":
    run(main)
