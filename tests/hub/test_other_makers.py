"""Repositories of other makers on the Hub, read and imported through the Hub's real client."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub.hub_server import Hub, Repository, serving
from importers.sources import SPEECHBRAIN, write_source
from importers.test_transformers_models import our_posteriors, waves, write_classifier
from models.espnet import write_espnet_experiment
from package.packed import NOWHERE, talk_to

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.locate import labels_of, open_model
from lid_toolkit.package.licences import model_licence
from lid_toolkit.training.checkpoint import load_model


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as server:
        talk_to(monkeypatch, tmp_path / "hf", server.url)
        yield server


def put(hub: Hub, name: str, folder: Path, **more: bytes) -> None:
    """Make a repository of a folder's files."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    hub.repositories[name] = Repository(private=False, files={**files, **more})


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_classifier_and_its_licence(hub, weights, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "theirs"
    model = write_classifier(folder, "mms")
    if weights.endswith(".bin"):
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / weights)
    put(hub, "facebook/mms-lid-5", folder, **{"tf_model.h5": b"large", "flax_model.msgpack": b"large"})
    with caplog.at_level("INFO"):
        saved = open_model("facebook/mms-lid-5")
    assert "facebook/mms-lid-5: its licence is cc-by-nc-4.0" in caplog.text
    assert model_licence(saved.description) == "cc-by-nc-4.0"
    expected = our_posteriors(open_model(folder), waves())
    assert (our_posteriors(saved, waves()) == expected).all()
    assert not [*(tmp_path / "hf").rglob("tf_model.h5"), *(tmp_path / "hf").rglob("*.msgpack")]
    imported = load_model(import_model("facebook/mms-lid-5", tmp_path / "exp"))
    assert (our_posteriors(imported, waves()) == expected).all()
    talk_to(monkeypatch, tmp_path / "hf", NOWHERE)
    assert labels_of("facebook/mms-lid-5") == saved.languages  # from the cache


def write_espnet(folder: Path) -> Path:
    """Write ESPnet's tiny experiment with what marks it in a repository."""
    write_espnet_experiment(folder)
    (folder / "meta.yaml").write_text("espnet: '202511'\n")
    return folder


def write_speechbrain(folder: Path) -> Path:
    """Write SpeechBrain's tiny model with the file that its repositories have too."""
    shutil.copytree(SPEECHBRAIN, folder)
    (folder / "config.json").write_text('{"speechbrain_interface": "EncoderClassifier"}')
    return folder


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda folder: write_source("transformers", folder), id="transformers"),
        pytest.param(lambda folder: write_source("whisper", folder), id="whisper"),
        pytest.param(write_speechbrain, id="speechbrain"),
        pytest.param(write_espnet, id="espnet"),
    ],
)
def test_a_zip_and_a_repository_answer_as_the_folder_does(hub, write, tmp_path):
    folder = write(tmp_path / "theirs")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    put(hub, "them/lid", folder)
    here = open_model(folder)
    for source in (packed, "them/lid"):
        there = open_model(source)
        assert there.languages == here.languages
        assert torch.equal(our_posteriors(there, waves()), our_posteriors(here, waves()))


def test_a_repository_without_a_model(hub, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "README.md").write_text("nothing")
    put(hub, "me/nothing", tmp_path / "x")
    with pytest.raises(LidError, match=r"the repository has no meta\.yaml, hyper"):
        open_model("me/nothing")


def test_a_packed_model_is_not_imported(hub, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "x")
    put(hub, "me/packed", tmp_path / "x")
    with pytest.raises(LidError, match="is a packed model, not one of another toolkit"):
        import_model("me/packed", tmp_path / "exp")
