"""``python -m lid_toolkit.jobs.node COMMAND...``: run a command on one of several machines, with its rank.

Slurm knows the rank of a machine only on that machine, so this process sets it for ``torchrun`` there.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ["PET_NODE_RANK"] = os.environ["SLURM_NODEID"]
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot run '{sys.argv[1]}': {error.strerror}")
