"""Where an encoder's architecture comes from is kept: the commit of the Hub, or none of a folder."""

from __future__ import annotations

import shutil

from models.upstreams import save_tiny

from lid_toolkit.models.upstream_load import read_architecture

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_revision_is_kept(tmp_path):
    folder = save_tiny(tmp_path, "wav2vec2", do_normalize=False)
    assert read_architecture(str(folder), None)["revision"] is None
    cached = tmp_path / "cache/models--somebody--encoder"
    shutil.copytree(folder, cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(COMMIT)
    assert read_architecture("somebody/encoder", str(tmp_path / "cache"))["revision"] == COMMIT
