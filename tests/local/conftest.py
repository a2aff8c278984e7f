"""VoxLingua107 in miniature, as zips and behind a web server."""

from __future__ import annotations

import shutil

import pytest
from local_voxlingua107 import lay_zips
from local_web import serving

from local import fetch as fetching


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zips")
    lay_zips(folder)
    return folder


@pytest.fixture
def server(zips, tmp_path, monkeypatch):
    """The corpus's web server; what it serves is this test's own."""
    monkeypatch.setattr(fetching, "WAITS_S", (0.01, 0.01))
    shutil.copytree(zips, tmp_path / "served")
    with serving(tmp_path / "served") as running:
        yield running
