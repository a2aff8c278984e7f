"""Collect the mean and variance of the features, if training needs them. Run plan, jobs, merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.recipe.actions import act, add_actions
from lid_toolkit.training.config import load_config
from lid_toolkit.training.feature_stats import FeatureStats


def main(arguments: Sequence[str]) -> None:
    """Parse the options and run the sub-command."""
    options, overrides = make_parser().parse_known_args(arguments)

    task = FeatureStats(load_config(options.config, overrides), options.train_dir, options.stats_dir)
    if options.action == "plan" and not (task.needed and task.step.due(options.dry_run)):
        print(0)
        return

    # After the return: torch takes longer to import than it takes to see that nothing is to do.
    from lid_toolkit.prepare.feature_stats import merge, plan, run_job

    act(
        options,
        lambda jobs, dry_run: plan(task, jobs, dry_run),
        lambda number: run_job(task, number),
        lambda: merge(task),
    )


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    add_actions(parser)
    parser.add_argument("--config", type=Path, required=True, help="training configuration (YAML)")
    parser.add_argument(
        "--train_dir", type=Path, required=True, help="formatted training set: dump/raw/TRAIN"
    )
    parser.add_argument(
        "--stats_dir", type=Path, required=True, help="directory of the statistics: exp/lid_stats_16k"
    )
    return parser
