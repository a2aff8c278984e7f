"""The origin of an encoder's architecture is stored, and faults in its files are reported."""

from __future__ import annotations

import json
import shutil

import pytest
from models.pretrained_encoders import save_tiny

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component
from lid_toolkit.models.frontends.pretrained.load import read_architecture

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_revision_is_kept(tmp_path):
    folder = save_tiny(tmp_path, "wav2vec2", do_normalize=False)
    assert read_architecture(str(folder), None)["revision"] is None
    cached = tmp_path / "cache/models--somebody--encoder"
    shutil.copytree(folder, cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(COMMIT)
    assert read_architecture("somebody/encoder", str(tmp_path / "cache"))["revision"] == COMMIT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"), "xlsr")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", [], "no usable model"),
        ("config.json", {"model_type": "foo"}, "model type `foo`"),
        ("config.json", {"hidden_size": "abc"}, "'hidden_size' expected int, got str"),
        ("config.json", {"num_hidden_layers": None}, "'num_hidden_layers' expected int"),
        ("config.json", {"conv_kernel": [10]}, "Configuration for convolutional layers is incorrect"),
        ("config.json", {"hidden_act": "nope"}, "'nope' is not known"),
        ("preprocessor_config.json", [], "preprocessor_config.json of"),
        ("preprocessor_config.json", "x", "preprocessor_config.json of"),
    ],
)
def test_what_is_wrong_in_a_folder_is_told(folder, tmp_path, file, content, message):
    path = shutil.copytree(folder, tmp_path / "xlsr")
    if file == "config.json" and content:
        content = {**json.loads((path / file).read_text()), **content}
    (path / file).write_text(json.dumps(content))
    with pytest.raises(LidError) as caught:
        build_component("frontend", "transformers", {"path_or_url": str(path)}, {})
    assert message in str(caught.value)
    assert caught.value.where == "frontend_conf.path_or_url"


def test_an_architecture_of_unknown_parts_is_refused(folder):
    architecture = read_architecture(str(folder), None)
    architecture["config"]["hidden_act"] = "nope"
    with pytest.raises(LidError, match="frontend_conf: 'nope' is not known"):
        build_component("frontend", "transformers", {"path_or_url": "x", "architecture": architecture}, {})
