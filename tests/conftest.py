"""What holds for every test."""

from __future__ import annotations

import signal

import pytest

# A suite that is started in the background inherits an ignored Ctrl-C, and so would all it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first, so that no worker starts one when the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
