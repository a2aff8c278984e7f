"""``lid export MODEL OUT``: write a model in a format that other programs read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.commands.model import MODEL_HELP
from lid_toolkit.errors import LidError

if TYPE_CHECKING:
    from lid_toolkit.inference.policy import DecisionPolicy
    from lid_toolkit.inference.speech import Floats
    from lid_toolkit.training.checkpoint import SavedModel

FORMATS = ("onnx", "espnet")
INT8 = ("dynamic", "static")
LONGEST_S = 30.0
"""Seconds of each recording that are compared; the models are equal or not whatever the length."""
NOISE_S = (0.4, 1.0, 2.0, 3.5, 5.0, 8.0)


def main(arguments: Sequence[str]) -> None:
    """Write the model, after it was compared with the one it was made from.

    Raises:
        LidError: an option is wrong, the model cannot be loaded or exported, or the exported one differs.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.format == "espnet":
        if options.int8 or options.speech:
            parser.error("--int8 and --speech are for --format onnx")
        from lid_toolkit.inference.locate import open_model
        from lid_toolkit.package.espnet_write import write_espnet

        write_espnet(open_model(options.model), options.output)
        print(f"{options.output}: an experiment of ESPnet")
        return
    if options.int8 == "static" and not options.speech:
        parser.error("--int8 static needs --speech: recordings that are like those it will be used for")
    export_onnx(options)


def export_onnx(options: argparse.Namespace) -> None:
    """Write an ONNX file, and print how far it agrees with the model.

    Raises:
        LidError: as :func:`main`.
    """
    from lid_toolkit.files import temporary_beside
    from lid_toolkit.inference.backend import require
    from lid_toolkit.inference.locate import model_file_of, open_with_policy
    from lid_toolkit.inference.onnx_backend import open_session
    from lid_toolkit.package.onnx_check import compare, require_exact
    from lid_toolkit.package.onnx_int8 import quantize
    from lid_toolkit.package.onnx_write import write_onnx
    from lid_toolkit.steps import digest
    from lid_toolkit.untrusted_onnx import SUFFIX

    output: Path = options.output
    if output.suffix != SUFFIX:
        raise LidError(f"must end in {SUFFIX}", where=output, mend=f"give {output}{SUFFIX}")
    require("onnxruntime", "onnx")
    saved, policy = open_with_policy(options.model)
    check_policy(policy, saved, options.model)
    waves = speech_of(options, saved)
    file = model_file_of(options.model)
    temporary = temporary_beside(output).with_suffix(SUFFIX)
    try:
        record = write_onnx(saved, policy.to_mapping(), None if file is None else digest(file), temporary)
        found = compare(saved.model, open_session(temporary), waves)
        say(f"{record.numbers}: {megabytes(temporary)}, {found}")
        require_exact(found, output)
        if options.int8:
            record = quantize(temporary, record, options.int8, waves)
            found = compare(saved.model, open_session(temporary), waves)
            say(f"{record.numbers}: {megabytes(temporary)}, {found}")
            if not found.is_close:
                say("warning: fewer than 99.9 % of the confident answers are equal; evaluate it before use")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def check_policy(policy: DecisionPolicy, saved: SavedModel, source: str) -> None:
    """Raise LidError if a policy names a language that the model does not have."""
    from lid_toolkit.inference.decision import decider

    try:
        decider(policy, saved.languages)
    except LidError as error:
        raise LidError(error.what, where=f"{source}: policy: {error.where}", mend=error.mend) from None


def speech_of(options: argparse.Namespace, saved: SavedModel) -> list[Floats]:
    """Return the waveforms to compare the models on: recordings, or noise if none are given.

    Raises:
        LidError: a recording cannot be read, or there is none.
    """
    import numpy as np

    from lid_toolkit.audio.resample import resample
    from lid_toolkit.inference.inputs.read import read_inputs
    from lid_toolkit.inference.speech import opened

    if not options.speech:
        say("no --speech: the models are compared on noise")
        draw = np.random.default_rng(0)
        sizes = [round(seconds * saved.rate) for seconds in NOISE_S]
        return [(0.1 * draw.standard_normal(size)).astype(np.float32) for size in sizes]
    waves = []
    for item in read_inputs(options.speech, sys.stdin.buffer):
        if isinstance(item.speech, LidError):
            raise item.speech
        with opened(item.speech, saved.rate, item.id) as samples:
            size = min(samples.length, round(LONGEST_S * samples.rate))
            wave = resample(samples.read(0, size), samples.rate, saved.rate)
        waves.append(np.ascontiguousarray(wave))
        if len(waves) == options.recordings:
            break
    if not waves:
        raise LidError("no recordings", where=options.speech[0], mend="give recordings, or a folder of them")
    return waves


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def megabytes(path: Path) -> str:
    """Return the size of a file for people."""
    return f"{path.stat().st_size / 1e6:.1f} MB"


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(
        "Write a model in a format that other programs read, and check that it is the same."
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP.partition(";")[0])
    parser.add_argument("output", metavar="OUT", type=Path, help="ONNX file, or directory for ESPnet")
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument(
        "--int8",
        choices=INT8,
        help="compute matrix products with 8 bits: smaller and faster, and not quite the same; dynamic: "
        "ranges of numbers are found for each input; static: they are found once, on --speech",
    )
    parser.add_argument(
        "--speech",
        action="append",
        default=[],
        metavar="INPUT",
        help="recordings to compare both models on: files, folders or lists, as in lid identify; may be "
        "given several times; default: noise",
    )
    parser.add_argument(
        "--recordings", type=positive_int, default=100, help="number of recordings of --speech to use"
    )
    return parser
