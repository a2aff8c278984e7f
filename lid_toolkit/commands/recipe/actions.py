"""The sub-commands ``plan``, ``job`` and ``merge`` of a stage whose work is split into parts."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from lid_toolkit.cli import OptionParser, boolean, positive_int


def add_actions(parser: OptionParser) -> None:
    """Add the sub-command and the options that all such stages have in common."""
    parser.add_argument(
        "action",
        choices=("plan", "job", "merge"),
        help="plan prints the number of jobs to run, 0 if the result is up to date; run the jobs, then merge",
    )
    parser.add_argument("--num_jobs", type=positive_int, default=1, help="plan: maximum number of jobs")
    parser.add_argument("--job", type=positive_int, default=1, help="job: number of the job, from 1")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="plan: only report whether there is work to do"
    )


def act(
    options: Namespace,
    plan: Callable[[int, bool], int],
    job: Callable[[int], None],
    merge: Callable[[], None],
) -> None:
    """Run the sub-command.

    Args:
        options: parsed options, including those of :func:`add_actions`.
        plan: takes the maximum number of jobs and whether this is a dry run; returns the number of jobs
            to run.
        job: takes the number of the job, from 1.
        merge: combines the results of the jobs.
    """
    if options.action == "plan":
        print(plan(options.num_jobs, options.dry_run))
    elif options.action == "job":
        job(options.job)
    else:
        merge()
