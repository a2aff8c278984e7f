"""Domain-invariant training: the domains of the training set, and what learns to tell them.

Shapes: u utterances, b utterances of a batch, c classes, g domains.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.models.adversary import UNKNOWN, DomainAdversary
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.config import TrainConfig


def attach_adversary(model: LidModel, config: TrainConfig, data: Utterances, classes: int) -> None:
    """Give a model a classifier of the training set's domains, if the configuration asks for one."""
    if data.domains_u is not None:
        occurs_cg = occurring(data, classes)
        model.adversary = DomainAdversary(
            model.embedding_size, occurs_cg, **config.adversary_conf.model_dump()
        )


def occurring(data: Utterances, classes: int) -> Tensor:
    """Return which domains have utterances of which language, bool (C, G)."""
    assert data.domains_u is not None
    labels_u, domains_u = (torch.from_numpy(each).long() for each in (data.labels_u, data.domains_u))
    occurs_cg = torch.zeros(classes, int(domains_u.max()) + 1, dtype=torch.bool)
    known_u = labels_u >= 0
    occurs_cg[labels_u[known_u], domains_u[known_u]] = True
    return occurs_cg


def domains_of(data: Utterances, minibatch: Minibatch, device: torch.device) -> Tensor | None:
    """Return the domains (B,) of a training batch, int64; None if domains make no difference.

    Utterances without a language do not take part, nor does silence in place of an empty batch, which has the
    number of an utterance, but not its language: their domain is ``UNKNOWN``.
    """
    if data.domains_u is None:
        return None
    rows_b = minibatch.rows_b.numpy()
    domains_b, labels_b = (torch.from_numpy(each[rows_b]).long() for each in (data.domains_u, data.labels_u))
    known_b = (labels_b >= 0) & (labels_b == minibatch.labels_b)
    return torch.where(known_b, domains_b, UNKNOWN).to(device, non_blocking=True)
