"""``lid embed``: embeddings of recordings."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lid_toolkit.audio.references import AudioError
from lid_toolkit.cli import USER_ERROR, OptionParser
from lid_toolkit.commands.model import add_batch_size, add_model, open_identifier
from lid_toolkit.errors import LidError
from lid_toolkit.inference.inputs.item import Floats, Input
from lid_toolkit.inference.inputs.read import read_inputs

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier

GROUPED = 8
"""Batches of recordings that are read before the first is computed."""


def main(arguments: Sequence[str]) -> None:
    """Write the embeddings; name each recording that cannot be read, and leave it out.

    Raises:
        LidError: the output is not ``.npz``, or no recording can be read.
    """
    import numpy as np

    from lid_toolkit.files import write_whole

    options = make_parser().parse_args(arguments)
    if options.output.suffix != ".npz":
        raise LidError("must end with .npz", where=f"--output {options.output}")
    lid = open_identifier(options)
    ids, vectors, failures = [], [], 0
    inputs = read_inputs(options.inputs, sys.stdin.buffer)
    while group := list(itertools.islice(inputs, GROUPED * options.batch_size)):
        for item, vector in embedded(lid, group, options.batch_size):
            if isinstance(vector, AudioError):
                sys.stderr.write(f"error: {item.id}: {LidError(vector.what, mend=vector.mend)}\n")
                failures += 1
            else:
                ids.append(item.id)
                vectors.append(vector)
    if not vectors:
        raise LidError("no recording could be read", where="lid embed")
    with write_whole(options.output, "wb") as stream:
        np.savez(stream, ids=np.array(ids), embeddings=np.stack(vectors))
    if failures:
        sys.stderr.write(f"error: {failures} of {failures + len(ids)} recordings could not be read\n")
        sys.exit(USER_ERROR)


def embedded(
    lid: LanguageIdentifier, group: Sequence[Input], batch_size: int
) -> Iterator[tuple[Input, Floats | AudioError]]:
    """Yield each input with its embedding (D,), or with why it has none."""
    speech = [item.speech for item in group if not isinstance(item.speech, AudioError)]
    if len(speech) == len(group) > 1:
        with contextlib.suppress(AudioError):  # then one by one, to see which
            yield from zip(group, list(lid.embed(speech, batch_size)), strict=True)
            return
    for item in group:
        try:
            yield item, item.speech if isinstance(item.speech, AudioError) else lid.embed(item.speech)[0]
        except AudioError as error:
            yield item, error


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Write the embeddings of recordings, each of length 1, as a NumPy file.")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="as of lid identify")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help=".npz file with ids (N,) and embeddings (N, D), float32",
    )
    add_model(parser)
    add_batch_size(parser)
    return parser
