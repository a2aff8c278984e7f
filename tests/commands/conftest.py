"""Fixtures of the command's tests: the model of ``tests/inference``, and recordings."""

from __future__ import annotations

import pytest
import soundfile
from data.corpus import LANGUAGES, RATE, beeps
from inference.conftest import model_file

__all__ = ["model_file", "recordings"]


@pytest.fixture
def recordings(tmp_path):
    paths = []
    for language in LANGUAGES:
        paths.append(str(tmp_path / f"{language} é.wav"))
        soundfile.write(paths[-1], beeps(language, 8000, 1), RATE)
    return paths
