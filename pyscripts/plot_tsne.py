#!/usr/bin/env python3
"""Stage 8: draw a t-SNE map of a set's embeddings."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean, positive_int
from lid_toolkit.evaluation.tsne import FEWEST_ITERATIONS, plot_tsne


def perplexity(text: str) -> float:
    """Parse a number of at least 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return number


def iterations(text: str) -> int:
    """Parse a whole number that t-SNE accepts."""
    number = positive_int(text)
    if number < FEWEST_ITERATIONS:
        raise argparse.ArgumentTypeError(f"t-SNE takes at least {FEWEST_ITERATIONS} iterations, not {text}")
    return number


def main(arguments: Sequence[str]) -> None:
    """Parse the options and draw."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="the truth: dump/raw/SET")
    parser.add_argument("--inference_dir", type=Path, required=True, help="the embeddings: .../MODEL/SET")
    parser.add_argument("--perplexity", type=perplexity, default=5.0, help="neighbours of an utterance")
    parser.add_argument("--max_iter", type=iterations, default=1000, help="iterations of t-SNE")
    parser.add_argument(
        "--max_utt_per_lang_for_tsne", type=positive_int, default=1000, help="utterances drawn of a language"
    )
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say what is to do")
    options = parser.parse_args(arguments)
    plot_tsne(
        options.data_dir,
        options.inference_dir,
        options.perplexity,
        options.max_iter,
        options.max_utt_per_lang_for_tsne,
        options.dry_run,
    )


if __name__ == "__main__":
    run(main)
