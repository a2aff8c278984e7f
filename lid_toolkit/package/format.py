"""The layout of a packed model: its files, and the content of its YAML files.

A packed model is a zip, or the folder it unpacks to:

==========================  ==========================================================================
``meta.yaml``               versions, licence, pretrained encoders, and the checksum of every other file
``model.yaml``              sampling rate, and the components with their arguments
``languages.yaml``          the labels in index order, with ISO 639-3 codes and names
``model.safetensors``       all weights
``policy.yaml``             when to answer, and the calibration of scores; only if the model has a policy
``model.onnx``              the model for onnxruntime (``lid export``); only if it was packed with it
``config.yaml``             the training configuration
``README.md``               the model card
``images/``                 curves of the training
``results/SET/``            scores and pictures of each scored set
==========================  ==========================================================================

:mod:`lid_toolkit.package.write` writes it and :mod:`lid_toolkit.package.read` reads it. The contents of the
YAML files are dataclasses here: ``to_mapping`` gives what is written, ``from_mapping`` checks what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.package.licences import PretrainedEncoder

META, MODEL, LANGUAGES, WEIGHTS = "meta.yaml", "model.yaml", "languages.yaml", "model.safetensors"
CONFIG, CARD = "config.yaml", "README.md"
POLICY, MODEL_ONNX = "policy.yaml", "model.onnx"
"""The only files for identification that a package may lack."""
IMAGES, RESULTS = "images", "results"
NEEDED = (META, MODEL, LANGUAGES, WEIGHTS)
"""The files without which a model cannot be loaded."""

PACKAGE_FORMAT = 1
LABELS_FORMAT = 1

PLACE_KEYS = ("download_dir", "stats_file")
"""Arguments of components that are only paths of the machine that trained the model."""
OUTSIDE = re.compile(r"^[/~\\]|^[A-Za-z]:[/\\]|://|(^|[/\\])\.\.([/\\]|$)")
"""A path from the root, the home or another directory, or an address."""

FETCH_AGAIN = "download or copy the package again"


@dataclass(frozen=True)
class Meta:
    """Content of ``meta.yaml``. The first keys are those of ESPnet's packed models, without the time stamp.

    Attributes:
        toolkit: version of lid_toolkit that packed the model.
        torch: version of PyTorch that packed the model.
        licence: identifier of the Hugging Face Hub.
        upstream: the pretrained encoders that the model was trained from.
        sha256: checksum of every other file in the package, by name.
    """

    toolkit: str
    torch: str
    licence: str
    upstream: tuple[PretrainedEncoder, ...]
    sha256: Mapping[str, str]

    def to_mapping(self) -> dict[str, object]:
        """Return the content in the order in which it is written."""
        return {
            "lid_toolkit": self.toolkit,
            "format": PACKAGE_FORMAT,
            "files": {"lid_model_file": WEIGHTS},
            "yaml_files": {"lid_train_config": CONFIG, "lid_model": MODEL, "lid_languages": LANGUAGES},
            "torch": self.torch,
            "licence": self.licence,
            "upstream": [asdict(encoder) for encoder in self.upstream],
            "sha256": dict(sorted(self.sha256.items())),
        }

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], source: Path) -> Meta:
        """Check the content that was read from ``source``.

        Raises:
            LidError: another version of the format, or a value is missing or of the wrong type.
        """
        if "espnet" in content:
            raise LidError(
                "packed by ESPnet, and without its config.yaml",
                where=source,
                mend="download all its files, and copy the lang2utt of its training set beside config.yaml",
            )
        if content.get("format") != PACKAGE_FORMAT:
            raise LidError(
                f"package format {content.get('format')} is not supported",
                where=source,
                mend=f"this version of lid_toolkit reads format {PACKAGE_FORMAT}",
            )
        try:
            return cls(
                toolkit=str(content["lid_toolkit"]),
                torch=str(content["torch"]),
                licence=str(content["licence"]),
                upstream=tuple(PretrainedEncoder(**encoder) for encoder in content["upstream"]),
                sha256=dict(content["sha256"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _incomplete(META, source, error) from error


@dataclass(frozen=True)
class Description:
    """Content of ``model.yaml``.

    Attributes:
        rate: samples per second that the model expects.
        components: names and arguments of the components, as ``build_model`` takes them.
    """

    rate: int
    components: Mapping[str, object]

    def to_mapping(self) -> dict[str, object]:
        """Return the content in the order in which it is written."""
        return {"rate": self.rate, "description": dict(self.components)}

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], source: Path) -> Description:
        """Check the content that was read from ``source``.

        Raises:
            LidError: a value is missing or of the wrong type, or names a place outside the package.
        """
        try:
            rate, components = content["rate"], dict(content["description"])
        except (KeyError, TypeError, ValueError) as error:
            raise _incomplete(MODEL, source, error) from error
        if not isinstance(rate, int):
            raise _incomplete(MODEL, source, TypeError(f"rate: {rate!r:.40} is not a whole number"))
        if (place := next(named_places(components), None)) is not None:
            raise LidError(
                f"{MODEL} names a place outside the package: {place}",
                where=source,
                mend="do not use this file; if it is your own, pack the model again",
            )
        return cls(rate, components)


def named_places(value: Any, key: str = "") -> Iterator[str]:
    """Yield each path, address or download folder in plain values, as ``key: value``.

    The name of an encoder on the Hub and the last component of a path are no places: ``path_or_url: xlsr``
    says where the weights came from and is never looked up.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_places(item, str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_places(item, key)
    elif isinstance(value, str) and (key in PLACE_KEYS or OUTSIDE.search(value)):
        yield f"{key}: {value[:100]!r}"


def without_places(value: Any, key: str = "") -> Any:
    """Return plain values in which each place is its last component, and null if the key only names one."""
    if isinstance(value, Mapping):
        return {name: without_places(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(item, key) for item in value]
    if not isinstance(value, str):
        return value
    if key in PLACE_KEYS:
        return None
    return PurePath(value).name if OUTSIDE.search(value) else value


@dataclass(frozen=True)
class Labels:
    """Content of ``languages.yaml``: the labels in index order."""

    labels: tuple[str, ...]

    def to_mapping(self) -> dict[str, object]:
        """Return the content, with the ISO 639-3 code and the English name of each label that is known."""
        return {"version": LABELS_FORMAT, "languages": [_row(*item) for item in enumerate(self.labels)]}

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], source: Path) -> Labels:
        """Check the content that was read from ``source``; raise LidError if a value is missing or wrong."""
        try:
            rows: Sequence[Mapping[str, Any]] = content["languages"]
            return cls(tuple(str(row["label"]) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise _incomplete(LANGUAGES, source, error) from error


def _row(index: int, label: str) -> dict[str, object]:
    try:
        code = languages.code(label)
    except LidError:
        code = None
    return {"index": index, "label": label, "iso639_3": code, "name": languages.name(code or label)}


def _incomplete(file: str, source: Path, error: Exception) -> LidError:
    return LidError(f"{file} is incomplete: {error}", where=source, mend=FETCH_AGAIN)
