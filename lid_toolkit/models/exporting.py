"""Whether a model is being exported as a graph for other runtimes.

``torch.compiler.is_exporting`` is no help: code that ``torch.compile`` compiles sees it as true too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_depth = 0


def is_exporting() -> bool:
    """Return whether the graph is for other runtimes, which have fewer operations and no Python loops."""
    return _depth > 0


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Export models within the context. One thread at a time may."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
