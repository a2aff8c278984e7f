"""A model of another toolkit: a directory of files, a zip or a tar. Only the files asked for are read."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.untrusted import LARGEST_WEIGHTS, Untrusted

TAG = "!"
ANOTHER = "give another model"
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
