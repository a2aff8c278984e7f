"""Count what a computation asks of a GPU, without one: on the meta device, which computes only shapes.

Every operation passes a ``TorchDispatchMode``. Meta tensors stand for those on the GPU, and CPU tensors for
those of the host. What a GPU would have to give the host is answered with small numbers.

Shapes: none; the functions take any tensors.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from gpu_shapes import make_training, minibatch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lid_toolkit.training.precision import Precision
from lid_toolkit.training.state import State
from lid_toolkit.training.update import SubBatch, run_update

ATEN = torch.ops.aten
META = torch.device("meta")
NO_KERNEL = ("empty", "detach", "alias", "lift", "set_data", "_unsafe_view", "unbind", "view_as")
"""Beginnings of the names of operations that only allocate or rename memory, beside views."""
NO_META = (ATEN._fused_adam_.default, ATEN._fused_adamw_.default, ATEN._fused_adam_.tensor_lr)
"""Operations in place that the meta device does not have."""

READS = (ATEN._local_scalar_dense.default, ATEN.is_nonzero.default)


class DeviceCounter(TorchDispatchMode):
    """Counts kernels, copies to the device, and waits of the host.

    Attributes:
        counts: ``kernels``: operations on the device that compute or copy. ``blocking copies``: copies of
            host memory for which the host waits until the device has done all its work. ``copies``: those
            for which it does not wait. ``host reads``: values that the host reads, which wait too.
        names: how often each operation on the device was called.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter({"kernels": 0, "blocking copies": 0, "copies": 0, "host reads": 0})
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = any(tensor.is_meta for tensor in given)
        if device and func in READS:
            self.counts["host reads"] += 1
            return False if given[0].dtype is torch.bool else 1  # a size of 1 is broadcast
        if device and func is ATEN._to_copy.default and kwargs.get("device", META).type == "cpu":
            self.counts["host reads"] += 1
            return torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
        if func is ATEN.lift_fresh.default and device:  # torch.tensor(…, device=…)
            self.counts["blocking copies"] += 1
            return args[0]
        if _from_host(func, args, kwargs):
            waits = not (
                kwargs.get("non_blocking") or (func is ATEN.copy_.default and len(args) > 2 and args[2])
            )
            self.counts["blocking copies" if waits else "copies"] += 1
        with self:  # operations on tensors of inference mode arrive here before they are taken apart
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = None if func in NO_META else func(*args, **kwargs)
        if (device or any(leaf.is_meta for leaf in _tensors(result))) and _computes(func):
            self.counts["kernels"] += 1
            self.names[str(func)] += 1
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _from_host(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether an operation copies memory of the host to the device."""
    if func is ATEN._to_copy.default:
        return not args[0].is_meta and kwargs.get("device") == META
    return func is ATEN.copy_.default and args[0].is_meta and not args[1].is_meta


def _computes(func: Any) -> bool:
    name = func._schema.name.partition("::")[2]
    return not func.is_view and not name.startswith(NO_KERNEL)


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let optimizers and norms treat the meta device as they treat CUDA, with one kernel for many tensors."""
    devices = "_get_foreach_kernels_supported_devices", "_get_fused_kernels_supported_devices"
    with contextlib.ExitStack() as stack:
        for module in ("torch.utils._foreach_utils", "torch.optim.optimizer"):
            for name in devices:
                stack.enter_context(mock.patch(f"{module}.{name}", return_value=["cuda", "meta"]))
        stack.enter_context(mock.patch("torch.autocast", return_value=contextlib.nullcontext()))
        yield


def count(shape: str, batches: int) -> dict[str, dict[str, int]]:
    """Return the counts of a shape, by what is computed: one forward pass, and one update.

    Args:
        shape: see ``gpu_shapes.configuration``.
        batches: batches of an update.
    """
    training, learner = make_training(shape, META, Precision())
    counts = {}
    with as_on_a_gpu():
        batch = minibatch(4, 2.0)
        with DeviceCounter() as counter:
            learner.model.eval().identify(batch.wave_bt.to(META, non_blocking=True), batch.lengths_b)
        counts["identification"] = dict(counter.counts)
        learner.model.train()
        update = SubBatch(0, batches, 4 * batches)
        for _ in range(2):  # the first one also makes the optimizer's state
            given = iter([minibatch(4, 2.0) for _ in range(batches)])
            with DeviceCounter() as counter:
                run_update(training, learner, State(), update, given, [0.0, 0.0])
        counts[f"update of {batches}"] = dict(counter.counts)
    return counts
