"""``lid vote``: the language of recordings by several models together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.identify import (
    add_decisions,
    add_inputs,
    parsed,
    settings_of,
    workers_of,
    write_records,
)
from lid_toolkit.commands.model import add_batch_size, add_computing, model_digest
from lid_toolkit.commands.policy import chosen_policy
from lid_toolkit.cores import count_cores
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.inputs.read import STANDARD_INPUT
from lid_toolkit.inference.outputs.formats import JSON_LINES
from lid_toolkit.inference.outputs.journal import Row
from lid_toolkit.inference.policy import DecisionPolicy

if TYPE_CHECKING:
    from lid_toolkit.inference.vote import Voters

RULES = ("fuse", "agree")


def main(arguments: Sequence[str]) -> None:
    """Vote on all inputs; name each that failed, and then exit with 2.

    Raises:
        LidError: an option is wrong, a model cannot be loaded, or the output cannot be written.
    """
    parser = make_parser()
    options = parsed(arguments, parser)
    if options.output is not None and options.output.suffix.lower() != JSON_LINES:
        parser.error(f"--output {options.output}: the answers of the models need {JSON_LINES}")
    if STANDARD_INPUT in options.audio:
        parser.error("--audio -: every model reads the recording, but standard input can be read only once")
    policy = chosen_policy(options, DecisionPolicy())
    voters = open_voters(options, policy)
    models = [model_digest(source) for source in options.models]
    settings = {"models": models, "rule": options.rule, **settings_of(options, policy)}
    write_records(options, settings, lambda inputs: rows_of(voters, inputs, options))


def open_voters(options: argparse.Namespace, policy: DecisionPolicy) -> Voters:
    """Load the models; raise LidError if one cannot be used or they do not fit each other."""
    from lid_toolkit.inference.identifier import LanguageIdentifier  # imports torch
    from lid_toolkit.inference.vote import Voters

    threads = options.threads or count_cores()
    models = {
        source: LanguageIdentifier.from_pretrained(
            source, options.device, threads=threads, dtype=options.dtype
        )
        for source in options.models
    }
    return Voters(models, options.rule, policy)


def rows_of(voters: Voters, inputs: Iterator[Input], options: argparse.Namespace) -> Iterator[Row]:
    """Yield the record of each input, in order."""
    from lid_toolkit.inference.bulk import identify_inputs
    from lid_toolkit.inference.read_ahead import read_ahead
    from lid_toolkit.inference.vote import Vote

    def identify(speech: Iterator[Any]) -> Iterator[Vote]:
        return voters.identify(
            speech,
            options.top_k,
            batch_size=options.batch_size,
            window=options.window,
            hop=options.hop,
            vad=options.vad,
        )

    rate = max(model.rate for model in voters.models.values())
    ready = read_ahead(inputs, rate, workers_of(options), options.vad)
    for key, answer in identify_inputs(identify, ready):
        voted = answer if isinstance(answer, Vote) else Vote(answer, ())
        yield {"id": key, **voted.as_dict()}


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Identify the language of recordings by several models together.")
    add_inputs(parser)
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="two or more models, each as --model of lid identify; give them after the inputs",
    )
    parser.add_argument(
        "--rule",
        choices=RULES,
        default="fuse",
        help="fuse: decide from all posteriors together; agree: no answer where the models disagree",
    )
    add_computing(parser)
    add_batch_size(parser)
    add_decisions(parser)
    return parser
