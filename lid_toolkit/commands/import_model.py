"""``lid import SOURCE DIR``: a model of another toolkit as an experiment of this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, positive_int


def main(arguments: Sequence[str]) -> None:
    """Parse the options, import the model, and print the model file."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.hub.import_model import import_model

    given = (options.lang2utt, options.model_file, options.revision, options.labels, options.rate)
    print(import_model(options.source, options.output_dir, *given))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(
        "Write a model of another toolkit as an experiment, which is used like a trained one: an audio"
        " classifier of transformers, Whisper, a model of ESPnet, SpeechBrain or NeMo, or an ONNX file"
        " (see docs/exchange.md)."
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="directory or file of the model, or user/repo on the Hub"
    )
    parser.add_argument("output_dir", type=Path, metavar="DIR", help="experiment directory to write")
    parser.add_argument("--revision", help="branch, tag or commit of the repository on the Hub")
    parser.add_argument(
        "--lang2utt",
        type=Path,
        help="ESPnet: the table that defines the order of the labels, if the model lacks it",
    )
    parser.add_argument(
        "--model_file", help="ESPnet: name of the checkpoint; by default, the best by accuracy"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="ONNX: file with the labels in index order, one a line; by default, labels.txt",
    )
    parser.add_argument("--rate", type=positive_int, help="ONNX: samples per second (default: 16000)")
    return parser
