"""``python -m lid_toolkit.jobs BACKEND [options] JOB=1:N LOG COMMAND...``: run an array of jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lid_toolkit.cli import run
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.jobs.array import USAGE, parse_array
from lid_toolkit.jobs.local import run_local
from lid_toolkit.jobs.log import report_failures

HELP = f"""usage: utils/jobs.sh local {USAGE}

Run COMMAND once for each of the jobs 1 to N on this machine, as many at the same time as it has cores;
JOB is replaced by the job's number in LOG and COMMAND.

  --num-threads N    threads of each job (default: 1)
  --max-jobs-run N   jobs at the same time (default: cores / threads)
  --gpu N            GPUs of its own for each job (default: 0)
  --mem SIZE         end a job that holds more, e.g. 4G. Linux only; looked at once a second, so a short peak
                     may go unseen
  --time T           end a job that takes longer: minutes, H:M:S or D-H

Exit code: 0; 2 when jobs failed by a fault of the user's; 1 when one failed otherwise.
"""


def main(arguments: Sequence[str]) -> None:
    """Run the jobs and leave with their exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return
    backend, *rest = arguments
    if backend != "local":
        raise LidError(f"unknown backend '{backend}'", where="jobs", mend=nearest(backend, ["local"]))
    array = parse_array(rest)
    sys.exit(report_failures(backend, array, run_local(array), sys.stderr))


if __name__ == "__main__":
    run(main)
