"""``python -m lid_toolkit.jobs BACKEND [options] JOB=1:N LOG COMMAND...``: run an array of jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import run
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.jobs.array import OPTIONS, USAGE, Call, JobArray, make_array, parse_call
from lid_toolkit.jobs.cluster_arrays import ClusterArray
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
  local              processes on this machine, as many at a time as it has cores
  ssh                processes on the machines listed in conf/ssh.conf
  slurm, sge, pbs    a job array of the scheduler, submitted as described in conf/BACKEND.conf

Options, before or after JOB=1:N; hyphens and underscores mean the same:
  --num-threads N    threads of each job (default: 1)
  --max-jobs-run N   jobs at a time (default for local and ssh: cores / threads)
  --gpu N            GPUs for each job, not shared (default: 0)
  --num-nodes N      machines that run the command together, each with --gpu GPUs. The command finds the
                     others by torchrun's variables PET_*. More than 1 is supported by slurm only
  --mem SIZE         memory, e.g. 4G. local and ssh end a job that uses more; they check once a second,
                     on Linux only, so a short peak may be missed
  --time T           minutes, H:M:S or D-H. local and ssh end a job that takes longer
  --nice N           lower priority, 0 to 19 (default: 0)
  --name NAME        name of the jobs in messages and in the queue (default: from LOG)
  --config FILE      how to submit (default: conf/BACKEND.conf); not for local
  --OPTION VALUE     any other option that FILE defines by "option OPTION=..."
  -x VALUE           passed to the scheduler's submit command unchanged
  -V                 ignored: jobs always get the environment of the caller

Exit code: 0 if all jobs succeeded. Otherwise 2 if every failed job ended with 2, which means a user
error; else the exit code of a single command, and 1 for an array.
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
    """Return the array that a call describes, and its backend.

    Raises:
        LidError: an option is unknown to the backend, or asks for more than the backend has.
    """
    if name in SCHEDULERS:
        config = _config(name, call)
        known = (*OPTIONS, "config", *config.options)
        array = make_array(call, config.defaults, known, SCHEDULERS[name].nodes)
        return array, ClusterArray(SCHEDULERS[name], array, config)
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
