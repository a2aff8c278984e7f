"""What holds for every test."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A suite that is started in the background inherits an ignored Ctrl-C, one under nohup an ignored hangup, and
# so would all it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)  # after tests were left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the files that have slow tests out to the workers, and let each worker begin with them.

    The workers of pytest-xdist get equal parts of the list, and one that has nothing left takes tests from
    the end of another's. So no worker starts a slow test when the others have nothing left to do, and the
    tests of a file, which may share a run of the recipe, stay together.
    """
    slow: dict[Path, list[pytest.Item]] = {
        item.path: [] for item in items if item.get_closest_marker("slow") is not None
    }
    rest = []
    for item in items:
        slow.get(item.path, rest).append(item)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        first = [item for tests in list(slow.values())[worker::workers] for item in tests]
        share = (len(items) - len(dealt)) // (workers - worker) - len(first)
        dealt += first + rest[: max(share, 0)]
        del rest[: max(share, 0)]
    items[:] = dealt + rest
