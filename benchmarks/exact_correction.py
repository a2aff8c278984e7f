"""What ``conf/whisper_linear.yaml`` minimises, solved exactly: a map that is added to Whisper's answer.

Shapes: n training utterances, u utterances, k languages of Whisper's, c languages of the training data,
d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_STEPS = 300


@dataclass(frozen=True)
class Correction:
    """A linear map of centred features to corrections of the trained languages.

    Attributes:
        trained_c: columns of the trained languages in Whisper's log posteriors.
        mean_d: the mean of the training features.
        weight_cd: the map.
    """

    trained_c: Numbers
    mean_d: Floats
    weight_cd: Floats

    def answers(self, posteriors_uk: Floats, features_ud: Floats) -> Numbers:
        """Return the column of each answer (U,).

        Where Whisper answers a language that was not trained, its answer is kept (``keep_others``).

        Args:
            posteriors_uk: Whisper's log posteriors; minus infinity for languages that are no candidates.
            features_ud: features.
        """
        best_u = posteriors_uk.argmax(axis=1)
        logits_uc = posteriors_uk[:, self.trained_c] + (features_ud - self.mean_d) @ self.weight_cd.T
        corrected_u: Numbers = np.where(
            np.isin(best_u, self.trained_c), self.trained_c[logits_uc.argmax(axis=1)], best_u
        )
        return corrected_u


def corrections(
    posteriors_nk: Floats, features_nd: Floats, true_n: Numbers, decays: tuple[float, ...]
) -> dict[float, Correction]:
    """Return the best map for each weight decay.

    It minimises the mean over the languages of their mean cross entropy among the trained languages, plus
    decay / 2 |W|^2. The features are rotated to the space that the training set spans, which changes
    nothing but the time, since a rotation does not change |W|.

    Args:
        posteriors_nk: Whisper's log posteriors.
        features_nd: features.
        true_n: columns of the true languages in ``posteriors_nk``.
        decays: weight decays, above 0.
    """
    trained_c, label_n, count_c = np.unique(true_n, return_inverse=True, return_counts=True)
    mean_d = features_nd.mean(axis=0)
    left_nr, sizes_r, basis_rd = np.linalg.svd(features_nd - mean_d, full_matrices=False)
    rotated_nr = left_nr * sizes_r
    share_n = 1 / (len(trained_c) * count_c[label_n])
    truth_nc = np.eye(len(trained_c))[label_n]
    offset_nc = posteriors_nk[:, trained_c]
    found: dict[float, Correction] = {}
    start = np.zeros(len(trained_c) * rotated_nr.shape[1])
    for decay in sorted(decays, reverse=True):

        def loss(flat: Floats, decay: float = decay) -> tuple[float, Floats]:
            weight_cr = flat.reshape(len(trained_c), -1)
            logits_nc = offset_nc + rotated_nr @ weight_cr.T
            value = -(share_n * (truth_nc * log_softmax(logits_nc, axis=1)).sum(axis=1)).sum()
            error_nc = share_n[:, None] * (softmax(logits_nc, axis=1) - truth_nc)
            gradient_cr = error_nc.T @ rotated_nr + decay * weight_cr
            return float(value + decay / 2 * (flat**2).sum()), gradient_cr.ravel()

        start = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}).x
        found[decay] = Correction(trained_c, mean_d, start.reshape(len(trained_c), -1) @ basis_rd)
    return found
