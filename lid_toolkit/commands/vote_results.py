"""``lid vote_results``: the common answers of several systems that have already identified one set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.commands.vote import RULES


def main(arguments: Sequence[str]) -> None:
    """Parse the options and write the common answers."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.inference.vote_results import vote_results

    vote_results(options.results, options.output_dir, options.rule, options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Answer a set by several systems together, from the results of each.")
    parser.add_argument("results", type=Path, nargs="+", help="results of each system: .../MODEL/SET")
    parser.add_argument("--output_dir", type=Path, required=True, help="directory to write: .../MODEL/SET")
    parser.add_argument(
        "--rule",
        choices=RULES,
        default="fuse",
        help="fuse: decide from all posteriors together; agree: no answer where the answers differ",
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser
