"""Compare systems on the same utterances: differences with intervals, exact McNemar test, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import Answers, check_directories, read_answers
from lid_toolkit.evaluation.clusters import read_clusters
from lid_toolkit.evaluation.compare import compare, summary
from lid_toolkit.evaluation.compare_many import FORMATS, answer_rows, comparison_tables, recalls
from lid_toolkit.files import write_whole

FEWEST = 2


def main(arguments: Sequence[str]) -> None:
    """Parse the options, compare the systems, and print a summary or tables."""
    options = make_parser().parse_args(arguments)
    paths = [*filter(None, (options.a, options.b)), *options.systems]
    if len(paths) < FEWEST or (options.a is None) != (options.b is None):
        raise LidError("two systems are needed", where="compare", mend="give --a and --b, or --systems")
    systems: dict[str, Answers] = {}
    for path in paths:
        if str(path) in systems:
            raise LidError("given twice", where=path)
        check_directories(options.data_dir, path)
        systems[str(path)] = read_answers(options.data_dir, path.resolve())
    first, *others = systems.values()
    clusters = read_clusters(options.data_dir, first.truth, options.cluster_from)
    for other in others:
        compare(first, other)  # refuses other sets
    if len(systems) == FEWEST and options.format == "text":
        print(summary(compare(first, others[0], clusters), *systems))
    else:
        print(comparison_tables(systems, clusters, FORMATS[options.format]))
    if options.languages:
        print()
        print(FORMATS[options.format](("label", "n", *systems), recalls(systems)))
    for path, only_changes in ((options.changes, True), (options.answers, False)):
        if path is not None:
            with write_whole(path) as stream:
                for row in (("utt", "lang", *systems), *answer_rows(systems, only_changes)):
                    stream.write("\t".join(row) + "\n")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="reference labels: dump/raw/SET")
    parser.add_argument("--a", type=Path, help="results of the first system: .../MODEL/SET")
    parser.add_argument("--b", type=Path, help="results of the second system: .../MODEL/SET")
    parser.add_argument(
        "--systems", type=Path, nargs="+", default=[], help="results of any number of systems"
    )
    parser.add_argument("--cluster_from", metavar="REGEX", help="clusters of the intervals, as in lid score")
    parser.add_argument("--format", choices=list(FORMATS), default="text", help="format of the tables")
    parser.add_argument("--languages", action="store_true", help="also print the recall of each language")
    parser.add_argument(
        "--changes", type=Path, metavar="FILE", help="write the utterances with different answers (.tsv)"
    )
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="write the answers to all utterances (.tsv)"
    )
    return parser
