"""What an exported ONNX file says about itself, in its metadata; reading it does not need PyTorch.

The graph takes ``waveforms`` (B, T), float32 in [-1, 1] and padded at the end with any values, and
``lengths`` (B,), int64. It gives ``log_posteriors`` (B, C) and L2-normalised ``embeddings`` (B, D), both
float32. The metadata has these keys:

==============================  ======================================================================
``lid_toolkit``                 a JSON object with the attributes of :class:`OnnxRecord`
``lid_toolkit_centres``         the centres of a cosine classifier, float32 in Base64; may be absent
==============================  ======================================================================

Shapes: b utterances, c languages, s centres (c * centres of each), d embedding.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError
from lid_toolkit.training.model_facts import check_labels, check_rate
from lid_toolkit.untrusted import Untrusted
from lid_toolkit.untrusted_onnx import metadata_of
from lid_toolkit.untrusted_text import parse_json

Floats = npt.NDArray[np.float32]

INPUTS = ("waveforms", "lengths")
OUTPUTS = ("log_posteriors", "embeddings")
RECORD, CENTRES = "lid_toolkit", "lid_toolkit_centres"
ONNX_FORMAT = 1
LARGEST_EMBEDDING = 10**6
LONGEST_REASON = 200
EXPORT = "export the model again: lid export --format onnx MODEL OUT"


@dataclass(frozen=True, eq=False)
class Cosines:
    """A classifier of cosines: the logit of a language is ``scale`` times that to its nearest centre.

    Attributes:
        scale: factor on the cosines.
        centres_sd: centres of length 1, those of a language side by side.
        languages: number of languages.
    """

    scale: float
    centres_sd: Floats
    languages: int

    def log_posteriors(self, embeddings_bd: Floats) -> Floats:
        """Return the log posteriors (B, C) of embeddings (B, D)."""
        unit_bd = embeddings_bd / np.maximum(np.linalg.norm(embeddings_bd, axis=1, keepdims=True), 1e-12)
        cosine_bs = unit_bd @ self.centres_sd.T
        logits_bc = self.scale * cosine_bs.reshape(len(cosine_bs), self.languages, -1).max(axis=2)
        scores_bc: Floats = logits_bc - np.logaddexp.reduce(logits_bc, axis=1, keepdims=True)
        return scores_bc


@dataclass(frozen=True, eq=False)
class OnnxRecord:
    """What is known about an exported model.

    Attributes:
        toolkit: version of lid_toolkit that exported it.
        languages: labels in index order.
        rate: samples per second.
        embedding_size: dimension of the embeddings.
        numbers: number format of the matrix products: ``float32``, ``int8 dynamic`` or ``int8 static``.
        policy: content of the model's policy, with its calibration.
        licence: identifier of the Hugging Face Hub.
        pretrained: names of the pretrained encoders that the model was trained from.
        model: digest of the model file; None if it was not exported from one.
        cosines: the classifier, if it takes normalised embeddings; else None.
    """

    toolkit: str
    languages: tuple[str, ...]
    rate: int
    embedding_size: int
    numbers: str
    policy: Mapping[str, Any]
    licence: str
    pretrained: tuple[str, ...] = ()
    model: str | None = None
    cosines: Cosines | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of the file."""
        content = {"format": ONNX_FORMAT, **asdict(self), "scale": None}
        del content["cosines"]
        if self.cosines is None:
            return {RECORD: json.dumps(content, ensure_ascii=False)}
        content["scale"] = self.cosines.scale
        packed = base64.b64encode(self.cosines.centres_sd.astype("<f4").tobytes()).decode()
        return {RECORD: json.dumps(content, ensure_ascii=False), CENTRES: packed}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: Path) -> OnnxRecord:
        """Check the metadata that were read from ``source``.

        Raises:
            LidError: they are not those of an exported model of this toolkit, or a value is not valid.
        """
        if RECORD not in metadata:
            raise LidError(
                "an ONNX file of another origin: it does not name its languages",
                where=source,
                mend="give a file that lid export wrote",
            )
        try:
            content = parse_json(metadata[RECORD])
            if (version := content.pop("format", None)) != ONNX_FORMAT:
                what = f"format {version!r:.40} of exported models is not supported"
                raise LidError(what, where=source, mend=f"this version reads format {ONNX_FORMAT}")
            scale, labels, size = (content.pop(key) for key in ("scale", "languages", "embedding_size"))
            check_labels(_list(labels), source)
            check_rate(content["rate"], source)
            _check_values(content, size)
            cosines = None if scale is None else _cosines(scale, metadata[CENTRES], size, len(labels))
            pretrained = tuple(content.pop("pretrained"))
            return cls(
                languages=tuple(labels),
                embedding_size=size,
                pretrained=pretrained,
                cosines=cosines,
                **content,
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            reason = str(error)[:LONGEST_REASON]
            raise LidError(f"its metadata are damaged: {reason}", where=source, mend=EXPORT) from error


def read_record(path: Path) -> OnnxRecord:
    """Return what an exported file says about itself; onnxruntime is not needed.

    Raises:
        LidError: it does not exist, is not safe to open, or is not an exported model of this toolkit.
    """
    with Untrusted(path).onnx(path.name) as checked:
        return OnnxRecord.from_metadata(metadata_of(checked, path), path)


def _check_values(content: Mapping[str, Any], size: object) -> None:
    """Raise ValueError or TypeError if a value of the metadata is of another type."""
    texts = [content[key] for key in ("toolkit", "numbers", "licence")] + _list(content["pretrained"])
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise TypeError("a text is expected")
    if not isinstance(content["model"], str | None) or not isinstance(content["policy"], dict):
        raise TypeError("the policy or the digest of the model is of another type")
    if not isinstance(size, int) or not 0 < size <= LARGEST_EMBEDDING:
        raise ValueError(f"embeddings of {size!r:.40} numbers")


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value


def _cosines(scale: object, packed: str, size: int, languages: int) -> Cosines:
    if not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise ValueError(f"a scale of {scale!r:.40}")
    centres_sd = np.frombuffer(base64.b64decode(packed, validate=True), "<f4").reshape(-1, size)
    if not len(centres_sd) or len(centres_sd) % languages or not np.isfinite(centres_sd).all():
        raise ValueError(f"{len(centres_sd)} centres of {languages} languages")
    return Cosines(float(scale), centres_sd, languages)
