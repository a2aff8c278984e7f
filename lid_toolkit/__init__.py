"""Spoken language identification: a staged recipe toolkit and a Python library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier, Prediction

# Threads that spin while they wait for each other take the cores from everything else, and on a busy machine
# from each other: identification with two threads was ten times slower. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["LanguageIdentifier", "Prediction", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the model classes on first use (PEP 562): torch is slow to import and rarely needed."""
    if name in ("LanguageIdentifier", "Prediction"):
        from lid_toolkit.inference import identifier

        return getattr(identifier, name)
    raise AttributeError(f"module 'lid_toolkit' has no attribute '{name}'")
