"""Compilation of a model's forward pass with ``torch.compile``, in one graph for batches of all sizes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from lid_toolkit.errors import LidError

Given = ParamSpec("Given")
Result = TypeVar("Result")


def compiled(forward: Callable[Given, Result], where: str, mend: str) -> Callable[Given, Result]:
    """Return the same function of tensors, which is compiled when it is first called.

    A size that depends on the values of a tensor, such as the number of valid frames of a batch, stays a
    number that is only known when the code runs: without this, the graph would end wherever one is needed
    (``capture_scalar_outputs`` in PyTorch's documentation of ``torch.compile``). CUDA graphs
    (``mode="reduce-overhead"``) are not used: they are recorded for each size anew.

    Args:
        forward: a module or a function.
        where: the option that asked for it, for the error.
        mend: how to do without it.

    Raises:
        LidError: from the returned function, if there is no compiler or it fails.
    """
    import torch._dynamo.config as settings  # with the next line, takes a second to import
    from torch._dynamo.exc import TorchDynamoException

    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    fast = torch.compile(forward, dynamic=True)

    def call(*arguments: Given.args, **named: Given.kwargs) -> Result:
        try:
            with settings.patch(capture_scalar_outputs=True):
                return fast(*arguments, **named)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n\n")[0]
            raise LidError(reason, where=where, mend=mend) from error

    return call
