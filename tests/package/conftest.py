"""Fixtures for packed models."""

from __future__ import annotations

from pathlib import Path

import pytest
from package.packed import packed, write_experiment, write_speech


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of a tiny experiment."""
    return write_experiment(tmp_path_factory.mktemp("machine") / "lid_tiny")


@pytest.fixture(scope="session")
def package(model: Path) -> Path:
    """The same, packed."""
    return packed(model)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A second of beeps."""
    return write_speech(tmp_path / "speech.wav")
