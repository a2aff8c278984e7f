"""The type of the first argument of a ``torch.autograd.Function``, which PyTorch itself leaves untyped."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Context(Protocol):
    """What ``forward`` keeps for ``backward``."""

    saved_tensors: Any
    """The tensors as they were saved; it is ``Any`` because each may be None if it was saved as None."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs and outputs."""

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Note outputs through which no gradient flows."""
