"""Domain-adversarial training: embeddings from which a classifier cannot tell the domain, such as the voice.

Y. Ganin and V. Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015, section 3: a
classifier of domains reads the features through a layer that does nothing forward, and multiplies the
gradient by -lambda backward. So the classifier learns to tell the domains, and the features to hide them.

Shapes: b batch, d features of an embedding, h hidden units, g domains, c classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.autograd import Context

UNKNOWN = -1
"""Domain of an utterance that does not take part."""


class _Reverse(torch.autograd.Function):
    """The same values forward, the gradient times -``factor`` backward (equations 6 and 7)."""

    @staticmethod
    def forward(context: Context, x: Tensor, factor: float) -> Tensor:
        context.factor = factor  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(context: Context, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient, None  # type: ignore[attr-defined]


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """Return ``x``; its gradient is multiplied by -``factor``."""
    reversed_x: Tensor = _Reverse.apply(x, factor)  # type: ignore[no-untyped-call]
    return reversed_x


class DomainAdversary(nn.Module):
    """A classifier of domains with one hidden layer behind a reversed gradient.

    It only chooses among the domains of the utterance's language. Where each domain has one language, as a
    voice has, hiding which of all domains it is would hide the language too (conditional invariance: Y. Li et
    al., "Deep domain generalization via conditional invariant adversarial networks", ECCV 2018).

    Args:
        embedding_size: dimension D of the embeddings, of which only the direction counts.
        occurs_cg: which domains have utterances of which language, bool (C, G).
        weight: lambda, the strength of the reversed gradient; the classifier itself learns at full strength.
        hidden_size: number H of hidden units.
    """

    occurs_cg: Tensor

    def __init__(self, embedding_size: int, occurs_cg: Tensor, weight: float, hidden_size: int) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("occurs_cg", occurs_cg)
        self.hidden = nn.Linear(embedding_size, hidden_size)
        self.out = nn.Linear(hidden_size, occurs_cg.shape[1])

    def forward(self, embedding_bd: Tensor, labels_b: Tensor, domains_b: Tensor) -> Tensor:
        """Return the mean cross entropy of the domains, scalar; 0 if no utterance takes part.

        Always computed in float32, also under autocast.

        Args:
            embedding_bd: embeddings.
            labels_b: class indices, int64.
            domains_b: numbers of the domains, int64, or ``UNKNOWN``.
        """
        with torch.autocast(embedding_bd.device.type, enabled=False):
            unit_bd = F.normalize(embedding_bd.float()) * embedding_bd.shape[1] ** 0.5
            hidden_bh = torch.relu(self.hidden(reverse_gradient(unit_bd, self.weight)))
            logits_bg = self.out(hidden_bh).masked_fill(~self.occurs_cg[labels_b], -torch.inf)
            loss_b = F.cross_entropy(logits_bg, domains_b, ignore_index=UNKNOWN, reduction="none")
        return loss_b.sum() / len(loss_b)
