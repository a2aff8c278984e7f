"""The utterances that select the best epoch: those held out from training, and those that are not too long.

Shapes: u utterances, o original utterances, l languages.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.utterances import Utterances, original_id
from lid_toolkit.errors import LidError


def hold_out(utterances: Utterances, fraction: float, seed: int) -> tuple[Utterances, Utterances]:
    """Hold out a fraction of each language's utterances: at least one, but never all.

    Only original utterances are held out. Their copies (``sp0.9-ID`` at another speed, ``aug1-ID``
    augmented) are then in neither part.

    Args:
        utterances: the utterances to split.
        fraction: fraction of each language's originals to hold out.
        seed: seed of the random choice.

    Returns:
        The utterances left for training, and those held out.

    Raises:
        LidError: no language has two utterances.
    """
    number_u, original_u = originals(utterances)
    rows_o = np.flatnonzero(original_u)
    mixed = np.random.default_rng((seed, len(utterances))).permutation(rows_o)
    ordered = mixed[np.argsort(utterances.labels_u[mixed], kind="stable")]
    counts_l = np.bincount(utterances.labels_u[ordered])
    wanted_l = np.where(
        counts_l > 1, np.clip(np.rint(fraction * counts_l), 1, np.maximum(counts_l - 1, 1)), 0
    )
    within_o = np.arange(len(ordered)) - np.repeat(np.cumsum(counts_l) - counts_l, counts_l)
    held = np.sort(ordered[within_o < np.repeat(wanted_l, counts_l)])
    if not len(held):
        raise LidError(
            "no language has two utterances, so none can be held out",
            where="selection_set",
            mend="set selection_set: valid",
        )
    rest = np.flatnonzero(~np.isin(number_u, number_u[held]))
    return utterances.select(rest), utterances.select(held)


def short_enough(utterances: Utterances, longest_s: float, rate: int, warn: bool = True) -> Utterances:
    """Return the utterances of at most ``longest_s`` seconds; 0 is no limit.

    Args:
        utterances: the utterances for validation, which are not cropped.
        longest_s: the longest duration in seconds; 0 for no limit.
        rate: samples per second.
        warn: log a warning if utterances are left out.

    Raises:
        LidError: all utterances are longer.
    """
    fits_u = utterances.lengths_u / rate <= (longest_s or np.inf)
    if fits_u.all():
        return utterances
    setting = f"max_valid_duration ({longest_s:g} s)"
    if not fits_u.any():
        raise LidError(
            f"all {len(utterances)} utterances are longer than {setting}",
            where="validation set",
            mend="raise max_valid_duration",
        )
    if warn:
        logging.warning(
            "%d of %d validation utterances are longer than %s and are left out; the longest lasts %.2f s",
            len(utterances) - int(fits_u.sum()),
            len(utterances),
            setting,
            utterances.lengths_u.max() / rate,
        )
    return utterances.select(np.flatnonzero(fits_u))


def originals(utterances: Utterances) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the number of each utterance's original, and which utterances are the originals.

    Example: of ``a``, ``sp0.9-a`` and ``b``, the numbers are 0, 0, 1, and ``a`` and ``b`` are originals. If
    an original is missing, the first of its copies takes its place.
    """
    names = [*utterances.refs.keys()]
    keys = [original_id(name) for name in names]
    _, number_u = np.unique(np.array(keys), return_inverse=True)
    plain_u = np.array([key == name for key, name in zip(keys, names, strict=True)])
    order = np.lexsort((~plain_u, number_u))
    original_u = np.zeros(len(keys), dtype=np.bool_)
    original_u[order[np.unique(number_u[order], return_index=True)[1]]] = True
    return number_u.astype(np.int64), original_u
