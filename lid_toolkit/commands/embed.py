"""``lid embed``: embeddings of recordings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.references import AudioError
from lid_toolkit.cli import USER_ERROR, OptionParser
from lid_toolkit.commands.model import add_model, open_identifier
from lid_toolkit.errors import LidError
from lid_toolkit.inference.inputs.read import read_inputs


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
    for item in read_inputs(options.inputs, sys.stdin.buffer):
        try:
            if isinstance(item.speech, AudioError):
                raise item.speech
            vectors.append(lid.embed(item.speech)[0])
            ids.append(item.id)
        except AudioError as error:
            sys.stderr.write(f"error: {item.id}: {LidError(error.what, mend=error.mend)}\n")
            failures += 1
    if not vectors:
        raise LidError("no recording could be read", where="lid embed")
    with write_whole(options.output, "wb") as stream:
        np.savez(stream, ids=np.array(ids), embeddings=np.stack(vectors))
    if failures:
        sys.stderr.write(f"error: {failures} of {failures + len(ids)} recordings could not be read\n")
        sys.exit(USER_ERROR)


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
    return parser
