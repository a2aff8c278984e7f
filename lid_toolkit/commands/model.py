"""The options of a model that several subcommands have in common."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lid_toolkit.cli import OptionParser, positive_int
from lid_toolkit.commands.offer import offered_model
from lid_toolkit.cores import count_cores
from lid_toolkit.inference.backend import BACKENDS, is_exported
from lid_toolkit.training.config import DTYPES

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier

VARIABLE = "LID_MODEL"
EXPERIMENTS = "exp"
MODEL_HELP = (
    "experiment directory, model file, packed model (also ESPnet's), exported model (.onnx), or user/repo on "
    "the Hub; "
    f"by default ${VARIABLE}, else the newest experiment below {EXPERIMENTS}/, else one that is offered"
)


def add_model(parser: OptionParser) -> None:
    """Add ``--model`` and how to compute with it."""
    parser.add_argument("--model", help=MODEL_HELP)
    parser.add_argument(
        "--backend", choices=BACKENDS, default="auto", help="what computes; auto: onnx for an exported model"
    )
    add_computing(parser)


def add_computing(parser: OptionParser) -> None:
    """Add the options of how to compute with a model."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … or mps")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="number format")
    parser.add_argument("--threads", type=positive_int, help="number of threads; default: one for each core")


def add_batch_size(parser: OptionParser) -> None:
    """Add ``--batch_size``, of commands that compute several recordings or windows."""
    parser.add_argument("--batch_size", type=positive_int, default=16, help="recordings computed together")


def open_identifier(options: argparse.Namespace) -> LanguageIdentifier:
    """Load the model that :func:`add_model`'s options name.

    Raises:
        LidError: there is no such model, or it cannot be used on the device.
    """
    source = options.model or default_model()
    from lid_toolkit.inference.identifier import LanguageIdentifier  # imports torch

    options.model = source
    return LanguageIdentifier.from_pretrained(
        source,
        options.device,
        threads=options.threads or count_cores(),
        dtype=options.dtype,
        backend=options.backend,
    )


def default_model(root: Path = Path(EXPERIMENTS)) -> str:
    """Return the model to use if none is named, and say which on standard error.

    It is the value of ``LID_MODEL``, else the experiment directory at most three levels below ``root`` whose
    best model is the newest, else the one that :mod:`lid_toolkit.commands.offer` offers.

    Raises:
        LidError: there is none of them.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        found = [path for depth in ("*", "*/*", "*/*/*") for path in root.glob(f"{depth}/valid.*.best.pth")]
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        named = offered_model() if newest is None else str(newest.parent)
    sys.stderr.write(f"model: {named}\n")
    return named


def model_digest(source: str, backend: str = "auto") -> str:
    """Return what changes when a model does: a digest of its file, or of the list of its files' digests."""
    if backend == "onnx" or (backend == "auto" and is_exported(source)):
        from lid_toolkit.inference.onnx_backend import digest_of

        return digest_of(source)
    from lid_toolkit.inference.locate import locate  # imports torch
    from lid_toolkit.package.format import META, NEEDED
    from lid_toolkit.steps import digest

    path = locate(source, None, NEEDED).path
    file = path / META if path.is_dir() else path
    return digest(file) or str(path)
