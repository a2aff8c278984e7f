"""The settings of distillation, known without importing torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, model_validator


class DistillConf(BaseModel):
    """How much a student learns of what; see :class:`lid_toolkit.models.distillation.Distillation`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    alpha: NonNegativeFloat = 1.0
    """Weight of the divergence about the target class: the label, or else the teacher's likeliest class."""
    beta: NonNegativeFloat = 1.0
    """Weight of the divergence about the other classes, given that it is one of them."""
    temperature: PositiveFloat = 1.0
    """The logits of both are divided by it; above 1, the less probable classes count more."""
    embedding_weight: NonNegativeFloat = 1.0
    """Weight of 1 minus the cosine of the teacher's embedding and a linear map of the student's."""
    label_weight: NonNegativeFloat = 1.0
    """Weight of the ordinary loss, for utterances with a label."""
    languages: tuple[str, ...] = ()
    """Languages of the student; by default those of the labels, or the teacher's if there are no labels."""

    @model_validator(mode="after")
    def _learns(self) -> DistillConf:
        if not self.alpha + self.beta + self.embedding_weight:
            raise ValueError(
                "alpha, beta and embedding_weight are all 0, so nothing is learnt from the teacher"
            )
        if len(set(self.languages)) < len(self.languages) or len(self.languages) == 1:
            raise ValueError("languages must be at least two different labels")
        return self
