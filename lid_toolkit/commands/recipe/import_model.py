"""Import a language identification model of ESPnet (lid1) or SpeechBrain into an experiment directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser


def main(arguments: Sequence[str]) -> None:
    """Parse the options and import the model."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.hub.import_model import import_model

    print(import_model(options.source, options.output_dir, options.lang2utt, options.model_file))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--source", type=Path, required=True, help="directory or zip file of the model")
    parser.add_argument("--output_dir", type=Path, required=True, help="experiment directory to write")
    parser.add_argument(
        "--lang2utt",
        type=Path,
        help="ESPnet: the table that defines the order of the labels, if the model lacks it",
    )
    parser.add_argument(
        "--model_file", help="ESPnet: name of the checkpoint; by default, the best by accuracy"
    )
    return parser
