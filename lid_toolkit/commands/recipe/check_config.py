"""Check a training configuration before training: keys, values, components, their arguments, lists of sounds.

Prints a line for each difference from ESPnet that applies to the configuration. If the directories are given,
and the training has finished with these files and settings, there is nothing to check.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, positive_int
from lid_toolkit.errors import LidError
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.overrides import override, read_settings
from lid_toolkit.training.sources import Sources, training_step


def main(arguments: Sequence[str]) -> None:
    """Parse the options, and build the model without data."""
    options, overrides = make_parser().parse_known_args(arguments)
    raw = override(read_settings(options.config), overrides)
    config = parse_config(raw, options.config)
    directories = options.train_dir, options.valid_dir, options.stats_dir, options.output_dir
    unneeded = all(directories) and not options.inference_model
    if unneeded and not training_step(config, Sources(*directories, options.teacher_dir)).reason():
        return

    # After the return: torch takes longer to import than it takes to see that the training has finished.
    from lid_toolkit.data.preprocess import check_sounds
    from lid_toolkit.models.build import build_model
    from lid_toolkit.models.external import EVERY
    from lid_toolkit.training.distilling import check_teacher
    from lid_toolkit.training.espnet_notes import espnet_notes
    from lid_toolkit.training.init_weights import check_sources
    from lid_toolkit.training.measures import check_wandb
    from lid_toolkit.training.model_selection import check_model_name
    from lid_toolkit.training.optimization import configured_optimizer, freeze
    from lid_toolkit.training.train import check_rate, check_sharded, check_targets

    rate = config.preprocessor_conf.sample_rate
    if options.fs is not None and options.fs != rate:
        mend = f"set preprocessor_conf.sample_rate and frontend_conf.fs to {options.fs}, or change --fs"
        raise LidError(f"configured for {rate} Hz, but --fs is {options.fs}", where=options.config, mend=mend)
    model = build_model(config.model_description(), 2, EVERY)
    check_rate(model, rate)
    check_sharded(model, config)
    check_targets(model, config)
    check_teacher(config, options.teacher_dir)
    freeze(model, config.freeze_param)
    configured_optimizer(model, config)
    check_sources(config.init_param)
    check_sounds(config.preprocessor_conf, options.sounds_to_come.splitlines())
    check_wandb(config)
    if options.inference_model:
        check_model_name(options.inference_model, config)
    for note in espnet_notes(raw, config, model, options.espnet):
        print(note)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training configuration (YAML)")
    parser.add_argument("--fs", type=positive_int, help="sampling rate of the formatted audio, in Hz")
    parser.add_argument(
        "--espnet",
        type=boolean,
        default=False,
        help="the command line comes from ESPnet: print all differences",
    )
    parser.add_argument(
        "--sounds_to_come",
        default="",
        help="lists of noise and rooms that are still to be made, one on each line",
    )
    parser.add_argument("--inference_model", default="", help="model file that the training must write")
    for name in ("train_dir", "valid_dir", "stats_dir", "output_dir", "teacher_dir"):
        parser.add_argument(f"--{name}", type=Path, help="as of train")
    return parser
