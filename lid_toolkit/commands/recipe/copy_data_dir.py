"""Copy a data directory. Optionally add a prefix to its ids, or map its labels to ISO 639-3 codes."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit import languages
from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.datadir.operations import copy


def main(arguments: Sequence[str]) -> None:
    """Parse the options and copy the directory."""
    options = make_parser().parse_args(arguments)
    label = languages.code if options.iso639_3 else None
    count = copy(options.source, options.target, utt_prefix=options.utt_prefix, label=label)
    print(f"{options.target}: {count} utterances")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="data directory to copy")
    parser.add_argument("target", type=Path, help="data directory to write")
    parser.add_argument(
        "--utt_prefix", default="", help="prefix for the ids of utterances, recordings and speakers, e.g. a-"
    )
    parser.add_argument(
        "--iso639_3",
        type=boolean,
        default=False,
        help="map labels (en, en_US, iw, German) to ISO 639-3 codes",
    )
    return parser
