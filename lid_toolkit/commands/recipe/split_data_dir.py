"""Split a data directory into N equal parts, or into sets that share no speaker or recording.

With N, the parts have the utterances in order. With --by, the sets have all languages in proportion.
"""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.datadir.operations import split
from lid_toolkit.datadir.splitting import (
    GROUPINGS,
    named_targets,
    parse_shares,
    split_by_shares,
    split_in_folds,
    table_of,
)


def main(arguments: Sequence[str]) -> None:
    """Parse the options and split the directory."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if sum(choice is not None for choice in (options.num_parts, options.shares, options.folds)) != 1:
        parser.error("one of num_parts, --shares and --folds is required")
    if (options.num_parts is None) != (options.by is not None):
        parser.error("--by belongs to --shares and --folds, which need it")
    if options.names and options.shares is None:
        parser.error("--names belongs to --shares")
    if options.num_parts is not None:
        target = options.output_dir or options.source / f"split{options.num_parts}"
        split(options.source, options.num_parts, target)
        print(f"{target}: {options.num_parts} parts")
    elif options.shares is not None:
        shares = parse_shares(options.shares)
        target = options.output_dir or options.source / f"by_{options.by}"
        targets = named_targets(target, options.names, len(shares))
        division = split_by_shares(options.source, options.by, shares, targets, options.seed)
        print(f"{table_of(division)}{target}: {', '.join(division.names)}")
    else:
        if options.folds < 2:
            parser.error("--folds must be at least 2")
        target = options.output_dir or options.source / f"folds{options.folds}_by_{options.by}"
        division = split_in_folds(options.source, options.by, options.folds, target, options.seed)
        print(f"{table_of(division)}{target}: {options.folds} folds, each with train and test")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="data directory to split: data/SET")
    parser.add_argument("num_parts", type=positive_int, nargs="?", help="number of parts, N")
    parser.add_argument("--by", choices=GROUPINGS, help="what two sets must not have in common")
    parser.add_argument("--shares", help='with --by: the share of each set, e.g. "0.8 0.1 0.1"')
    parser.add_argument(
        "--folds", type=positive_int, help="with --by: number of folds, each with the sets train and test"
    )
    parser.add_argument(
        "--names",
        default="",
        help='with --shares: names of the sets, e.g. "train dev test"; by default, 1, 2, …',
    )
    parser.add_argument(
        "--seed", type=positive_int, default=1, help="seed of the order of equally large groups"
    )
    parser.add_argument(
        "--output_dir",
        type=Path,
        help="directory for the parts or sets; by default, SOURCE/splitN, by_BY or foldsN_by_BY",
    )
    return parser
