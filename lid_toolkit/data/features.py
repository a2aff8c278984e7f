"""Extracted features on disk: rows of memory-mapped float16 ``.npy`` matrices.

A reference ``FILE.npy[START:STOP]`` names the rows of one utterance. ``features.json`` in a data directory
describes the front end that computed the features. Its ``hop_length`` is the number of samples per frame, or
``UNDIVIDED`` if the rows of an utterance belong together and cannot be cropped.

Shapes: r rows, d feature dimensions.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.datadir import FEATURES, FEATURES_DESCRIPTION
from lid_toolkit.errors import LidError

Features = npt.NDArray[np.float16]
REFERENCE = re.compile(r"(.+\.npy)\[(\d+):(\d+)\]")
TABLE, DESCRIPTION = FEATURES, FEATURES_DESCRIPTION
UNDIVIDED = 0


def reference(path: Path, start: int, stop: int) -> str:
    """Return the reference to rows ``start`` to ``stop`` of a matrix file."""
    return f"{path}[{start}:{stop}]"


def read_features(ref: str, start: int = 0, stop: int | None = None) -> Features:
    """Read frames ``start`` to ``stop`` of an utterance, (frames, D) float16, without reading the others.

    At least one frame is returned: if ``start`` is too large, the last one.

    Raises:
        LidError: the reference is not valid, or the file or its rows do not exist.
    """
    match = REFERENCE.fullmatch(ref)
    if match is None:
        raise LidError("not of the form FILE.npy[START:STOP]", where=ref, redo="feature extraction")
    matrix_rd = _mapped(match[1])
    first, last = int(match[2]), int(match[3])
    if not first < last <= len(matrix_rd):
        raise LidError(f"the file has only {len(matrix_rd)} rows", where=ref, redo="feature extraction")
    begin = min(first + start, last - 1)
    end = last if stop is None else max(min(first + stop, last), begin + 1)
    return np.array(matrix_rd[begin:end])


def read_description(data_dir: Path) -> dict[str, Any] | None:
    """Return the description of a set's features, or None if the set consists of audio.

    Raises:
        LidError: the description is damaged.
    """
    path = data_dir / DESCRIPTION
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LidError(f"damaged: {error}", where=path, redo="feature extraction") from error
    except FileNotFoundError:
        return None
    return made


def check_made_by(data_dir: Path, description: Mapping[str, object]) -> None:
    """Check that a set's features were computed by the described front end.

    Raises:
        LidError: they were not; the message names the key of the configuration that differs.
    """
    made = read_description(data_dir)
    if made is None:
        return
    for key in ("frontend", "frontend_conf"):
        if made[key] != json.loads(json.dumps(description[key])):
            raise LidError(
                f"extracted with another {key}: {json.dumps(made[key])}",
                where=data_dir / DESCRIPTION,
                redo="feature extraction",
                mend="use the configuration of the features",
            )


@functools.lru_cache(maxsize=512)
def _mapped(path: str) -> Features:
    try:
        matrix_rd: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LidError(f"cannot be read: {error}", where=path, redo="feature extraction") from error
    return matrix_rd
