"""Write a speed-perturbed copy of a data directory. Formatting changes the audio accordingly."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.prepare.speed import parse_factors, perturb_data_dir


def main(arguments: Sequence[str]) -> None:
    """Parse the options and write the directory."""
    options = make_parser().parse_args(arguments)
    perturb_data_dir(options.source, options.target, parse_factors(options.factors), options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="data directory: data/SET")
    parser.add_argument("target", type=Path, help="data directory to write: data/SET_sp")
    parser.add_argument("--factors", default="0.9 1.0 1.1", help="speed factors; 1.0 is the original speed")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser
