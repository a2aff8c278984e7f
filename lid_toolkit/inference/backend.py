"""What computes a model: PyTorch, or onnxruntime where PyTorch is not installed. This module needs neither.

Shapes: b utterances, c languages, d embedding.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from lid_toolkit.errors import LidError
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.speech import Floats
from lid_toolkit.training.config import DType
from lid_toolkit.untrusted import LABELS
from lid_toolkit.untrusted_onnx import SUFFIX

BackendName = Literal["auto", "torch", "onnx"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


@dataclass(frozen=True)
class Origin:
    """What a model is loaded from, and how; see ``LanguageIdentifier.from_pretrained``."""

    source: str
    device: str = "auto"
    revision: str | None = None
    external: tuple[str, ...] = ()
    threads: int | None = None
    dtype: DType = "float32"
    policy: DecisionPolicy | None = None
    torch_compile: bool = False
    backend: BackendName = "auto"


class Backend(Protocol):
    """A model that is ready to compute."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels in index order."""

    @property
    def rate(self) -> int:
        """Samples per second."""

    @property
    def embedding_size(self) -> int:
        """Dimension D of the embeddings."""

    @property
    def device(self) -> Any:
        """Where it computes: a ``torch.device``, or a name."""

    @property
    def policy(self) -> DecisionPolicy:
        """When to answer, unless another policy is given."""

    def compute(self, waves: Sequence[Floats], batch_size: int) -> tuple[Floats, Floats]:
        """Return log posteriors (B, C) and L2-normalised embeddings (B, D) of waveforms (samples,)."""

    def classify(self, embeddings: Floats) -> Floats:
        """Return the log posteriors of embeddings (D,) or (B, D), each of length 1.

        Raises:
            LidError: as ``LanguageIdentifier.classify_embedding``.
        """


def is_exported(source: str) -> bool:
    """Return whether a source is named as ``lid export`` names its files.

    One with a file of labels beside it is a model of another make.
    """
    path = Path(source)
    return path.suffix == SUFFIX and not path.with_name(LABELS).exists()


def require(package: str, extra: str) -> None:
    """Raise LidError if a package is not installed, with the extra of this toolkit that installs it."""
    if importlib.util.find_spec(package) is None:
        other = "give an exported model (.onnx) or backend onnx, or " if extra == "torch" else ""
        raise LidError(
            f"{package} is not installed",
            where=f"backend {extra}",
            mend=f"{other}pip install 'lid_toolkit[{extra}]'",
        )


def checked_embeddings(embeddings: Any, size: int) -> Floats:
    """Return embeddings (D,) or (B, D) as float32.

    Raises:
        LidError: the shape is wrong, or a number is not finite.
    """
    if hasattr(embeddings, "detach"):  # a tensor, perhaps on a GPU
        embeddings = embeddings.detach().cpu()
    checked: Floats = np.asarray(embeddings, dtype=np.float32)
    if checked.ndim not in (1, 2) or checked.shape[-1] != size:
        what = f"shape {checked.shape} is not supported"
        raise LidError(what, where="embeddings", mend=f"give ({size},) or (embeddings, {size})")
    if not np.isfinite(checked).all():
        raise LidError("not finite", where="embeddings", mend="leave them out")
    return checked


def depends_on_length() -> LidError:
    """Return the error of a classifier that does not take normalised embeddings."""
    what = "this model's classifier depends on the length of embeddings, which are normalised to 1"
    return LidError(what, where="classify_embedding", mend="use identify")
