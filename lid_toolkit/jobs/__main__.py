"""``python -m lid_toolkit.jobs BACKEND [options] JOB=1:N LOG COMMAND...``: run an array of jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import run
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.jobs.array import OPTIONS, USAGE, Call, JobArray, make_array, parse_call
from lid_toolkit.jobs.cluster_arrays import Batch
from lid_toolkit.jobs.config import Config, read_config
from lid_toolkit.jobs.log import report_failures
from lid_toolkit.jobs.pool import Pool, machines_of, this_machine
from lid_toolkit.jobs.runner import Backend, run_array
from lid_toolkit.jobs.schedulers import SCHEDULERS
from lid_toolkit.jobs.spool import new_spool

BACKENDS = ("local", "ssh", *SCHEDULERS)
HELP = f"""usage: utils/jobs.sh BACKEND {USAGE}

Run COMMAND once for each of the jobs 1 to N; JOB is replaced by the job's number in LOG and COMMAND.

BACKEND is one of:
  local              processes of this machine, as many at the same time as it has cores
  ssh                processes of the machines that conf/ssh.conf lists
  slurm, sge, pbs    a job array of the scheduler, submitted as conf/BACKEND.conf says

Options, before or after JOB=1:N; hyphens and underscores are the same:
  --num-threads N    threads of each job (default: 1)
  --max-jobs-run N   jobs at the same time (default: local and ssh: cores / threads)
  --gpu N            GPUs of its own for each job (default: 0)
  --num-nodes N      machines that run the command together, each with --gpu GPUs; the command finds the
                     others by torchrun's variables PET_*. More than 1 only with slurm
  --mem SIZE         e.g. 4G; local and ssh end a job that holds more. They look once a second, on Linux
                     only, so a short peak may go unseen
  --time T           minutes, H:M:S or D-H; local and ssh end a job that takes longer
  --nice N           give way to other processes, 0 to 19 (default: 0)
  --name NAME        what messages and the scheduler's queue call the jobs (default: from LOG)
  --config FILE      how to submit (default: conf/BACKEND.conf); not for local
  --OPTION VALUE     any other that FILE explains by "option OPTION=..."
  -x VALUE           handed to the scheduler's submit command as it is
  -V                 accepted: jobs have the environment of the caller

Exit code: 0; 2 when jobs failed by a fault of the user's; of a single command, its own; else 1.
"""


def main(arguments: Sequence[str]) -> None:
    """Run the jobs and leave with their exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return
    backend, *rest = arguments
    if backend not in BACKENDS:
        raise LidError(f"unknown backend '{backend}'", where="jobs", mend=nearest(backend, BACKENDS))
    array, runs = prepare(backend, parse_call(rest))
    with new_spool(array) as spool:
        outcomes = run_array(array, runs, spool)
    sys.exit(report_failures(backend, array, outcomes, sys.stderr))


def prepare(name: str, call: Call) -> tuple[JobArray, Backend]:
    """Return the array that a call asks for, and its backend.

    Raises:
        LidError: the backend does not know an option, or cannot do what it asks for.
    """
    if name in SCHEDULERS:
        config = _config(name, call)
        array = make_array(call, config.defaults, (*OPTIONS, "config", *config.options))
        return array, Batch(SCHEDULERS[name], array, config)
    if call.passed:
        raise LidError(
            f"{call.passed[0]} is an option for a scheduler", where=f"jobs {name}", mend="leave it out"
        )
    if name == "ssh":
        config = _config(name, call)
        array = make_array(call, config.defaults, (*OPTIONS, "config"))
        return array, Pool(array, machines_of(config, array))
    array = make_array(call)
    return array, Pool(array, this_machine(array))


def _config(name: str, call: Call) -> Config:
    return read_config(Path(call.options.get("config", f"conf/{name}.conf")))


if __name__ == "__main__":
    run(main)
