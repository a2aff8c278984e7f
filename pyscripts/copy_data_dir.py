#!/usr/bin/env python3
"""Copy a data directory, with a prefix before its utterances or with its labels made ISO 639-3 codes."""

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit import languages
from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.datadir.operations import copy


def main(arguments: Sequence[str]) -> None:
    """Parse the options and copy."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="the directory to copy")
    parser.add_argument("target", type=Path, help="the directory to make")
    parser.add_argument(
        "--utt_prefix", default="", help="put before utterances, recordings and speakers, as a-"
    )
    parser.add_argument(
        "--iso639_3",
        type=boolean,
        default=False,
        help="turn labels (en, en_US, iw, German) into ISO 639-3 codes",
    )
    options = parser.parse_args(arguments)
    label = languages.code if options.iso639_3 else None
    count = copy(options.source, options.target, utt_prefix=options.utt_prefix, label=label)
    print(f"{options.target}: {count} utterances")


if __name__ == "__main__":
    run(main)
