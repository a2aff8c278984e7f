"""The rank of a language among all languages by its score.

Shapes: c languages, e pairs of an utterance and a language.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 16

Counts = npt.NDArray[np.int64]


def ranks(scores_uc: npt.NDArray[np.float32], rows_e: Counts, languages_e: Counts) -> Counts:
    """Return the number of languages with a higher score, in each of these rows, than a language.

    Of languages with equal scores, the first is ranked higher, as by ``argmax``.
    """
    found = [np.zeros(0, np.int64)]
    for begin in range(0, len(rows_e), BLOCK):
        scores_ec, languages = (
            scores_uc[rows_e[begin : begin + BLOCK]],
            languages_e[begin : begin + BLOCK, None],
        )
        own_e1 = np.take_along_axis(scores_ec, languages, axis=1)
        earlier_ec = np.arange(scores_ec.shape[1]) < languages
        found.append(np.count_nonzero((scores_ec > own_e1) | ((scores_ec == own_e1) & earlier_ec), axis=1))
    return np.concatenate(found)
