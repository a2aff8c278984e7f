"""The sub-commands ``plan``, ``job`` and ``merge`` of a stage whose work is cut into parts."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from lid_toolkit.cli import OptionParser, boolean, positive_int


def add_actions(parser: OptionParser) -> None:
    """Add the choice of the sub-command and the options that all such stages have."""
    parser.add_argument(
        "action",
        choices=("plan", "job", "merge"),
        help="plan prints the number of jobs to run, 0 if the result is current; run the jobs, then merge",
    )
    parser.add_argument("--num_jobs", type=positive_int, default=1, help="plan: largest number of jobs")
    parser.add_argument("--job", type=positive_int, default=1, help="job: which one, from 1")
    parser.add_argument("--dry_run", type=boolean, default=False, help="plan: only say what is to do")


def act(
    options: Namespace,
    plan: Callable[[int, bool], int],
    job: Callable[[int], None],
    merge: Callable[[], None],
) -> None:
    """Do what the sub-command says.

    Args:
        options: parsed, with those of :func:`add_actions`.
        plan: takes the largest number of jobs and whether to only say what is to do; returns how many jobs
            to run.
        job: takes the number of the job.
        merge: finishes the work.
    """
    if options.action == "plan":
        print(plan(options.num_jobs, options.dry_run))
    elif options.action == "job":
        job(options.job)
    else:
        merge()
