#!/usr/bin/env python3
"""Stage 4: global mean and variance of the features, where training needs them (plan, job, merge)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean, positive_int
from lid_toolkit.files import locked


def main(arguments: Sequence[str]) -> None:
    """Print how many jobs there are to run, run one of them, or merge what they left."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument(
        "action", choices=("plan", "job", "merge"), help="plan prints the number of jobs, 0: nothing to do"
    )
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--train_dir", type=Path, required=True, help="formatted: dump/raw/TRAIN")
    parser.add_argument(
        "--stats_dir", type=Path, required=True, help="stage 4's directory: exp/lid_stats_16k"
    )
    parser.add_argument("--num_jobs", type=positive_int, default=1, help="number of jobs")
    parser.add_argument("--job", type=positive_int, default=1, help="number of this job")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say whether there is work")
    options, overrides = parser.parse_known_args(arguments)

    from lid_toolkit.prepare.feature_stats import merge, plan, run_job
    from lid_toolkit.training.config import load_config
    from lid_toolkit.training.feature_stats import FeatureStats

    config = load_config(options.config, overrides)
    task = FeatureStats(config, options.train_dir, options.stats_dir, options.num_jobs)
    if options.action == "plan":
        print(plan(task, options.dry_run))
        return
    lock = options.stats_dir / ".features" / (f"job.{options.job}" if options.action == "job" else "merge")
    with locked(lock, f"stage 4, {options.action}"):
        if options.action == "job":
            run_job(task, options.job)
        else:
            merge(task)


if __name__ == "__main__":
    run(main)
