"""Compare systems on the same utterances: differences with intervals, exact McNemar test, what changed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, fraction_list, names
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import Answers, check_directories, read_answers, read_scores
from lid_toolkit.evaluation.clusters import read_clusters
from lid_toolkit.evaluation.compare import compare, summary
from lid_toolkit.evaluation.compare_coverage import Sure, coverage_rows
from lid_toolkit.evaluation.compare_many import FORMATS, answer_rows, comparison_tables, recalls
from lid_toolkit.files import write_whole

FEWEST = 2


def main(arguments: Sequence[str]) -> None:
    """Parse the options, compare the systems, and print a summary or tables."""
    options = make_parser().parse_args(arguments)
    paths = paths_of(options)
    systems = {name: read(options.data_dir, path) for name, path in paths.items()}
    first, *others = systems.values()
    clusters = read_clusters(options.data_dir, first.truth, options.cluster_from)
    for other in others:
        compare(first, other)  # refuses other sets
    table = FORMATS[options.format]
    if len(systems) == FEWEST and options.format == "text":
        print(summary(compare(first, others[0], clusters), *systems))
    else:
        print(comparison_tables(systems, clusters, table))
    if options.languages:
        print()
        print(table(("label", "n", *systems), recalls(systems)))
    if options.coverage:
        sure = {
            name: Sure.of(systems[name], read_scores(path, systems[name])) for name, path in paths.items()
        }
        head = ("accuracy at coverage", *(f"{100 * coverage:g} %" for coverage in options.coverage))
        print()
        print(table(head, coverage_rows(sure, options.coverage, clusters)))
    for path, only_changes in ((options.changes, True), (options.answers, False)):
        if path is not None:
            with write_whole(path) as stream:
                for row in (("utt", "lang", *systems), *answer_rows(systems, only_changes)):
                    stream.write("\t".join(row) + "\n")


def paths_of(options: Namespace) -> dict[str, Path]:
    """Return the results of each system by its name.

    Raises:
        LidError: there are fewer than two systems, one is given twice, or the names do not fit.
    """
    paths = [*filter(None, (options.a, options.b)), *options.systems]
    if len(paths) < FEWEST or (options.a is None) != (options.b is None):
        raise LidError("two systems are needed", where="compare", mend="give --a and --b, or --systems")
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise LidError("given twice", where=twice[0])
    given = options.names or tuple(map(str, paths))
    if len(given) != len(paths) or len({*given}) < len(given):
        what = f"{len(given)} names for {len(paths)} systems"
        raise LidError(what, where="--names", mend="give each system one name of its own")
    return dict(zip(given, paths, strict=True))


def read(data_dir: Path, inference_dir: Path) -> Answers:
    """Read the answers of a system; LidError if there are none."""
    check_directories(data_dir, inference_dir)
    return read_answers(data_dir, inference_dir.resolve())


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="reference labels: dump/raw/SET")
    parser.add_argument("--a", type=Path, help="results of the first system: .../MODEL/SET")
    parser.add_argument("--b", type=Path, help="results of the second system: .../MODEL/SET")
    parser.add_argument(
        "--systems", type=Path, nargs="+", default=[], help="results of any number of systems"
    )
    parser.add_argument(
        "--names", type=names, help="names of the systems in the tables, separated by commas (default: paths)"
    )
    parser.add_argument("--cluster_from", metavar="REGEX", help="clusters of the intervals, as in lid score")
    parser.add_argument("--format", choices=list(FORMATS), default="text", help="format of the tables")
    parser.add_argument("--languages", action="store_true", help="also print the recall of each language")
    parser.add_argument(
        "--coverage",
        type=fraction_list,
        default=(),
        help='also print the accuracy where each answers only this proportion, e.g. "0.5 0.8 1"',
    )
    parser.add_argument(
        "--changes", type=Path, metavar="FILE", help="write the utterances with different answers (.tsv)"
    )
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="write the answers to all utterances (.tsv)"
    )
    return parser
