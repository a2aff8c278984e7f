"""Spoken language identification: a staged recipe toolkit and a Python library."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier
    from lid_toolkit.inference.policy import DecisionPolicy
    from lid_toolkit.inference.prediction import Prediction

# Threads that spin while they wait for each other take the cores from everything else, and on a busy machine
# from each other: identification with two threads was ten times slower. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["DecisionPolicy", "LanguageIdentifier", "Prediction", "__version__"]

_MODULES = {"DecisionPolicy": "policy", "LanguageIdentifier": "identifier", "Prediction": "prediction"}


def __getattr__(name: str) -> Any:
    """Import the classes on first use (PEP 562): torch is slow to import and rarely needed."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"lid_toolkit.inference.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'lid_toolkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
