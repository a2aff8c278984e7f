"""``lid languages``: the languages of a model, one on each line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit import languages
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.model import MODEL_HELP, default_model
from lid_toolkit.inference.backend import is_exported, require


def main(arguments: Sequence[str]) -> None:
    """Print each label and its English name, separated by a tab, in the order of the model's scores."""
    options = make_parser().parse_args(arguments)
    source = options.model or default_model()

    for label in labels_of(source):
        print(f"{label}\t{languages.name(label)}")


def labels_of(source: str) -> tuple[str, ...]:
    """Return the labels of a model in index order.

    Raises:
        LidError: there is no such model, or it is damaged.
    """
    if is_exported(source):
        from lid_toolkit.package.onnx_format import read_record

        return read_record(Path(source)).languages
    require("torch", "torch")
    from lid_toolkit.inference import locate

    return locate.labels_of(source)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("List the languages of a model: label and English name.")
    parser.add_argument("--model", help=MODEL_HELP)
    return parser
