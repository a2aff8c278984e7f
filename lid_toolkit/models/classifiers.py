"""Classifiers on embeddings that are not normalised.

``loss: linear_softmax``, ``loss: dnn_softmax`` and ``loss: linear_sigmoid``.

Shapes: b batch, d features of an embedding, c classes, n numbers given for a class, h hidden units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.bases import LossBase
from lid_toolkit.models.masking import MaskedBatchNorm1d


class LinearSoftmax(LossBase):
    """Multinomial logistic regression: cross entropy on W e + b of the embedding e (``linear_softmax``).

    W and b start at zero, so that all languages are equally likely. With ``optim: adam``, whose
    ``weight_decay`` d adds d W to the gradient, training minimises the mean cross entropy plus
    d / 2 |W|^2, which has one minimum. Always computed in float32, also under autocast.

    With ``offset``, an embedding is (o, e), where o has one number for each language, and the logits are
    o + W e + b: an offset as in generalised linear models (McCullagh & Nelder, 1989). Before training
    the logits are o, and weight decay keeps them close to o. If the front end also gives a correction c of
    each log posterior, which is 0 before training, an embedding is (o, c, e), and the logits are
    o + c + W e + b.

    With ``keep_others``, only the languages of the training data are corrected. Their logits are shifted, by
    one number for each embedding, so that the largest of them is as large as the largest in o. So whether the
    answer is one of these languages, and which it is of the others, remains as in o. The loss is the cross
    entropy among the languages of the training data.

    Args:
        embedding_size: dimension D of the embeddings.
        classes: number of languages.
        bias: learn b; with few speakers per language, b also fits these speakers.
        offset: use the first numbers of an embedding as log posteriors of the languages; the front end must
            provide them (``posteriors_of``).
        keep_others: do not change the answers in languages that the training data do not have; needs
            ``offset``.
        corrected: whether corrections follow the log posteriors.
    """

    by_class = ("weight", "bias")
    target_kinds = ("soft",)
    trained_c: Tensor

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        bias: bool = True,
        offset: bool = False,
        keep_others: bool = False,
        corrected: bool = False,
    ) -> None:
        super().__init__()
        if keep_others and not offset:
            raise ValueError("keep_others needs offset: true")
        given = classes * (1 + corrected) if offset else 0
        if offset and embedding_size <= given:
            raise ValueError(
                f"offset: {classes} languages and more in embeddings of {embedding_size} numbers"
            )
        self.offset = offset
        self.weight = nn.Parameter(torch.zeros(classes, embedding_size - given))
        self.bias = nn.Parameter(torch.zeros(classes)) if bias else None
        self.keep_others = keep_others
        if keep_others:
            self.register_buffer("trained_c", torch.ones(classes, dtype=torch.bool))

    @property
    def reads_posteriors(self) -> bool:
        """Whether the first numbers of an embedding are log posteriors."""
        return self.offset

    def set_trained(self, trained_c: Tensor) -> None:
        """Set which classes (C,), bool, the training data have, before the first update."""
        if self.keep_others:
            self.trained_c.copy_(trained_c)

    def logits(self, embedding_bd: Tensor) -> Tensor:
        """Return (B, classes): log posteriors, up to a constant for each utterance."""
        logits_bc = self._corrected(embedding_bd)
        if not self.keep_others:
            return logits_bc
        offset_bc = embedding_bd.float()[:, : len(self.weight)]
        before_b1, after_b1 = (
            each_bc.masked_fill(~self.trained_c, -torch.inf).amax(dim=1, keepdim=True)
            for each_bc in (offset_bc, logits_bc)
        )
        return torch.where(self.trained_c, logits_bc - after_b1 + before_b1, offset_bc)

    def _corrected(self, embedding_bd: Tensor) -> Tensor:
        """Return o + c + W e + b (B, classes)."""
        with torch.autocast(embedding_bd.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            classes, width = self.weight.shape
            mapped_bc = F.linear(embedding_bd[:, -width:].float(), self.weight.float(), bias)
            if not self.offset:
                return mapped_bc
            given_bnc = embedding_bd[:, :-width].float().reshape(len(embedding_bd), -1, classes)
            return mapped_bc + given_bnc.sum(dim=1)

    def forward(self, embedding_bd: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each utterance's loss (B,) and the scores (B, classes).

        Args:
            embedding_bd: embeddings.
            targets: class indices (B,), int64, or weights (B, classes) that sum to 1, float32.
        """
        logits_bc = self._corrected(embedding_bd)
        if not self.keep_others:
            return F.cross_entropy(logits_bc, targets, reduction="none"), logits_bc
        # Finite, because weights of 0 times infinity would be no number.
        among_bc = logits_bc.masked_fill(~self.trained_c, torch.finfo(logits_bc.dtype).min)
        return F.cross_entropy(among_bc, targets, reduction="none"), self.logits(embedding_bd)


