"""The set that picks the best epochs: the validation set, or training utterances held out."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError

COPY_PREFIX = re.compile(r"^(aug\d+-)?(sp\d+(\.\d+)?-)?")


def hold_out(utterances: Utterances, share: float, seed: int) -> tuple[Utterances, Utterances]:
    """Split a share of each language's utterances off: at least one, but never all.

    Copies (``sp0.9-ID`` at another speed, ``aug1-ID`` otherwise changed) stay with their original, and
    only originals are held out; the copies of those are in neither part.

    Args:
        utterances: to split.
        share: of each language's originals.
        seed: of the choice.

    Returns:
        What is left for training, and what is held out.

    Raises:
        LidError: no language has two utterances.
    """
    number_u, original_u = originals(utterances)
    rows_o = np.flatnonzero(original_u)
    mixed = np.random.default_rng((seed, len(utterances))).permutation(rows_o)
    ordered = mixed[np.argsort(utterances.labels_u[mixed], kind="stable")]
    counts_l = np.bincount(utterances.labels_u[ordered])
    wanted_l = np.where(counts_l > 1, np.clip(np.rint(share * counts_l), 1, np.maximum(counts_l - 1, 1)), 0)
    within_o = np.arange(len(ordered)) - np.repeat(np.cumsum(counts_l) - counts_l, counts_l)
    held = np.sort(ordered[within_o < np.repeat(wanted_l, counts_l)])
    if not len(held):
        raise LidError(
            "no language has two utterances", where="selection_set", mend="set selection_set: valid"
        )
    rest = np.flatnonzero(~np.isin(number_u, number_u[held]))
    return utterances.select(rest), utterances.select(held)


def originals(utterances: Utterances) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Number the utterances, copies at other speeds alike, and say which of these stands for all."""
    names = [*utterances.refs.keys()]
    keys = [COPY_PREFIX.sub("", name) for name in names]
    _, number_u = np.unique(np.array(keys), return_inverse=True)
    plain_u = np.array([key == name for key, name in zip(keys, names, strict=True)])
    order = np.lexsort((~plain_u, number_u))
    original_u = np.zeros(len(keys), dtype=np.bool_)
    original_u[order[np.unique(number_u[order], return_index=True)[1]]] = True
    return number_u.astype(np.int64), original_u
