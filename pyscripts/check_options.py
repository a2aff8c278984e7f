#!/usr/bin/env python3
"""Check option values of lid.sh before any work starts, and print the number of cores and of GPUs.

The shell checks only the form of a value. Limits are defined by the code that uses the value.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean, fraction
from lid_toolkit.commands.recipe.options import iterations, perplexity, rate
from lid_toolkit.cores import count_cores
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.speed import parse_factors

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA's driver, of AMD's, and of Windows' for Linux."""


def main(arguments: Sequence[str]) -> None:
    """Parse the options and print the counts."""
    parser = OptionParser(__doc__ or "")
    parser.prog = "lid.sh"
    parser.add_argument("--fs", type=rate, help="sampling rate")
    parser.add_argument("--speed_perturb_factors", default="", help="speed factors for the training set")
    parser.add_argument(
        "--max_failed", type=fraction, help="fraction of utterances that may fail, from 0 to 1"
    )
    parser.add_argument("--crop_seconds", default="", help="durations of crops in seconds")
    parser.add_argument("--perplexity", type=perplexity, help="t-SNE perplexity")
    parser.add_argument("--max_iter", type=iterations, help="number of t-SNE iterations")
    parser.add_argument(
        "--count_gpus", type=boolean, default=True, help="false: print 0 for the GPUs, which is faster"
    )
    options = parser.parse_args(arguments)
    if options.speed_perturb_factors.strip():
        parse_factors(options.speed_perturb_factors)
    if options.crop_seconds.strip() and 0 in map(float, options.crop_seconds.split()):
        raise LidError("a crop of 0 s has no speech", where="--crop_seconds", mend="give numbers above 0")
    print(count_cores(), count_gpus() if options.count_gpus else 0)


def count_gpus() -> int:
    """Return the number of GPUs that training and identification can use.

    Without the kernel driver of NVIDIA or AMD there are none, and torch need not be imported to count them.
    """
    if sys.platform == "linux" and not any(Path(path).exists() for path in GPU_DRIVERS):
        return 0
    from lid_toolkit.training import device

    return device.count_gpus("auto")


if __name__ == "__main__":
    run(main)
