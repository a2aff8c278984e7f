"""Collect the utterance lengths and labels of the training and validation sets."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.prepare.statistics import collect_stats


def main(arguments: Sequence[str]) -> None:
    """Parse the options and collect the statistics."""
    options = make_parser().parse_args(arguments)
    collect_stats(options.train_dir, options.valid_dir, options.out, options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument(
        "--train_dir", type=Path, required=True, help="formatted training set: dump/raw/TRAIN"
    )
    parser.add_argument(
        "--valid_dir", type=Path, required=True, help="formatted validation set: dump/raw/VALID"
    )
    parser.add_argument("--out", type=Path, required=True, help="output directory: exp/lid_stats_16k")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser
