"""Run a command of ``pyscripts`` within the test: starting Python and importing torch takes seconds."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from dataclasses import dataclass

from stages import run


@dataclass(frozen=True)
class Done:
    """A command that has ended: what :func:`subprocess.run` would return."""

    returncode: int
    stdout: str
    stderr: str


def call(script: str, *arguments: object) -> Done:
    """Run ``pyscripts/SCRIPT``, named with or without ``.py``; an unexpected exception is raised."""
    module = importlib.import_module(script.removesuffix(".py"))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    output, messages = io.StringIO(), io.StringIO()
    root.handlers[:] = []  # so that the command sets up its own log
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
            run(module.main, [str(word) for word in arguments])
    except SystemExit as end:
        return Done(int(end.code or 0), output.getvalue(), messages.getvalue())
    finally:
        root.handlers[:] = before
        root.setLevel(level)
