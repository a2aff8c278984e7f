"""Start the processes of a training on this machine and watch them, with torchrun's own library.

With several machines, the same command runs on each. The machines find each other by torchrun's variables:
``PET_MASTER_ADDR`` and ``PET_MASTER_PORT`` (machine 0 and a free port on it), ``PET_NODE_RANK`` (the number
of this machine, from 0) and, if it is not the number of GPUs, ``PET_NPROC_PER_NODE``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import FrameType

from torch.distributed.elastic.multiprocessing import (
    DefaultLogsSpecs,
    PContext,
    ProcessFailure,
    SignalException,
    start_processes,
)

from lid_toolkit.cli import USER_ERROR
from lid_toolkit.cores import count_cores
from lid_toolkit.errors import LidError
from lid_toolkit.processes import PARENT, SHARING
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.device import count_gpus
from lid_toolkit.training.signals import REQUEUE, SAME_REQUEST_S, caught_signals, leave

DEFAULT_PORT = "29500"
LONGEST_CHECKPOINT_S = 600


@dataclass(frozen=True)
class Members:
    """The training processes on this machine.

    Attributes:
        here: their number.
        sharing: whether they share the ``accum_grad`` batches of an update; otherwise each has so many.
    """

    here: int = 1
    sharing: bool = False


def members(ngpu: str, nodes: int, config: TrainConfig) -> Members:
    """Return the processes to start: ``PET_NPROC_PER_NODE`` if set, or one per GPU, or as many as share well.

    On the CPU of one machine, each of several processes computes a part of the ``accum_grad`` batches of an
    update on cores of its own, because threads lose much time waiting for each other in short operations.
    A pretrained front end stays in one process: its weights would be in memory several times.
    """
    given = os.environ.get("PET_NPROC_PER_NODE")
    if given is not None:
        return Members(int(given))
    gpus = count_gpus(ngpu)
    if gpus or nodes > 1 or config.frontend == "s3prl":
        return Members(max(gpus, 1))
    cores = min(count_cores(), config.accum_grad)
    most = max(number for number in range(1, cores + 1) if config.accum_grad % number == 0)
    return Members(most, sharing=most > 1)


def launch(command: Sequence[str], started: Members, nodes: int) -> None:
    """Run a Python command in several processes on this machine, as each of ``nodes`` machines does.

    Stop signals are passed on to the processes. If one process fails, the others are ended.

    Raises:
        LidError: the addresses of the other machines are missing, or a process was killed.
        SystemExit: with the exit code of the process that failed first; it has printed its error.
        KeyboardInterrupt: after Ctrl-C.
    """
    environments = member_environments(started, nodes)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(number.name for number in caught_signals())
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        processes = start_processes(
            "train",
            sys.executable,
            dict.fromkeys(range(started.here), tuple(command)),
            dict(enumerate(environments)),
            DefaultLogsSpecs(scratch),
        )
        try:
            result = processes.wait()
        except SignalException as request:
            pass_on(processes, request.sigval)
            return
    failures = result.failures.values() if result else ()
    if failures:
        fail(failures)


def member_environments(started: Members, nodes: int) -> list[dict[str, str]]:
    """Return the environment variables of each process on this machine.

    Raises:
        LidError: there are several machines, but their addresses are missing.
    """
    here, node = started.here, int(os.environ.get("PET_NODE_RANK", 0))
    address, port = os.environ.get("PET_MASTER_ADDR"), os.environ.get("PET_MASTER_PORT", DEFAULT_PORT)
    if nodes == 1:
        node, address, port = 0, "127.0.0.1", free_port()
    if address is None or not node < nodes:
        raise LidError(
            f"{nodes} machines, but PET_MASTER_ADDR or PET_NODE_RANK is missing or wrong",
            where="num_nodes",
            mend="choose a cluster in cmd.sh, or set both variables on each machine",
        )
    shared = {"MASTER_ADDR": address, "MASTER_PORT": port, "WORLD_SIZE": str(here * nodes)}
    shared |= {"LOCAL_WORLD_SIZE": str(here), "GROUP_RANK": str(node), PARENT: str(os.getpid())}
    shared[SHARING] = str(here if started.sharing else 1)
    if "OMP_NUM_THREADS" not in os.environ:
        shared["OMP_NUM_THREADS"] = str(max(count_cores() // here, 1))
    return [shared | {"RANK": str(node * here + rank), "LOCAL_RANK": str(rank)} for rank in range(here)]


def pass_on(processes: PContext, number: signal.Signals) -> None:
    """Pass a signal on to the processes, wait for their checkpoint, and exit as they did.

    A signal to the whole group comes again from the parent, and must not end this process before the others.
    A later one is another request: then the processes are killed.
    """
    began = time.monotonic()

    def on_signal(repeated: int, _frame: FrameType | None) -> None:
        if time.monotonic() - began > SAME_REQUEST_S:
            processes.close(signal.SIGKILL)
            raise SystemExit(128 + repeated)

    for caught in caught_signals():
        signal.signal(caught, on_signal)
    processes.close(number, LONGEST_CHECKPOINT_S)
    result = processes.wait(0)
    codes = {failure.exitcode for failure in result.failures.values()} if result else set()
    if codes <= {REQUEUE, 128 + signal.SIGINT, -number}:
        leave(number)
    fail(result.failures.values() if result else ())


def fail(failures: Collection[ProcessFailure]) -> None:
    """Exit as the process did that caused the failure.

    Failures that are found at the same time have no order. A process killed by a signal is taken as the
    cause first: the others may have exited because they lost it. SIGTERM comes last, because it is how the
    remaining processes are ended.

    Raises:
        LidError: a signal killed the process, so it could not print an error itself.
    """
    first = min(
        failures,
        key=lambda failure: (failure.exitcode == -signal.SIGTERM, failure.exitcode > 0, failure.timestamp),
    )
    if first.exitcode < 0:
        raise LidError(
            f"process {first.local_rank} was killed by {signal.Signals(-first.exitcode).name}",
            where="training",
            mend="memory may have run out; the same command continues from the last checkpoint",
        )
    raise SystemExit(first.exitcode or USER_ERROR)


def free_port() -> str:
    """Return a free port of this machine."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])
