"""``python -m lid_toolkit.jobs.task SPOOL NUMBER``: run one job of an array on the machine it was sent to."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.jobs.array import Resources
from lid_toolkit.jobs.log import write_foot, write_head
from lid_toolkit.jobs.spool import Spool
from lid_toolkit.jobs.warden import guard

STDIN = 0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str]) -> None:
    """Run the job, write its log and outcome, and leave with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spool", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument(
        "--gpus", help="the job's GPUs, as in CUDA_VISIBLE_DEVICES; by default the scheduler chooses"
    )
    parser.add_argument(
        "--guarded",
        action="store_true",
        help="enforce the limits of the job, and end it when standard input closes: no scheduler does so",
    )
    options = parser.parse_args(arguments)
    spool = Spool(options.spool)
    if spool.stopped:
        return
    array = spool.load_array()
    spool.note_start(options.number)
    os.nice(array.resources.nice)
    environment = job_environment(array.resources, options.gpus)
    limits = array.resources if options.guarded else Resources()
    with write_head(array, options.number) as log:
        outcome = guard(
            array.command_of(options.number),
            options.number,
            limits,
            environment,
            log,
            STDIN if options.guarded else None,
        )
        write_foot(log, outcome, array.resources.threads)
    spool.note_end(outcome)
    code = outcome.exit_code
    sys.exit(128 - code if code < 0 else code or int(outcome.failed))


def job_environment(resources: Resources, gpus: str | None) -> dict[str, str]:
    """Return the environment of a job's command: that of this process, with variables for threads and GPUs.

    If a number of machines was given, the variables ``PET_*`` are set too. ``torchrun`` reads its options
    from them, so that ``torchrun SCRIPT`` runs on all machines without options. This machine is the first
    one; the port is free here.
    """
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(resources.threads))
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    if resources.nodes is not None:
        environment |= {
            "PET_NNODES": str(resources.nodes),
            "PET_NODE_RANK": "0",
            "PET_NPROC_PER_NODE": str(max(1, resources.gpus)),
            "PET_MASTER_ADDR": "127.0.0.1" if resources.nodes == 1 else socket.gethostname(),
            "PET_MASTER_PORT": str(_free_port()),
        }
    return environment


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    main(sys.argv[1:])
