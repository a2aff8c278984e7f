"""Work in a thread while the training goes on: writing a checkpoint that was copied to the CPU's memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor
from torch.utils._pytree import tree_map_only

Content = TypeVar("Content")


class Background:
    """Does one piece of work at a time in a thread. A program that ends waits for it."""

    def __init__(self) -> None:
        self._pending: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start the work, after the one before has ended.

        Raises:
            Exception: what the work before has raised.
        """
        self.wait()
        thread = ThreadPoolExecutor(1)
        self._pending = thread.submit(work)
        thread.shutdown(wait=False)

    def wait(self) -> None:
        """Wait until the work has ended, if there is any.

        Raises:
            Exception: what it has raised.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def snapshot(content: Content) -> Content:
    """Return nested dictionaries and lists with copies of all tensors, in the CPU's memory."""
    copied: Content = tree_map_only(
        Tensor, lambda tensor: tensor.clone() if tensor.device.type == "cpu" else tensor.cpu(), content
    )
    return copied
