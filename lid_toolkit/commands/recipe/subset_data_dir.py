"""Write a data directory with a subset of the utterances of another. Several options can be combined."""

import logging
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, fraction, natural, non_negative, positive_int
from lid_toolkit.data.utterances import copy_key
from lid_toolkit.datadir.operations import Choice, subset
from lid_toolkit.errors import LidError, reason_of


def main(arguments: Sequence[str]) -> None:
    """Parse the options and write the subset."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.copies and options.utt_list is None:
        parser.error("--copies needs --utt_list")
    choice = Choice(
        None if options.utt_list is None else with_copies(listed(options.utt_list), options.copies),
        tuple(options.languages.split()),
        options.per_lang or 0,
        options.first or options.random or 0,
        options.first is not None,
        options.seed,
        options.min_duration,
        options.max_duration,
        options.speakers,
    )
    if choice == Choice(seed=options.seed):
        known = "--utt_list, --languages, --speakers, --per_lang, --random, --first"
        parser.error(f"one of {known} is required")
    if options.dry_run:
        logging.info("select %s from %s: to do", options.target, options.source)
        return
    print(f"{options.target}: {subset(options.source, options.target, choice)} utterances")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("source", type=Path, help="data directory to select from")
    parser.add_argument("target", type=Path, help="data directory to write")
    parser.add_argument("--utt_list", type=Path, help="file with an utterance id at the start of each line")
    parser.add_argument(
        "--copies",
        type=natural,
        default=0,
        help="also select this number of extracted copies of each utterance of --utt_list",
    )
    parser.add_argument("--languages", default="", help='keep only these languages, e.g. "eng fra"')
    parser.add_argument(
        "--per_lang", type=positive_int, help="maximum number of utterances per language, chosen at random"
    )
    parser.add_argument(
        "--speakers",
        type=fraction,
        default=0.0,
        help="keep this proportion of the speakers in utt2spk of each language, rounded up; less is a part of"
        " more with the same --seed; 0: all",
    )
    count = parser.add_mutually_exclusive_group()
    count.add_argument(
        "--random", type=positive_int, help="maximum number of utterances in total, chosen at random"
    )
    count.add_argument(
        "--first", type=positive_int, help="maximum number of utterances in total, the first ones in order"
    )
    parser.add_argument(
        "--min_duration", type=non_negative, default=0.0, help="keep only utterances of at least this, in s"
    )
    parser.add_argument(
        "--max_duration",
        type=non_negative,
        default=0.0,
        help="keep only utterances of at most this, in s; 0: no limit",
    )
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say what would be done")
    parser.add_argument("--seed", type=positive_int, default=1, help="random seed")
    return parser


def with_copies(keys: Sequence[str], copies: int) -> list[str]:
    """Return utterances, and the ids of the first ``copies`` augmented copies of each."""
    return [copy_key(key, copy) for copy in range(1 + copies) for key in keys]


def listed(path: Path) -> list[str]:
    """Return the first word of each line. Raise LidError if the file is not readable text or is empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise LidError(reason_of(error), where=path) from None
    except UnicodeDecodeError:
        raise LidError("not UTF-8 text", where=path) from None
    words = [line.split()[0] for line in lines if line.strip()]
    if not words:
        raise LidError("lists no utterances", where=path)
    return words
