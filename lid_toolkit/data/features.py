"""Features kept on disk in half precision: rows of memory-mapped ``.npy`` matrices.

A reference is ``FILE.npy[START:STOP]``, the rows of one utterance. ``features.json`` in a set's
directory says what made them.
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

from lid_toolkit.errors import LidError

Features = npt.NDArray[np.float16]
REFERENCE = re.compile(r"(.+\.npy)\[(\d+):(\d+)\]")
TABLE, DESCRIPTION = "feats.scp", "features.json"


def reference(path: Path, start: int, stop: int) -> str:
    """Return the reference to rows ``start`` to ``stop`` of a matrix file."""
    return f"{path}[{start}:{stop}]"


def read_features(ref: str, start: int = 0, stop: int | None = None) -> Features:
    """Read frames ``start`` to ``stop`` of an utterance, (frames, D) float16; only these are read.

    There is always one: a later start is the last frame.

    Raises:
        LidError: no such reference, file or rows.
    """
    match = REFERENCE.fullmatch(ref)
    if match is None:
        raise LidError("not of the form FILE.npy[START:STOP]", where=ref, mend="extract the features again")
    matrix_rd = _mapped(match[1])
    first, last = int(match[2]), int(match[3])
    if not first < last <= len(matrix_rd):
        raise LidError(
            f"the file has {len(matrix_rd)} rows", where=ref, mend="extract the features again (stage 4)"
        )
    begin = min(first + start, last - 1)
    end = last if stop is None else max(min(first + stop, last), begin + 1)
    return np.array(matrix_rd[begin:end])


def read_description(data_dir: Path) -> dict[str, Any] | None:
    """Return what made a set's features, or None for a set of audio.

    Raises:
        LidError: a damaged description.
    """
    path = data_dir / DESCRIPTION
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LidError(f"damaged: {error}", where=path, mend="extract the features again") from error
    return made


def check_made_by(data_dir: Path, description: Mapping[str, Any]) -> None:
    """Refuse a set's features if another front end than the described one made them.

    Raises:
        LidError: naming the part of the configuration that differs.
    """
    made = read_description(data_dir)
    if made is None:
        return
    for key in ("frontend", "frontend_conf"):
        if made[key] != json.loads(json.dumps(description[key])):
            raise LidError(
                f"extracted with another {key}: {json.dumps(made[key])}",
                where=data_dir / DESCRIPTION,
                mend="run stage 4 with this configuration, or choose another --dumpdir",
            )


@functools.lru_cache(maxsize=512)
def _mapped(path: str) -> Features:
    try:
        matrix_rd: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LidError(f"no features: {error}", where=path, mend="extract them again (stage 4)") from error
    if matrix_rd.ndim != 2 or matrix_rd.dtype != np.float16:
        raise LidError("not a float16 matrix", where=path, mend="extract the features again (stage 4)")
    return matrix_rd
