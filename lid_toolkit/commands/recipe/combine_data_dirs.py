"""Combine several data directories into one."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.datadir.operations import combine


def main(arguments: Sequence[str]) -> None:
    """Parse the options and combine the directories."""
    options = make_parser().parse_args(arguments)
    count = combine(options.sources, options.target, options.datasets.split())
    print(f"{options.target}: {count} utterances")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("target", type=Path, help="data directory to write: data/SET")
    parser.add_argument("sources", type=Path, nargs="+", help="data directories to combine")
    parser.add_argument(
        "--datasets",
        default="",
        help='name of each source in utt2dataset, e.g. "cv fleurs"; by default, the names of the directories',
    )
    return parser
