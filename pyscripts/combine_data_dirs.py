#!/usr/bin/env python3
"""Write one data directory with the utterances of several."""

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser
from lid_toolkit.datadir.operations import combine


def main(arguments: Sequence[str]) -> None:
    """Parse the options and combine."""
    parser = OptionParser(__doc__)
    parser.add_argument("target", type=Path, help="the directory to make: data/SET")
    parser.add_argument("sources", type=Path, nargs="+", help="the directories to combine")
    options = parser.parse_args(arguments)
    print(f"{options.target}: {combine(options.sources, options.target)} utterances")


if __name__ == "__main__":
    run(main)
