"""A model that is loaded when it is first used, and that can be sent to other processes."""

from __future__ import annotations

import threading

from lid_toolkit.errors import LidError
from lid_toolkit.inference.backend import Backend, Origin, load_backend


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
