"""Split a data directory into N equal parts, SOURCE/splitN/1 to N, in the order of the utterances."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.datadir.operations import split


def main(arguments: Sequence[str]) -> None:
    """Parse the options and split the directory."""
    options = make_parser().parse_args(arguments)
    target = options.output_dir or options.source / f"split{options.num_parts}"
    split(options.source, options.num_parts, target)
    print(f"{target}: {options.num_parts} parts")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="data directory to split: data/SET")
    parser.add_argument("num_parts", type=positive_int, help="number of parts, N")
    parser.add_argument("--output_dir", type=Path, help="directory for the parts; by default, SOURCE/splitN")
    return parser
