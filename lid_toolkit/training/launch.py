"""Start the processes of a training on this machine and watch over them, by torchrun's own means.

Across machines the same command runs on each, and finds the others by torchrun's variables, which
``utils/jobs.sh slurm --num-nodes N`` sets: ``PET_MASTER_ADDR`` and ``PET_MASTER_PORT`` (a machine and
a free port of it), ``PET_NODE_RANK`` (this machine's number, from 0; that of the named machine is 0)
and, if it is not ``--ngpu``, ``PET_NPROC_PER_NODE``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Collection, Sequence

from torch.distributed.elastic.multiprocessing import (
    DefaultLogsSpecs,
    PContext,
    ProcessFailure,
    SignalException,
    start_processes,
)

from lid_toolkit.cli import USER_ERROR
from lid_toolkit.errors import LidError
from lid_toolkit.training.device import count_gpus
from lid_toolkit.training.signals import REQUEUE, caught_signals, leave

DEFAULT_PORT = "29500"
LONGEST_CHECKPOINT_S = 600


def processes_here(ngpu: str) -> int:
    """Return how many processes train on this machine: one for each GPU, or one on the CPU."""
    return int(os.environ.get("PET_NPROC_PER_NODE", max(count_gpus(ngpu), 1)))


def launch(command: Sequence[str], here: int, nodes: int) -> None:
    """Run a Python command as ``here`` processes on this machine, of ``nodes`` machines that all do.

    Signals that ask for a stop are handed on; when one process fails, the others are ended.

    Raises:
        LidError: the other machines are not known, or a process was killed.
        SystemExit: with the exit code of the process that failed first, which has told why.
        KeyboardInterrupt: after Ctrl-C.
    """
    environments = member_environments(here, nodes)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(number.name for number in caught_signals())
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        processes = start_processes(
            "train",
            sys.executable,
            dict.fromkeys(range(here), tuple(command)),
            dict(enumerate(environments)),
            DefaultLogsSpecs(scratch),
        )
        try:
            result = processes.wait()
        except SignalException as request:
            hand_on(processes, request.sigval)
            return
    failures = result.failures.values() if result else ()
    if failures:
        fail(failures)


def member_environments(here: int, nodes: int) -> list[dict[str, str]]:
    """Return the variables that tell each process on this machine who it is.

    Raises:
        LidError: several machines, but no word of the others.
    """
    node = int(os.environ.get("PET_NODE_RANK", 0))
    address, port = os.environ.get("PET_MASTER_ADDR"), os.environ.get("PET_MASTER_PORT", DEFAULT_PORT)
    if nodes == 1:
        node, address, port = 0, "127.0.0.1", free_port()
    if address is None or not node < nodes:
        raise LidError(
            f"{nodes} machines, but no word of the others",
            where="--num_nodes",
            mend="choose a cluster in cmd.sh, or set PET_MASTER_ADDR and PET_NODE_RANK on each",
        )
    shared = {"MASTER_ADDR": address, "MASTER_PORT": port, "WORLD_SIZE": str(here * nodes)}
    shared |= {"LOCAL_WORLD_SIZE": str(here), "GROUP_RANK": str(node)}
    if "OMP_NUM_THREADS" not in os.environ:
        shared["OMP_NUM_THREADS"] = str(max(len(os.sched_getaffinity(0)) // here, 1))
    return [shared | {"RANK": str(node * here + place), "LOCAL_RANK": str(place)} for place in range(here)]


def hand_on(processes: PContext, number: signal.Signals) -> None:
    """Hand a signal on to the processes, wait for their checkpoint, and leave as they did."""
    processes.close(number, LONGEST_CHECKPOINT_S)
    result = processes.wait(0)
    codes = {failure.exitcode for failure in result.failures.values()} if result else set()
    if codes <= {REQUEUE, 128 + signal.SIGINT, -number}:
        leave(number)
    fail(result.failures.values() if result else ())


def fail(failures: Collection[ProcessFailure]) -> None:
    """Leave as the process did whose end is the cause.

    Failures found at the same look cannot be ordered by time. A process killed by a signal is a cause
    and could not tell of itself; one that exits may do so for want of the killed one; SIGTERM is how
    the rest are ended.

    Raises:
        LidError: a signal killed it, so it could not tell why.
    """
    first = min(
        failures,
        key=lambda failure: (failure.exitcode == -signal.SIGTERM, failure.exitcode > 0, failure.timestamp),
    )
    if first.exitcode < 0:
        raise LidError(
            f"process {first.local_rank} was killed by {signal.Signals(-first.exitcode).name}",
            where="training",
            mend="perhaps for want of memory; the same command goes on from the last checkpoint",
        )
    raise SystemExit(first.exitcode or USER_ERROR)


def free_port() -> str:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])
