"""Join the answers of folds, each to another part of a set, so that they can be scored together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.evaluation.pool import pool


def main(arguments: Sequence[str]) -> None:
    """Parse the options and join the answers."""
    options = make_parser().parse_args(arguments)
    pool(options.data_dir, options.output_dir, options.results, options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="results of each fold: .../MODEL/SET")
    parser.add_argument("--data_dir", type=Path, required=True, help="set of all folds: dump/raw/SET")
    parser.add_argument("--output_dir", type=Path, required=True, help="directory to write: .../MODEL/SET")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser
