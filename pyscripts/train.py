#!/usr/bin/env python3
"""Stage 5: train a language identifier."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, amount, boolean, run
from lid_toolkit.files import locked
from lid_toolkit.steps import Step


def main(arguments: Sequence[str]) -> None:
    """Parse the options, then train unless the experiment is current."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--train_dir", type=Path, required=True, help="formatted training set")
    parser.add_argument("--valid_dir", type=Path, required=True, help="formatted set that picks the model")
    parser.add_argument("--stats_dir", type=Path, required=True, help="stage 4's directory")
    parser.add_argument("--output_dir", type=Path, required=True, help="the experiment")
    parser.add_argument("--ngpu", default="auto", help="GPUs: 0, 1 or auto")
    parser.add_argument(
        "--checkpoint_interval", type=amount, default=15.0, help="minutes between checkpoints"
    )
    parser.add_argument("--pretrained_model", type=Path, help="model file to start from")
    parser.add_argument("--ignore_init_mismatch", type=boolean, default=False, help="keep what does not fit")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say whether there is work")
    options, overrides = parser.parse_known_args(arguments)

    from lid_toolkit.training.config import load_config
    from lid_toolkit.training.device import choose_device
    from lid_toolkit.training.train import Sources, train

    config = load_config(options.config, overrides)
    device = choose_device(options.ngpu)
    out = options.output_dir
    sources = Sources(options.train_dir, options.valid_dir, options.stats_dir, out)
    first = {"pretrained_model": options.pretrained_model} if options.pretrained_model else {}
    step = Step(
        f"train {out}",
        out / ".done" / "train.json",
        inputs=sources.tables() | first,
        options=config.model_dump(mode="json"),
    )
    if not step.due(options.dry_run):
        return
    with locked(out, "training"):
        log = logging.FileHandler(out / "train.log", encoding="utf-8")
        log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logging.getLogger().addHandler(log)
        step.finish(
            train(
                config,
                sources,
                device,
                60 * options.checkpoint_interval,
                options.pretrained_model,
                options.ignore_init_mismatch,
            )
        )


if __name__ == "__main__":
    run(main)
