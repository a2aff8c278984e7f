#!/usr/bin/env python3
"""Split a data directory into equal parts, SOURCE/splitN/1 to SOURCE/splitN/N, utterances in order."""

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.datadir.operations import split


def main(arguments: Sequence[str]) -> None:
    """Parse the options and split."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="the directory to split: data/SET")
    parser.add_argument("num_parts", type=positive_int, help="how many parts")
    parser.add_argument("--output_dir", type=Path, help="where the parts go; SOURCE/splitN unless given")
    options = parser.parse_args(arguments)
    target = options.output_dir or options.source / f"split{options.num_parts}"
    split(options.source, options.num_parts, target)
    print(f"{target}: {options.num_parts} parts")


if __name__ == "__main__":
    run(main)
