"""A model of another toolkit: a directory of files, a zip or a tar. Only the files asked for are read."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.models.sealed import sealed
from lid_toolkit.untrusted import LARGEST_WEIGHTS, Untrusted

TAG = "!"
ANOTHER = "give another model"
CARD = "README.md"
UNKNOWN = "other"
"""The licence of a model that states none, as the Hub calls it."""
SHOWN = 3
UNREADABLE = (
    *(pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError),
    *(AttributeError, TypeError, OverflowError, MemoryError),
)
"""Exceptions of the readers of weights for a file that is damaged or holds something else."""


@dataclass(frozen=True)
class Imported:
    """A foreign model, translated to this toolkit's components and parameter names.

    Attributes:
        description: components and their arguments, and ``licence`` if the model states it.
        weights: the parameters of the model that the description builds, by name.
        languages: labels in index order.
        rate: samples per second.
        kept: the labels that could not be mapped to languages, and so stay as their author wrote them.
    """

    description: dict[str, object]
    weights: dict[str, Tensor]
    languages: tuple[str, ...]
    rate: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignModel(Untrusted):
    """The files of another toolkit's model."""

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the tensors in a safetensors file, or in one of ``torch.save`` (``weights_only=True``).

        Raises:
            LidError: damaged, or the file holds anything but named tensors.
        """
        with self.file(name, LARGEST_WEIGHTS) as path:
            try:
                if name.endswith(".safetensors"):
                    return load_file(path)
                content = torch.load(path, map_location="cpu", weights_only=True)
            except UNREADABLE as error:
                reason = str(error).partition("\n")[0]
                what = f"{name} is damaged, or holds more than tensors: {reason}"
                raise LidError(what, where=self.path, mend="give another file") from error
        tensors = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
            raise LidError(f"{name} does not hold named tensors", where=self.path, mend="give another file")
        return dict(tensors)


def answering(
    frontend: str, conf: Mapping[str, object], projector: str = "identity", **loss: bool
) -> dict[str, object]:
    """Return the description of a model that is a front end, the mean over time, and a linear classifier.

    Args:
        frontend: name of the front end.
        conf: its arguments.
        projector: name of the projector.
        loss: arguments of the classifier.
    """
    return {
        "frontend": frontend,
        "frontend_conf": dict(conf),
        "specaug": None,
        "normalize": None,
        "encoder": "identity",
        "pooling": "mean",
        "projector": projector,
        "loss": "linear_softmax",
        "loss_conf": loss,
    }


def parameters_of(
    description: Mapping[str, object], weights: Mapping[str, Tensor], languages: int, foreign: ForeignModel
) -> dict[str, Tensor]:
    """Return the parameters of the model that a description builds; its sizes are bounded by the weights.

    Raises:
        LidError: it cannot be built.
    """
    with sealed(weights.values()):
        try:
            return dict(build_model(description, languages).state_dict())
        except LidError as error:
            raise LidError(f"{error.where}: {error.what}", where=foreign.path, mend=ANOTHER) from error


def require_fit(
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    foreign: ForeignModel,
    to: str,
    mend: str = ANOTHER,
) -> None:
    """Raise LidError if the names or shapes of parameters differ.

    Args:
        theirs: the weights of the foreign model.
        ours: the parameters of the model that they are for.
        foreign: the foreign model.
        to: what they should fit, for the message.
        mend: advice.
    """
    if unfit := mismatches(theirs, ours):
        what = f"{len(unfit)} parameters do not fit {to}, such as {', '.join(unfit[:SHOWN])}"
        raise LidError(what, where=foreign.path, mend=mend)


def read_licence(foreign: ForeignModel) -> str | None:
    """Return the licence that the head of the model's ``README.md`` states, or None."""
    name = foreign.find(CARD)
    if name is None:
        return None
    lines = foreign.text(name).splitlines()
    if lines[:1] != ["---"]:
        return None
    head = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else []
    found = next((line for line in head if re.match(r"licen[sc]e:", line)), "")
    return found.partition(":")[2].strip().strip("\"'") or None


def mismatches(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    """Return the parameters that only one side has; if there are none, those with different shapes."""
    differing = [name for name, value in theirs.items() if name in ours and value.shape != ours[name].shape]
    return sorted(ours.keys() ^ theirs.keys()) or differing


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that keeps unknown tags as text and does not construct the objects they name.

    SpeechBrain's hyperparams.yaml has tags such as ``!new:speechbrain.lobes.features.Fbank``, which its own
    loader imports and calls.
    """


def _construct_plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {TAG: suffix, **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value or suffix


_PlainLoader.add_multi_constructor("!", _construct_plain)


def read_settings(model: ForeignModel, name: str) -> dict[str, object]:
    """Return the content of a YAML file with keys and values; its tags construct nothing.

    The tag of a mapping is kept, without its ``!``, under the key ``TAG``. A tag without a value becomes the
    value.

    Raises:
        LidError: not YAML, or not a mapping.
    """
    return model.yaml(name, _PlainLoader)
