"""Classification losses over language labels. They also score embeddings without labels.

Cosines, margins and the cross entropy are always computed in float32, also under autocast.

Shapes: b batch, d features of an embedding, c classes, s sub-centres (classes * centres), k wrong classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.arguments import (
    NotNegative,
    NotNegativeFloat,
    PositiveFloat,
    PositiveInt,
    component,
)
from lid_toolkit.models.bases import LossBase

COSINE_LIMIT = 1 - 1e-7


class CosineLoss(LossBase):
    """Cross entropy over scaled cosines to class centres, with an angular margin and a penalty.

    :func:`softmax`, :func:`aamsoftmax` and :func:`aamsoftmax_sc_topk` make it. Row ``c * centres + k``
    of ``weight`` is sub-centre k of class c, as in ESPnet.

    Args:
        embedding_size: dimension D of the embeddings.
        classes: number of languages.
        scale: factor on the cosines.
        margin: angle added to the true class, in radians.
        easy_margin: apply the margin only where the cosine is positive.
        drop: amount subtracted from the true cosine if its angle exceeds pi - margin, instead of the margin.
        centres: number of sub-centres of each class; the nearest one is used.
        penalty: angle subtracted from those of the nearest wrong classes, in radians.
        k_top: number of wrong classes with the penalty; at most ``classes - 1``.
    """

    by_class = ("weight",)
    target_kinds = ("soft",)

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        scale: float = 1.0,
        margin: float = 0.0,
        easy_margin: bool = False,
        drop: float = 0.0,
        centres: int = 1,
        penalty: float = 0.0,
        k_top: int = 0,
    ) -> None:
        super().__init__()
        self.classes, self.centres, self.scale = classes, centres, scale
        self.margin, self.easy_margin, self.drop = margin, easy_margin, drop
        self.penalty, self.k_top = penalty, min(k_top, classes - 1)
        self.weight = nn.Parameter(torch.empty(classes * centres, embedding_size))
        nn.init.xavier_uniform_(self.weight)

    def cosines(self, embedding_bd: Tensor) -> Tensor:
        """Return (B, classes): the cosine to the nearest sub-centre of each class."""
        with torch.autocast(embedding_bd.device.type, enabled=False):
            unit_bd = F.normalize(embedding_bd.float())
            cosine_bs = F.linear(unit_bd, F.normalize(self.weight.float()))
        return cosine_bs.view(cosine_bs.shape[0], self.classes, self.centres).amax(dim=2)

    def logits(self, embedding_bd: Tensor) -> Tensor:
        """Return (B, classes): scaled cosines, whose softmax is the posterior without margin."""
        return self.scale * self.cosines(embedding_bd)

    def forward(self, embedding_bd: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each utterance's loss (B,) and the cosines (B, classes).

        With weights as targets, every class with a positive weight has the margin, and none of them the
        penalty; the loss is the cross entropy of the weights on these logits.

        Args:
            embedding_bd: embeddings.
            targets: class indices (B,), int64, or weights (B, classes) that sum to 1, float32.
        """
        cosine_bc = self.cosines(embedding_bd)
        true_bc = targets > 0 if targets.ndim == 2 else F.one_hot(targets, self.classes).bool()
        adjusted_bc = torch.where(true_bc, self._add_margin(cosine_bc), cosine_bc)
        if self.penalty and self.k_top:
            rivals_bk = cosine_bc.detach().masked_fill(true_bc, -torch.inf).topk(self.k_top, dim=1).indices
            # With fewer wrong classes than k_top, the others are true ones.
            hard_bc = torch.zeros_like(true_bc).scatter(1, rivals_bk, True) & ~true_bc
            adjusted_bc = torch.where(hard_bc, rotate(cosine_bc, -self.penalty), adjusted_bc)
        return F.cross_entropy(self.scale * adjusted_bc, targets, reduction="none"), cosine_bc

    def _add_margin(self, cosine_bc: Tensor) -> Tensor:
        if not self.margin:
            return cosine_bc
        rotated_bc = rotate(cosine_bc, self.margin)
        if self.easy_margin:
            return torch.where(cosine_bc > 0, rotated_bc, cosine_bc)
        return torch.where(cosine_bc > -math.cos(self.margin), rotated_bc, cosine_bc - self.drop)


def softmax(embedding_size: int, classes: int) -> CosineLoss:
    """Return cross entropy on cosines, -log(exp(c_y) / sum_j exp(c_j)) (``softmax``, as in ESPnet).

    c_j is the cosine of the embedding to the centre of class j, y the true class.
    """
    return CosineLoss(embedding_size, classes)


def aamsoftmax(
    embedding_size: int,
    classes: int,
    margin: NotNegativeFloat = 0.3,
    scale: PositiveFloat = 15.0,
    easy_margin: bool = False,
) -> CosineLoss:
    """Return additive angular margin softmax (``aamsoftmax``; Deng et al., CVPR 2019, equation 3).

    Cross entropy on s c_j, but the logit of the true class is s cos(a_y + m), where a_y is its angle. If
    a_y + m exceeds pi, it is s (c_y - m sin(m)), as in ArcFace.

    Args:
        embedding_size: dimension of the embeddings.
        classes: number of languages.
        margin: angle m in radians.
        scale: factor s on the cosines.
        easy_margin: add the margin only where the cosine is positive.
    """
    return CosineLoss(embedding_size, classes, scale, margin, easy_margin, margin * math.sin(margin))


@component(fixed={"do_lm": False}, small={"K": 2, "k_top": 1})
def aamsoftmax_sc_topk(
    embedding_size: int,
    classes: int,
    margin: NotNegativeFloat = 0.2,
    scale: PositiveFloat = 32.0,
    easy_margin: bool = False,
    K: PositiveInt = 3,  # noqa: N803 - ESPnet's key
    mp: NotNegativeFloat = 0.06,
    k_top: NotNegative = 5,
) -> CosineLoss:
    """Return the margin loss with sub-centres and an inter-top-k penalty (``aamsoftmax_sc_topk``).

    Like ``aamsoftmax``, with three changes. Sub-centres (Deng et al., ECCV 2020, equation 2): c_j is the
    cosine to the nearest of K centres of class j. Inter-top-k (Zhao et al., ICASSP 2022, equation 5):
    the logits of the ``k_top`` nearest wrong classes are s cos(a_j - mp), so that they must be pushed
    further away. If a_y + m exceeds pi, the logit of the true class is s (c_y - 1 + cos(m)).

    In ESPnet 202511 the penalty has no effect for any ``mp``, since its trainer does not call the method
    that turns it on: ``mp: 0`` trains as ESPnet does.

    Args:
        embedding_size: dimension of the embeddings.
        classes: number of languages.
        margin: angle m in radians.
        scale: factor s on the cosines.
        easy_margin: add the margin only where the cosine is positive.
        K: number of sub-centres of each class.
        mp: penalty in radians; 0 for none, as ESPnet trains.
        k_top: number of wrong classes with the penalty; more than there are means all.
    """
    drop = 1 - math.cos(margin)
    return CosineLoss(embedding_size, classes, scale, margin, easy_margin, drop, K, mp, k_top)


def rotate(cosine: Tensor, angle: float) -> Tensor:
    """Return cos(acos(cosine) + angle), with a finite gradient at cosine = 1 and -1."""
    limited = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    return limited * math.cos(angle) - (1 - limited.square()).sqrt() * math.sin(angle)
