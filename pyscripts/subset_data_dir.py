#!/usr/bin/env python3
"""Write a data directory with some of another's utterances; several options hold together."""

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.datadir.operations import Choice, subset
from lid_toolkit.errors import LidError


def main(arguments: Sequence[str]) -> None:
    """Parse the options and choose."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="the directory to choose from")
    parser.add_argument("target", type=Path, help="the directory to make")
    parser.add_argument("--utt_list", type=Path, help="file with an utterance at the start of each line")
    parser.add_argument("--languages", default="", help='only these, e.g. "eng fra"')
    parser.add_argument(
        "--per_lang", type=positive_int, help="at most so many of each language, drawn at random"
    )
    count = parser.add_mutually_exclusive_group()
    count.add_argument("--random", type=positive_int, help="at most so many in all, drawn at random")
    count.add_argument("--first", type=positive_int, help="at most so many in all, the first in order")
    parser.add_argument("--seed", type=positive_int, default=1, help="of the draws")
    options = parser.parse_args(arguments)
    choice = Choice(
        None if options.utt_list is None else listed(options.utt_list),
        tuple(options.languages.split()),
        options.per_lang or 0,
        options.first or options.random or 0,
        options.first is not None,
        options.seed,
    )
    if choice == Choice(seed=options.seed):
        parser.error("one of --utt_list, --languages, --per_lang, --random, --first is required")
    print(f"{options.target}: {subset(options.source, options.target, choice)} utterances")


def listed(path: Path) -> list[str]:
    """Return the first word of each line; raises LidError if there is no such file of text, or none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LidError(getattr(error, "strerror", None) or "not UTF-8 text", where=path) from None
    words = [line.split()[0] for line in lines if line.strip()]
    if not words:
        raise LidError("names no utterance", where=path)
    return words


if __name__ == "__main__":
    run(main)
