"""``lid identify``: the language of one recording, or of millions."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lid_toolkit.cli import USER_ERROR, OptionParser, non_negative, positive_int
from lid_toolkit.commands.model import add_batch_size, add_model, model_digest, open_identifier
from lid_toolkit.commands.policy import add_policy, chosen_policy
from lid_toolkit.cores import count_cores
from lid_toolkit.inference.inputs.count import count_inputs
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.inputs.read import STANDARD_INPUT, read_inputs
from lid_toolkit.inference.outputs.formats import require_writer
from lid_toolkit.inference.outputs.journal import Row, continued, open_journal
from lid_toolkit.inference.outputs.lines import print_columns, print_json
from lid_toolkit.progress import Progress, write_line

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier
    from lid_toolkit.inference.policy import DecisionPolicy
    from lid_toolkit.inference.prediction import Prediction

INPUT_HELP = (
    "recording; folder, searched at any depth, or data directory; list: wav.scp, .txt with paths, or .csv, "
    ".tsv or .jsonl with path and optionally start, end and id; tar shard; parquet file with audio; "
    "- for paths on standard input"
)
VADS = ("auto", "silero", "energy", "none")
MOST_WORKERS = 4


@dataclass
class Tally:
    """Counts records, and names those that failed on standard error."""

    records: int = 0
    failures: int = 0

    def see(self, row: Row) -> None:
        """Count a record."""
        self.records += 1
        if row["status"] == "failed":
            self.failures += 1
            write_line(f"error: {row['id']}: {row['reason']}")

    def leave(self) -> None:
        """Exit with 2 if an input failed."""
        if self.failures:
            write_line(f"error: {self.failures} of {self.records} recordings failed")
            sys.exit(USER_ERROR)


def main(arguments: Sequence[str]) -> None:
    """Identify all inputs; name each that failed, and then exit with 2.

    Raises:
        LidError: an option is wrong, the model cannot be loaded, or the output cannot be written.
    """
    options = parsed(arguments)
    lid = open_identifier(options)
    policy = chosen_policy(options, lid.policy)
    settings = {
        "model": model_digest(options.model, options.backend),
        "segments": options.segments,
        **settings_of(options, policy),
    }
    write_records(options, settings, lambda inputs: rows_of(lid, policy, inputs, options), policy.unknown)


def write_records(
    options: argparse.Namespace,
    settings: Mapping[str, object],
    rows: Callable[[Iterator[Input]], Iterator[Row]],
    unknown: str = "unknown",
) -> None:
    """Write or print the record of each input; name each that failed, and then exit with 2.

    Args:
        options: those of :func:`add_inputs`.
        settings: what the answers depend on, besides the inputs.
        rows: returns the records of inputs, in order.
        unknown: what stands for the language of an ``unknown`` input in tables.

    Raises:
        LidError: the output cannot be written or continued.
    """
    inputs, tally = all_inputs(options), Tally()
    with contextlib.ExitStack() as stack:
        if options.output is None:
            write = print_columns if sys.stdout.isatty() and not options.json else print_json
        else:
            opened = open_journal(options.output, settings, options.resume, unknown)
            journal = stack.enter_context(opened)
            write = journal.add
            for row in continued(journal.rows(), inputs, options.output):
                tally.see(row)
        progress = stack.enter_context(shown_progress(options, tally.records))
        for row in rows(inputs):
            write(row)
            tally.see(row)
            progress.advance(1, row["duration"] or 0.0)
    tally.leave()


def rows_of(
    lid: LanguageIdentifier, policy: DecisionPolicy, inputs: Iterator[Input], options: argparse.Namespace
) -> Iterator[Row]:
    """Yield the record of each input, in order."""
    from lid_toolkit.inference.bulk import identify_inputs
    from lid_toolkit.inference.read_ahead import read_ahead

    def identify(speech: Iterator[Any]) -> Iterator[Prediction]:
        return lid.identify(
            speech,
            batch_size=options.batch_size,
            top_k=options.top_k,
            policy=policy,
            window=options.window,
            hop=options.hop,
            vad=options.vad,
            segments=options.segments,
        )

    ready = read_ahead(inputs, lid.rate, workers_of(options), options.vad)
    for key, answer in identify_inputs(identify, ready):
        yield {"id": key, **answer.as_dict()}


def workers_of(options: argparse.Namespace) -> int:
    """Return the number of processes that read ahead: as asked for, else one fewer than cores, at most 4."""
    if options.num_workers is not None:
        return int(options.num_workers)
    return min(count_cores() - 1, MOST_WORKERS)


def all_inputs(options: argparse.Namespace) -> Iterator[Input]:
    """Return the inputs of the command line."""
    single = (Input(name, "/dev/stdin" if name == STANDARD_INPUT else name) for name in options.audio)
    return itertools.chain(single, read_inputs(options.inputs, sys.stdin.buffer))


def settings_of(options: argparse.Namespace, policy: DecisionPolicy) -> dict[str, object]:
    """Return what the answers depend on, besides the inputs and the model."""
    names = ("dtype", "top_k", "vad", "window", "hop")
    return {"policy": policy.to_mapping(), **{name: getattr(options, name) for name in names}}


def shown_progress(options: argparse.Namespace, done: int) -> Progress:
    """Return the progress to show; answers on a terminal are progress enough."""
    if options.output is None and sys.stdout.isatty():
        return Progress("identify", None, stream=io.StringIO(), lines=False)
    progress = Progress("identify", None, "recordings", done=done, lines=options.output is not None)

    def count() -> None:
        within = count_inputs(options.inputs)
        if within is not None:
            progress.expect(within + len(options.audio))

    threading.Thread(target=count, daemon=True).start()
    return progress


def parsed(arguments: Sequence[str], parser: OptionParser | None = None) -> argparse.Namespace:
    """Return the options of a parser with those of :func:`add_inputs`; None: of this command.

    Raises:
        LidError: one is wrong, or two do not fit.
    """
    parser = parser or make_parser()
    options = parser.parse_args(arguments)
    if not options.inputs and not options.audio:
        parser.error("the following arguments are required: INPUT")
    if STANDARD_INPUT in options.inputs and STANDARD_INPUT in options.audio:
        parser.error("standard input is either a list or a recording")
    if options.resume and options.output is None:
        parser.error("--resume needs --output")
    if options.output is not None:
        require_writer(options.output)
    return options


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Identify the language of recordings: one record for each, in their order.")
    add_inputs(parser)
    add_model(parser)
    add_batch_size(parser)
    add_decisions(parser)
    parser.add_argument(
        "--segments",
        action="store_true",
        help="find the parts of each recording by language too; --window is then 5 unless given",
    )
    return parser


def add_inputs(parser: OptionParser) -> None:
    """Add what to read and to write."""
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument(
        "--audio",
        action="append",
        default=[],
        metavar="FILE",
        help="a recording, whatever its name; - for standard input",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="file to write: .jsonl, .csv, .tsv, .parquet or .rttm; by default, records are printed",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the output of a run that was ended; needs the same inputs",
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines on a terminal too")
    parser.add_argument(
        "--num_workers", type=int, help="processes that read ahead; default: one fewer than cores, at most 4"
    )


def add_decisions(parser: OptionParser) -> None:
    """Add how to decide from the scores."""
    add_policy(parser)
    parser.add_argument("--top_k", type=positive_int, default=3, help="number of languages with their scores")
    parser.add_argument(
        "--window", type=non_negative, help="seconds of a window; default: the whole recording"
    )
    parser.add_argument(
        "--hop",
        type=non_negative,
        help="seconds between windows; default: half a window, and a quarter of one for segments",
    )
    parser.add_argument("--vad", choices=VADS, default="auto", help="detector of speech")
