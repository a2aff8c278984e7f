"""Compare two systems on the same utterances: accuracy gain with its interval, exact McNemar test."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.evaluation.answers import read_answers
from lid_toolkit.evaluation.compare import compare, summary


def main(arguments: Sequence[str]) -> None:
    """Parse the options, compare the systems, and print a summary."""
    options = make_parser().parse_args(arguments)
    first, second = (read_answers(options.data_dir, path.resolve()) for path in (options.a, options.b))
    print(summary(compare(first, second), str(options.a), str(options.b)))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="reference labels: dump/raw/SET")
    parser.add_argument("--a", type=Path, required=True, help="results of the first system: .../MODEL/SET")
    parser.add_argument("--b", type=Path, required=True, help="results of the second system: .../MODEL/SET")
    return parser
