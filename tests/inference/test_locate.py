"""Where models come from: what is not there, or cannot be asked, is one line."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import httpx2
import pytest
import torch
import yaml
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, LocalTokenNotFoundError
from models.espnet import LANGUAGES, tiny_model, waves, write_espnet_experiment
from package.packed import NOWHERE, run_alone

from lid_toolkit.errors import LidError
from lid_toolkit.inference.hub_files import explain
from lid_toolkit.inference.locate import labels_of, open_model

LOAD = "from lid_toolkit.cli import run; from lid_toolkit.inference.locate import open_model\n"


@pytest.mark.parametrize("name", ["exp/no/such", "none.zip", "none.pth", "a.b", "x/y.pth", "../x/y"])
def test_paths_that_are_not_there(name):
    with pytest.raises(LidError, match="does not exist"):
        open_model(name)


def test_only_repositories_have_revisions(model_file):
    with pytest.raises(LidError, match="only repositories on the Hub have revisions"):
        open_model(model_file, revision="v1")


def test_without_network(tmp_path):
    done = run_alone(tmp_path, "-c", f"{LOAD}run(lambda _: open_model('exp/lid_mine'))", HF_ENDPOINT=NOWHERE)
    assert done.returncode == 2
    assert (
        "error: exp/lid_mine: does not exist on this machine, and the Hub cannot be reached: " in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def answered(status: int, said: str | None = None) -> HfHubHTTPError:
    response = httpx2.Response(status, request=httpx2.Request("GET", "http://127.0.0.1/"))
    return HfHubHTTPError("long\ntext", response=response, server_message=said)


def wrapped(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "fault", "mend"),
    [
        (answered(500), "the Hub answered 500: long", "later"),
        (answered(401, "no"), "the Hub answered 401: no", "HF_TOKEN"),
        (answered(403, "no"), "the Hub answered 403: no", "use another repository"),
        (wrapped(RuntimeError("upload"), answered(403)), "the Hub answered 403", "use"),
        (
            wrapped(LocalEntryNotFoundError("x"), httpx2.ConnectError("refused")),
            "cannot be reached: refused",
            "network",
        ),
        (httpx2.ReadError(""), "cannot be reached: ReadError", "network"),
        (LocalTokenNotFoundError("x\ny"), "no token", "hf auth login"),
        (OSError(28, "No space left on device"), "No space left on device", "later"),
    ],
)
def test_errors_of_the_client_are_explained(error, fault, mend):
    what, how = explain(error)
    assert fault in what
    assert mend in how
    assert "\n" not in what


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        archive.writestr("meta.yaml", "espnet: '202511'\n")  # as ESPnet packs it
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, Path("exp/lid") / file.relative_to(folder))
    return folder.with_suffix(".zip")


@pytest.mark.parametrize("kind", ["folder", "file", "zip", "unpacked zip"])
def test_an_experiment_of_espnet_is_used_as_it_is(kind, tmp_path):
    source = write_espnet_experiment(tmp_path / "theirs")
    if kind == "file":
        shutil.move(source / "valid.accuracy.best.pth", source / "7epoch.pth")
        source = source / "7epoch.pth"
    elif kind != "folder":
        source = zipped(source)
        if kind == "unpacked zip":
            shutil.unpack_archive(source, tmp_path / "unpacked")
            source = tmp_path / "unpacked"
    saved = open_model(source)
    assert saved.languages == labels_of(source) == LANGUAGES
    wave = waves()[0]
    with torch.inference_mode():
        ours, theirs = (m.embed(wave[None], torch.tensor([len(wave)])) for m in (saved.model, tiny_model()))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "upstream_condition"}, "config.yaml: model: upstream_condition is not supported (only"),
        ({"projector": "xvector"}, "parameters do not fit config.yaml and the languages, such as projector"),
        ({"lang2utt": "elsewhere/lang2utt_"}, "lang2utt is missing or empty (give the lang2utt of the"),
    ],
)
def test_an_experiment_of_espnet_that_cannot_be_used_is_told_in_one_line(change, message, tmp_path):
    source = write_espnet_experiment(tmp_path / "theirs")
    config = yaml.safe_load((source / "config.yaml").read_text())
    (source / "config.yaml").write_text(yaml.safe_dump({**config, **change}))
    if "lang2utt" in change:
        shutil.rmtree(source / "data")
    with pytest.raises(LidError) as caught:
        open_model(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_of_espnet_is_told_from_its_first_file(tmp_path):
    (tmp_path / "meta.yaml").write_text("espnet: '202511'\nfiles: {lid_model_file: exp/lid/a.pth}\n")
    with pytest.raises(LidError, match=r"packed by ESPnet, and without its config.yaml \(download all"):
        open_model(tmp_path)


def test_a_broken_config_beside_a_model_file_is_no_hindrance(model_file, tmp_path):
    copied = shutil.copy(model_file, tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    expected = open_model(model_file).languages
    assert open_model(copied).languages == open_model(tmp_path).languages == expected


def test_a_packed_model_is_never_taken_for_a_foreign_one(tmp_path):
    """Whatever its config.yaml says: the reader of packed models trusts less."""
    source = write_espnet_experiment(tmp_path / "theirs")
    (source / "model.yaml").write_text("format: 1\n")
    for path in (source, zipped(source)):
        with pytest.raises(LidError, match=r"packed by ESPnet|is missing|not a model file"):
            open_model(path)
