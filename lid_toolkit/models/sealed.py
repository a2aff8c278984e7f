"""Build a model from a description that may come from a stranger: bounded memory, and nothing is looked up.

A model file or a packed model describes its components and holds their weights. Everything that the model
needs is in it, so while it is built no folder, cache or address is read. Its numbers may be nonsense, so the
tensors that are made may not be much larger than the weights in the file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from typing import Any

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
SMALL = 2**16

_sealed: ContextVar[bool] = ContextVar("sealed", default=False)


def is_sealed() -> bool:
    """Return whether a model is being built whose description must not cause any look-up."""
    return _sealed.get()


@contextlib.contextmanager
def sealed(weights: Collection[Tensor]) -> Iterator[None]:
    """Build a model of these weights: front ends look nothing up, and sizes are bounded.

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
    """Refuse an operation before it makes a tensor that is too large."""

    def __init__(self, numbers: float, calls: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers, self.calls = numbers, calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls -= 1
        if _most(args, kwargs) > SMALL:
            self.numbers -= _made(func, args, kwargs)
        if self.numbers < 0 or self.calls < 0:
            raise LidError("its sizes are much larger than its weights", mend="do not use this file")
        return func(*args, **kwargs)


def _most(args: Any, kwargs: Any) -> float:
    """Return an upper limit of the numbers that an operation makes: the product of all its sizes.

    For example 3 * 4 * 5 for ``x.repeat(4, 5)`` of three numbers, and 10^12 for ``arange(0, 10^12)``.
    """
    sizes = [leaf.numel() if isinstance(leaf, Tensor) else leaf for leaf in tree_leaves((args, kwargs))]
    return math.prod(abs(float(size)) for size in sizes if isinstance(size, int | float) and abs(size) > 1)


def _made(func: Any, args: Any, kwargs: Any) -> float:
    """Return how many numbers an operation makes, computed without making them (device ``meta``).

    Views, and operations in place, make none.
    """
    if all(value.alias_info is not None for value in func._schema.returns):
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
        return largest * _most(*tree_map_only(Tensor, lambda _: 1, (args, kwargs)))
    return sum(leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
