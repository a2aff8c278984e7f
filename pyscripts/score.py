#!/usr/bin/env python3
"""Stage 7: score a system's answers to a set."""

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.evaluation.score import score


def main(arguments: Sequence[str]) -> None:
    """Parse the options and score."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="the truth: dump/raw/SET")
    parser.add_argument("--inference_dir", type=Path, required=True, help="the answers: .../MODEL/SET")
    parser.add_argument(
        "--merge_macrolanguages",
        type=boolean,
        default=False,
        help="count a macrolanguage and its members as one language, such as zho and cmn, or ara and arz",
    )
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say what is to do")
    options = parser.parse_args(arguments)
    score(options.data_dir, options.inference_dir, options.dry_run, merge=options.merge_macrolanguages)


if __name__ == "__main__":
    run(main)
