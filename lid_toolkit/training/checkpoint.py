"""Model files and checkpoints: written atomically, and read without running code stored in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.files import temporary_beside, write_whole
from lid_toolkit.models.build import build_model
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.sealed import sealed
from lid_toolkit.training.model_facts import USE_ANOTHER, check_labels, check_rate

MODEL_FORMAT = 1
LONGEST_REASON = 300
FRAMES_TO_TRY = 25
ALIGNMENT = 64


class ModelContent(TypedDict):
    """What a model file holds: weights, components, labels in index order and sampling rate."""

    format: int
    model: dict[str, Tensor]
    description: dict[str, object]
    languages: list[str]
    rate: int


@dataclass(frozen=True)
class SavedModel:
    """The contents of a model file.

    Attributes:
        model: in evaluation mode, on the CPU.
        languages: labels in index order.
        rate: samples per second the model was trained at.
        description: the components of the model, as :func:`build_model` expects them.
    """

    model: LidModel
    languages: tuple[str, ...]
    rate: int
    description: Mapping[str, object]

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.model.embedding_size


def save_model(
    path: Path,
    weights: Mapping[str, Tensor],
    description: Mapping[str, object],
    languages: Sequence[str],
    rate: int,
) -> None:
    """Write a model file: weights, components, labels and sampling rate."""
    content: ModelContent = {
        "format": MODEL_FORMAT,
        "model": dict(weights),
        "description": dict(description),
        "languages": list(languages),
        "rate": rate,
    }
    save(path, content)


def load_model(path: Path, external: Packages = NONE) -> SavedModel:
    """Read a model file.

    Args:
        path: the file.
        external: packages other than this toolkit that components may be imported from.

    Raises:
        LidError: the file does not exist, is damaged, or is not a model file of this toolkit.
    """
    content = load_content(path)
    weights, languages, rate = content["model"], content["languages"], content["rate"]
    return restore(content["description"], weights, languages, rate, path, external)


def load_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of a model file in index order, without reading its weights.

    Raises:
        LidError: as :func:`load_model`.
    """
    return tuple(load_content(path, mmap=True)["languages"])


def load_content(path: Path, mmap: bool = False) -> ModelContent:
    """Return what a model file holds, without building the model.

    Raises:
        LidError: as :func:`load_model`.
    """
    content = load(path, mmap)
    if content.get("format") != MODEL_FORMAT:
        raise LidError(
            "not a model file of this toolkit",
            where=path,
            mend="give the .pth file of a training; lid import imports models of other toolkits",
        )
    for key, kind in (("model", dict), ("description", dict), ("languages", list), ("rate", int)):
        if not isinstance(content.get(key), kind):
            raise LidError(f"'{key}' is missing or of the wrong type", where=path, mend=USE_ANOTHER)
    return cast(ModelContent, content)


def restore(
    description: Mapping[str, object],
    weights: Mapping[str, Tensor],
    languages: Sequence[str],
    rate: int,
    source: Path,
    external: Packages = NONE,
) -> SavedModel:
    """Build a model from its description and weights, which may come from a stranger.

    Nothing is looked up in folders or on the Hub, and memory is bounded (:mod:`lid_toolkit.models.sealed`).

    Args:
        description: the components, as :func:`build_model` expects them.
        weights: all weights by name.
        languages: labels in index order.
        rate: samples per second.
        source: the file, for errors.
        external: the packages that components may be imported from beside this toolkit.

    Raises:
        LidError: the weights do not fit the description or are not finite, or the rate or a label is not
            valid.
    """
    check_rate(rate, source)
    check_labels(languages, source)
    for name, weight in weights.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise LidError(f"weight {name} is not finite", where=source, mend=USE_ANOTHER)
    try:
        with sealed(weights.values()):
            model = build_model(description, len(languages), external)
            own = model.state_dict()
            fitting = {name: _like(own.get(name, weight), weight) for name, weight in weights.items()}
            model.load_state_dict(fitting, assign=True)
            waves = description.get("frontend") is not None
            features = None if waves else cast(int, description["input_size"])
            try_out(model.eval(), rate, features)
    except LidError as error:
        reason = f"{error.where}: {error.what}" if error.where else error.what
        raise LidError(reason[:LONGEST_REASON], where=source, mend=error.mend, redo=error.redo) from error
    except Exception as error:  # a description of any content makes constructors raise anything
        reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        raise LidError(f"the weights do not fit the description: {reason}", where=source) from error
    return SavedModel(model, tuple(languages), rate, description)


def _like(own: Tensor, weight: Tensor) -> Tensor:
    """Return a weight with the type of the model's own, and placed in memory as PyTorch places tensors.

    Weights in a memory-mapped file begin anywhere, and matrix products of these round in another way.
    """
    weight = weight.to(own.dtype).contiguous()
    return weight.clone() if weight.data_ptr() % ALIGNMENT else weight


def try_out(model: LidModel, rate: int, features: int | None) -> None:
    """Identify a quarter of a second of noise, since some nonsense shows only when a model is used.

    For example, a stride of 10^12 needs no weights.

    Args:
        model: in evaluation mode.
        rate: samples per second.
        features: dimension of the features that it takes instead of waveforms, if it does.

    Raises:
        LidError: the scores are not finite.
    """
    shape = (1, rate // 4) if features is None else (1, FRAMES_TO_TRY, features)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 10
    scores_bc, embeddings_bd = model.identify(noise, torch.tensor(shape[1:2]))
    if not (torch.isfinite(scores_bc).all() and torch.isfinite(embeddings_bd).all()):
        raise LidError("its scores for noise are not finite", mend=USE_ANOTHER)


def save(path: Path, content: Mapping[str, object]) -> None:
    """Write tensors and plain values with ``torch.save``, completely or not at all.

    Raises:
        LidError: the disk is full, or does not allow a file of that size.
    """
    try:
        with write_whole(path, "wb") as stream:
            torch.save(dict(content), stream)
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        raise LidError(
            f"cannot be written: {error.__context__.strerror}",
            where=path,
            mend="free some space; the same command continues from the last checkpoint",
        ) from error


def load(path: Path, mmap: bool = False) -> dict[str, object]:
    """Read what :func:`save` wrote, with ``weights_only=True``: no code in the file is run.

    With ``mmap``, tensors stay on disk until they are used, so the rest is read quickly.

    Raises:
        LidError: the file does not exist, is damaged, or was not written by :func:`save`.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise LidError("does not exist", where=path, redo="training", mend="give another file") from None
    except pickle.UnpicklingError as error:
        raise LidError(
            "the file holds more than tensors and plain values, or is damaged",
            where=path,
            mend=USE_ANOTHER,
        ) from error
    except Exception as error:  # torch.load raises many kinds of exception on a damaged archive
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LidError(f"damaged, or not a checkpoint: {reason}", where=path, mend=USE_ANOTHER) from error
    if not isinstance(content, dict):
        raise LidError("not a checkpoint of this toolkit", where=path, mend=USE_ANOTHER)
    return content


def point_to(link: Path, target: str) -> None:
    """Make ``link`` a symbolic link to ``target`` in the same directory, replacing an old one atomically."""
    temporary = temporary_beside(link)
    temporary.symlink_to(target)
    temporary.replace(link)


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights and running statistics; integers are taken from the first state."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
