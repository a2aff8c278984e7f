"""What a student learns from a teacher: decoupled knowledge distillation, and the teacher's embeddings.

The sources are Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, and Hinton et al., "Distilling the
Knowledge in a Neural Network", 2015.

Shapes: b utterances of a batch, c classes, d student's embedding, e teacher's embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.data.targets import Taught


def decoupled_divergences(
    student_bc: Tensor, teacher_bc: Tensor, labels_b: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the two parts of the divergence of a student's posteriors from a teacher's.

    With p the posteriors softmax(logits / T), and t the target class, they are T² times

    - TCKD, of the target class: KL((p_t, 1 - p_t) of the teacher || the same of the student), and
    - NCKD, of the other classes: the KL divergence of the posteriors given that it is another class.

    Equation 7 of the paper: KL(teacher || student) = TCKD + (1 - p_t of the teacher) NCKD. T² keeps the size
    of the gradients (Hinton et al., section 2).

    Args:
        student_bc: logits of the student (B, C), up to a constant for each utterance.
        teacher_bc: logits of the teacher (B, C), likewise.
        labels_b: target classes t (B,), int64.
        temperature: T, above 0.

    Returns:
        TCKD (B,) and NCKD (B,), float32.
    """
    is_target_bc = F.one_hot(labels_b, student_bc.shape[1]).bool()
    (target_s, others_s), (target_t, others_t) = (
        _parts(logits_bc.float() / temperature, is_target_bc) for logits_bc in (student_bc, teacher_bc)
    )
    scale = temperature**2
    return scale * _divergence(target_t, target_s), scale * _divergence(others_t, others_s)


def _parts(logits_bc: Tensor, is_target_bc: Tensor) -> tuple[Tensor, Tensor]:
    """Return log (p_t, 1 - p_t) (B, 2), and the log posteriors (B, C) given that it is not the target."""
    # A finite number, because 0 times infinity would be no number.
    others_bc = logits_bc.masked_fill(is_target_bc, torch.finfo(logits_bc.dtype).min)
    total_b = logits_bc.logsumexp(dim=1)
    target_b = logits_bc[is_target_bc]
    binary_b2 = torch.stack((target_b - total_b, others_bc.logsumexp(dim=1) - total_b), dim=1)
    return binary_b2, others_bc.log_softmax(dim=1)


def _divergence(log_p_bc: Tensor, log_q_bc: Tensor) -> Tensor:
    """Return KL(p || q) (B,)."""
    return F.kl_div(log_q_bc, log_p_bc, reduction="none", log_target=True).sum(dim=1)


class Distillation(nn.Module):
    """The loss of a student: ``alpha`` TCKD + ``beta`` NCKD + that of the embeddings + that of the label.

    The loss of the embeddings is 1 minus the cosine of the teacher's and W e + b of the student's e. W and b
    are learnt, and not used after the training. See :func:`decoupled_divergences` for the rest.

    Args:
        embedding_size: dimension D of the student's embeddings.
        teacher_size: dimension E of the teacher's embeddings; not used if ``embedding_weight`` is 0.
        alpha: weight of TCKD, at least 0.
        beta: weight of NCKD, at least 0.
        temperature: T of both, above 0.
        embedding_weight: weight of the loss of the embeddings, at least 0.
        label_weight: weight of the ordinary loss of utterances with a label, at least 0.
    """

    def __init__(
        self,
        embedding_size: int,
        teacher_size: int,
        alpha: float,
        beta: float,
        temperature: float,
        embedding_weight: float,
        label_weight: float,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.temperature = alpha, beta, temperature
        self.embedding_weight, self.label_weight = embedding_weight, label_weight
        self.projection = nn.Linear(embedding_size, teacher_size) if embedding_weight else None

    def forward(
        self, loss_b: Tensor, embedding_bd: Tensor, logits_bc: Tensor, labels_b: Tensor, taught: Taught
    ) -> Tensor:
        """Return each utterance's loss (B,).

        Args:
            loss_b: the ordinary loss.
            embedding_bd: the student's embeddings.
            logits_bc: the student's log posteriors, up to a constant.
            labels_b: classes; of an utterance without a label, the teacher's most probable one.
            taught: the teacher's answers.
        """
        with torch.autocast(embedding_bd.device.type, enabled=False):
            tckd_b, nckd_b = decoupled_divergences(logits_bc, taught.scores_bc, labels_b, self.temperature)
            total_b = self.alpha * tckd_b + self.beta * nckd_b
            if self.projection is not None and taught.embeddings_be is not None:
                projected_be = self.projection(embedding_bd.float())
                cosine_b = F.cosine_similarity(projected_be, taught.embeddings_be, dim=1)
                total_b = total_b + self.embedding_weight * (1 - cosine_b)
            return total_b + self.label_weight * torch.where(taught.labelled_b, loss_b, 0.0)
