"""A training with a teacher: the student's languages, its targets, and what learns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from lid_toolkit.data.targets import TeacherTargets
from lid_toolkit.data.teacher import taught_by, teacher_languages
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError
from lid_toolkit.languages import UNLABELLED
from lid_toolkit.models.distillation import Distillation
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.config import TrainConfig

PREFIXES = ("distillation.", "adversary.")
"""How the names of the weights begin that only the training needs."""


def student_languages(config: TrainConfig, labels: Sequence[str], answers: Path | None) -> tuple[str, ...]:
    """Return the languages of the model that is trained, sorted, as in ``lang2idx``.

    Args:
        config: the configuration.
        labels: the labels of the training set, without that of unlabelled utterances.
        answers: directory of the teacher's answers; None without a teacher.

    Raises:
        LidError: the configured languages lack a label of the training set, or there are no labels and no
            teacher.
    """
    asked = config.distill_conf.languages
    if config.distill_from is None or answers is None:
        if len(labels) < 2:
            what = f"{len(labels)} languages in the training set, and no teacher"
            raise LidError(what, where="distill_from", mend="label the utterances, or name a teacher")
        return tuple(labels)
    if asked and (lacking := sorted(set(labels) - set(asked))):
        what = f"lacks {' '.join(lacking)}, which the training set has"
        raise LidError(what, where="distill_conf.languages", mend="add them, or leave their utterances out")
    return tuple(sorted(asked or labels or teacher_languages(answers), key=str.encode))


def with_teacher(
    config: TrainConfig, data: Utterances, languages: Sequence[str], answers: Path | None, train_dir: Path
) -> Utterances:
    """Return the training set with the teacher's answers as targets, if the configuration has a teacher.

    Args:
        config: the configuration.
        data: the training set; unknown labels are -1.
        languages: the student's languages.
        answers: directory of the teacher's answers; None without a teacher.
        train_dir: the training set, for errors.

    Raises:
        LidError: the answers are missing or not valid; or, without a teacher, a label is unknown.
    """
    if config.distill_from is None or answers is None:
        if count := int((data.labels_u < 0).sum()):
            what = f"{count} utterances are not labelled ('{UNLABELLED}'), and there is no teacher"
            mend = "leave them out, or name a teacher (distill_from)"
            raise LidError(what, where=train_dir / "utt2lang", mend=mend)
        return data
    with_embeddings = config.distill_conf.embedding_weight > 0
    return taught_by(answers, data, languages, with_embeddings, config.max_failed)


def attach(model: LidModel, config: TrainConfig, targets: object) -> None:
    """Give a model the part that learns from the teacher, if the targets of the training are its answers."""
    if isinstance(targets, TeacherTargets):
        conf = config.distill_conf.model_dump(exclude={"languages"})
        model.distillation = Distillation(model.embedding_size, targets.embedding_size, **conf)


def without_training_parts(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights without those that only a training with a teacher or an adversary needs."""
    return {name: weight for name, weight in weights.items() if not name.startswith(PREFIXES)}


def check_teacher(config: TrainConfig, answers: Path | None) -> None:
    """Check that the options fit the configuration, before any work.

    Raises:
        LidError: there is a teacher without answers or the reverse, or other targets beside a teacher.
    """
    if config.distill_from is None:
        if answers is not None:
            what = "given, but the configuration has no distill_from"
            raise LidError(what, where="teacher_dir", mend="name the teacher in distill_from")
        return
    if config.targets is not None:
        what = f"targets: {config.targets} and a teacher"
        raise LidError(what, where="targets", mend="leave out one of them")
    if answers is None:
        what = f"the answers of {config.distill_from} to the training set are missing"
        mend = "give the recipe the option distill_from, or the answers with --teacher_dir"
        raise LidError(what, where="distill_from", mend=mend)
