"""A model that is loaded when it is first used, and that can be sent to other processes."""

from __future__ import annotations

import threading

from lid_toolkit.errors import LidError
from lid_toolkit.inference.backend import BACKENDS, Backend, Origin, is_exported, require


class LazyModel:
    """A model by its origin. Threads can share it; a pickled one contains only the origin."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._loaded: Backend | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def __getstate__(self) -> Origin:
        return self.origin

    def __setstate__(self, origin: Origin) -> None:
        LazyModel.__init__(self, origin)

    def load(self) -> Backend:
        """Return the model; it is loaded at the first call.

        Raises:
            LidError: it cannot be loaded, or :meth:`close` was called.
        """
        with self._lock:
            if self._is_closed:
                raise LidError("is closed", where=self.origin.source, mend="load it again")
            if self._loaded is None:
                self._loaded = load_backend(self.origin)
            return self._loaded

    def close(self) -> None:
        """Free the memory of the model, which cannot be used any more."""
        with self._lock:
            self._loaded, self._is_closed = None, True


def load_backend(origin: Origin) -> Backend:
    """Load a model.

    Raises:
        LidError: it cannot be loaded, the backend does not exist, or what computes it is not installed.
    """
    if origin.backend not in BACKENDS:
        raise LidError(
            f"'{origin.backend}' is not supported", where="backend", mend=f"give {', '.join(BACKENDS)}"
        )
    if origin.backend == "onnx" or (origin.backend == "auto" and is_exported(origin.source)):
        require("onnxruntime", "onnx")
        from lid_toolkit.inference.onnx_backend import load_onnx

        return load_onnx(origin)
    if is_exported(origin.source):
        raise LidError("PyTorch does not compute ONNX files", where=origin.source, mend="give backend onnx")
    require("torch", "torch")
    from lid_toolkit.inference.torch_backend import load_torch

    return load_torch(origin)