@component(small={"lin_neurons": 4})
class DnnSoftmax(LossBase):
    """Cross entropy on W h_n + b, h_i = norm(act(W_i h_{i-1} + b_i)), h_0 = norm(act(embedding)).

    SpeechBrain's ``Classifier``; act is the leaky ReLU. Always computed in float32, also under autocast.

    Args:
        embedding_size: dimension D of the embeddings.
        classes: number of languages.
        lin_blocks: number of hidden layers n.
        lin_neurons: number of units in each hidden layer.
    """

    by_class = ("out.weight", "out.bias")
    target_kinds = ("soft",)

    def __init__(
        self, embedding_size: int, classes: int, lin_blocks: PositiveInt = 1, lin_neurons: PositiveInt = 512
    ) -> None:
        super().__init__()
        self.norm = MaskedBatchNorm1d(embedding_size)
        self.linears = nn.ModuleList(
            nn.Linear(lin_neurons if i else embedding_size, lin_neurons) for i in range(lin_blocks)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm1d(lin_neurons) for _ in range(lin_blocks))
        self.out = nn.Linear(lin_neurons, classes)

    def logits(self, embedding_bd: Tensor) -> Tensor:
        """Return (B, classes): log posteriors, up to a constant for each utterance."""
        with torch.autocast(embedding_bd.device.type, enabled=False):
            hidden_bh = self.norm(F.leaky_relu(embedding_bd.float()))
            for linear, norm in zip(self.linears, self.norms, strict=True):
                hidden_bh = norm(F.leaky_relu(linear(hidden_bh)))
            logits_bc: Tensor = self.out(hidden_bh)
        return logits_bc

    def forward(self, embedding_bd: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each utterance's loss (B,) and the scores (B, classes).

        Args:
            embedding_bd: embeddings.
            targets: class indices (B,), int64, or weights (B, classes) that sum to 1, float32.
        """
        logits_bc = self.logits(embedding_bd)
        return F.cross_entropy(logits_bc, targets, reduction="none"), logits_bc


class LinearSigmoid(LossBase):
    """Logistic regression for each language: binary cross entropies on W e + b, summed (``linear_sigmoid``).

    For utterances of several languages (``targets: multi_hot``): the sigmoid of a logit is the probability
    that the language is spoken, and the loss is the negative log likelihood of the set of languages. The
    softmax of the logits is the posterior of a language, given that exactly one is spoken. W and b start at
    zero. Always computed in float32, also under autocast.

    Args:
        embedding_size: dimension D of the embeddings.
        classes: number of languages.
    """

    by_class = ("weight", "bias")
    target_kinds = ("multi_hot",)

    def __init__(self, embedding_size: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, embedding_size))
        self.bias = nn.Parameter(torch.zeros(classes))

    def logits(self, embedding_bd: Tensor) -> Tensor:
        """Return (B, classes): log posteriors, up to a constant for each utterance."""
        with torch.autocast(embedding_bd.device.type, enabled=False):
            return F.linear(embedding_bd.float(), self.weight.float(), self.bias.float())

    def forward(self, embedding_bd: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each utterance's loss (B,) and the scores (B, classes).

        Args:
            embedding_bd: embeddings.
            targets: class indices (B,), int64, or (B, classes) of 1 for each language and 0, float32.
        """
        logits_bc = self.logits(embedding_bd)
        spoken_bc = targets if targets.ndim == 2 else F.one_hot(targets, logits_bc.shape[1])
        loss_bc = F.binary_cross_entropy_with_logits(
            logits_bc, spoken_bc.to(logits_bc.dtype), reduction="none"
        )
        return loss_bc.sum(dim=1), logits_bc
