"""Options that several scripts have in common, and types of options with their limits."""

from __future__ import annotations

import argparse
import math

from lid_toolkit.audio.reader import LOWEST_RATE
from lid_toolkit.audio.writer import HIGHEST_ODD_RATE, HIGHEST_RATE, is_rate
from lid_toolkit.cli import OptionParser, boolean, positive_int

FEWEST_ITERATIONS = 250
"""The minimum of scikit-learn's t-SNE."""


def add_reading(parser: OptionParser) -> None:
    """Add the options of scripts that read the recordings of a data directory."""
    parser.add_argument(
        "--allow_pipes",
        type=boolean,
        default=False,
        help="run the commands in wav.scp; only for data that you trust",
    )
    parser.add_argument(
        "--multi_columns_input_wav_scp",
        type=boolean,
        default=False,
        help="lines of wav.scp list several files, the channels of one recording",
    )
    parser.add_argument("--nj", type=positive_int, default=1, help="number of processes that read recordings")


def add_channel(parser: OptionParser) -> None:
    """Add the option of the channel to read."""
    parser.add_argument(
        "--channel",
        type=channel,
        default="mean",
        help="channel to read, counted from 0, or the mean of all channels; segments may name others",
    )


def rate(text: str) -> int:
    """Parse a sampling rate: ``16000`` or ``16k``."""
    number = positive_int(text[:-1]) * 1000 if text.endswith("k") else positive_int(text)
    if not is_rate(number):
        limits = f"{LOWEST_RATE} to {HIGHEST_RATE} Hz, in steps of 10 Hz above {HIGHEST_ODD_RATE}"
        raise argparse.ArgumentTypeError(f"'{text}' is not a rate from {limits}")
    return number


def channel(text: str) -> int | None:
    """Parse a channel number, counted from 0; ``mean`` gives None."""
    if text == "mean":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is neither 'mean' nor a whole number of at least 0")
    return int(text)


def perplexity(text: str) -> float:
    """Parse a t-SNE perplexity, which must be at least 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return number


def iterations(text: str) -> int:
    """Parse a number of t-SNE iterations."""
    number = positive_int(text)
    if number < FEWEST_ITERATIONS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {FEWEST_ITERATIONS}")
    return number
