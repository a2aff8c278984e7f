"""What the shell tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell.recipe import Recipe, lay_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A copy of the recipe, in a path with blanks and letters beyond ASCII."""
    return lay_recipe(tmp_path / "récipe 語 dir")
