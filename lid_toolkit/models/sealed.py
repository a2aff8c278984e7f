"""Build a model from a description that may come from a stranger: bounded memory, and nothing is looked up.

A model file or a packed model describes its components and holds their weights. Everything that the model
needs is in it, so while it is built no folder, cache or address is read, and no initial weights are drawn.
Its numbers may be nonsense, so the tensors that are made may not be much larger than the weights in the file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from lid_toolkit.errors import LidError

TIMES_FILE = 64
"""A front end that keeps few layers first builds them all: state 0 of XLS-R 2B is a 54th of the encoder."""
SPARE_NUMBERS = 2**27
"""Numbers beyond those of the file, for filters, windows and other constants: 512 MiB in float32."""
SPARE_CALLS = 10_000
"""Operations; Whisper large needs half as many. More are a loop over a number that is nonsense."""
CALLS_PER_TENSOR = 10
HARMLESS = 2**26
"""An operation that can make at most so many numbers, 256 MiB in float32, is done before they are counted."""
ATEN = torch.ops.aten
PRODUCTS = (ATEN.linear.default, ATEN.matmul.default)
DRAWS = (ATEN.uniform_.default, ATEN.normal_.default)
"""Operations that draw initial weights: seconds for a large encoder, and memory that would not be touched."""

_sealed: ContextVar[bool] = ContextVar("sealed", default=False)


def is_sealed() -> bool:
    """Return whether a model is being built whose description must not cause any look-up."""
    return _sealed.get()


@contextlib.contextmanager
def sealed(weights: Collection[Tensor]) -> Iterator[None]:
    """Build a model of these weights: front ends look nothing up, and sizes are bounded.

    Parameters that the caller does not load are not initialised.

    Raises:
        LidError: a component would make tensors that are much larger than all weights together.
    """
    numbers = TIMES_FILE * sum(weight.numel() for weight in weights) + SPARE_NUMBERS
    token = _sealed.set(True)
    try:
        with _Bounded(numbers, SPARE_CALLS + CALLS_PER_TENSOR * len(weights)):
            yield
    finally:
        _sealed.reset(token)


class _Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Refuse an operation before it makes a tensor that is too large, and skip random initial weights."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes longer than the model

    def __init__(self, numbers: float, calls: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers, self.calls = numbers, calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls -= 1
        if func in DRAWS:
            return args[0]
        harmless = _most(func, args, kwargs) <= HARMLESS
        if not harmless:
            self._count(_made(func, args, kwargs))
        result = func(*args, **kwargs)
        if harmless:
            self._count(_numbers(result) if _makes(func) else 0)
        return result

    def _count(self, made: float) -> None:
        self.numbers -= made
        if self.numbers < 0 or self.calls < 0:
            raise LidError("its sizes are much larger than its weights", mend="do not use this file")


def _most(func: Any, args: Any, kwargs: Any) -> float:
    """Return an upper limit of the numbers that an operation makes.

    For most operations it is the product of all sizes, for example 3 * 4 * 5 for ``x.repeat(4, 5)`` of three
    numbers, and 10^12 for ``arange(0, 10^12)``. The operations of usual models have closer limits, because
    torch needs a second to import what computes their results' shapes.
    """
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if torch.Tag.pointwise in func.tags:
        return float(math.prod(np.broadcast_shapes(*(tensor.shape for tensor in tensors))))
    if func in PRODUCTS and tensors[0].dim():
        return tensors[0].numel() * tensors[1].numel() / max(tensors[0].shape[-1], 1) ** 2
    if func is ATEN.batch_norm.default:
        return 2.0 * tensors[0].numel()
    if func is ATEN.cat.default:
        return sum(tensor.numel() for tensor in tensors)
    if func is ATEN.pad.default:
        spare = [0] * (2 * args[0].dim() - len(args[1])) + list(reversed(args[1]))
        return float(math.prod(size + sum(spare[2 * n : 2 * n + 2]) for n, size in enumerate(args[0].shape)))
    return _product(leaves)


def _product(leaves: list[Any]) -> float:
    sizes = [leaf.numel() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    return math.prod(abs(float(size)) for size in sizes if isinstance(size, int | float) and abs(size) > 1)


def _made(func: Any, args: Any, kwargs: Any) -> float:
    """Return how many numbers an operation makes, computed without making them (device ``meta``)."""
    if not _makes(func):
        return 0
    shapes = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
    inputs = [leaf for leaf in tree_leaves(shapes) if isinstance(leaf, Tensor)]
    device = {} if inputs and "device" not in kwargs else {"device": torch.device("meta")}
    try:
        made = func(*shapes[0], **{**shapes[1], **device})
    except (RuntimeError, TypeError, ValueError):
        # Its result depends on values, for example on the lengths of packed sequences. The product of the
        # sizes of all tensors would be far too much for a recurrent network, which gets all its weights.
        largest = max((leaf.numel() for leaf in inputs), default=1)
        others = tree_map_only(Tensor, lambda _: 1, (args, kwargs))
        return largest * _product(tree_leaves(others))
    return _numbers(made)


def _makes(func: Any) -> bool:
    """Return whether an operation makes numbers; views and operations in place make none."""
    return any(value.alias_info is None for value in func._schema.returns)


def _numbers(tensors: Any) -> int:
    return sum(leaf.numel() for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor))
