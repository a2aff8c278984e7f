"""Sizes are counted, and nothing is drawn, while a model is built from a file."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lid_toolkit.models import sealed as module
from lid_toolkit.models.sealed import sealed

WIDE = torch.ones(3, 1, 50)
OPERATIONS = {
    "sum of two shapes": lambda: torch.ones(40, 1) + torch.ones(1, 90),
    "minimum": lambda: torch.minimum(torch.ones(7, 40), torch.ones(40)),
    "linear": lambda: F.linear(torch.ones(3, 50, 20), torch.ones(64, 20), torch.ones(64)),
    "outer product by linear": lambda: F.linear(torch.ones(50, 1), torch.ones(64, 1)),
    "matmul of batches": lambda: torch.ones(3, 50, 20) @ torch.ones(3, 20, 30),
    "matmul of vectors": lambda: torch.ones(50) @ torch.ones(50),
    "batch norm": lambda: F.batch_norm(torch.ones(9, 4), torch.zeros(4), torch.ones(4)),
    "cat": lambda: torch.cat((torch.ones(5, 3), torch.ones(9, 3))),
    "pad": lambda: F.pad(WIDE, (4, 5)),
    "pad by mirroring": lambda: F.pad(WIDE, (40, 45), mode="reflect"),
    "pad of two dimensions": lambda: F.pad(WIDE, (4, 5, 6, 7)),
    "cut by padding": lambda: F.pad(WIDE, (-4, -5)),
    "arange": lambda: torch.arange(1000),
    "repeat": lambda: torch.ones(5).repeat(4, 5),
    "convolution": lambda: F.conv1d(torch.ones(2, 3, 40), torch.ones(8, 3, 5)),
}


class Limits(TorchDispatchMode):
    """Collects each operation's upper limit and what it made."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[float, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        limit = module._most(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        self.pairs.append((limit, module._numbers(result)))
        return result


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_no_operation_makes_more_than_its_limit(operation):
    with torch.inference_mode(), Limits() as seen:
        operation()
    assert seen.pairs
    assert all(limit >= made for limit, made in seen.pairs)


def test_limits_of_usual_operations_are_close():
    with torch.inference_mode(), Limits() as seen:
        for name in ("sum of two shapes", "linear", "cat", "pad"):
            OPERATIONS[name]()
    large = [(limit, made) for limit, made in seen.pairs if made > 40]
    assert {3600, 3 * 50 * 64, 14 * 3, 3 * 59} <= {made for _, made in large}
    assert all(limit == made for limit, made in large if made in (3600, 3 * 50 * 64, 14 * 3, 3 * 59))


def test_no_random_weights_are_drawn():
    state = torch.get_rng_state()
    with sealed([]):
        layer = torch.nn.Linear(50, 60)
        torch.nn.init.trunc_normal_(layer.weight)
    assert torch.equal(state, torch.get_rng_state())
    assert layer.weight.shape == (60, 50)
