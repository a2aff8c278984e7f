"""ESPnet's experiments: from a directory and from a zip, to the same numbers and a usable experiment."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from models.espnet import FIXTURES, LANGUAGES, arrays, waves

from lid_toolkit.errors import LidError
from lid_toolkit.hub.importers.espnet import read_espnet, rename
from lid_toolkit.hub.importers.experiment import import_model
from lid_toolkit.hub.importers.source import Source
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.training.config import load_config

THEIRS = arrays("tiny_sc_topk")
STATE = {k.removeprefix("sd/"): torch.from_numpy(v) for k, v in THEIRS.items() if k.startswith("sd/")}


@pytest.fixture
def experiment(tmp_path) -> Path:
    """Write an experiment as ESPnet leaves it; its config.yaml names data/tiny/lang2utt."""
    directory = tmp_path / "theirs"
    (directory / "data" / "tiny").mkdir(parents=True)
    shutil.copy(FIXTURES / "config_aamsoftmax_sc_topk.yaml", directory / "config.yaml")
    torch.save(STATE, directory / "valid.accuracy.best.pth")
    lines = [f"{language} {language}_utt1 {language}_utt2\n" for language in LANGUAGES]
    (directory / "data" / "tiny" / "lang2utt").write_text("".join(lines))
    return directory


def test_an_imported_experiment_identifies_as_in_espnet(experiment, tmp_path):
    path = import_model(experiment, tmp_path / "ours")
    saved = load_model(path)
    assert saved.languages == LANGUAGES
    assert saved.rate == 16000
    with torch.inference_mode():
        for i, wave in enumerate(waves()):
            embedding = saved.model.embed(wave[None], torch.tensor([len(wave)]))
            assert np.allclose(embedding[0], THEIRS["embeddings"][i], atol=1e-4)
            assert np.allclose(saved.model.loss.cosines(embedding)[0], THEIRS["max_cosines"][i], atol=1e-4)
    lid = LanguageIdentifier.from_pretrained(tmp_path / "ours", device="cpu")
    answers = lid.identify([wave.numpy() for wave in waves()])
    assert [answer.language for answer in answers] == [LANGUAGES[i] for i in THEIRS["pred_ids"]]
    config = load_config(tmp_path / "ours" / "config.yaml")
    assert (config.encoder, config.loss_conf["K"]) == ("ecapa_tdnn", 3)


def test_a_zip_of_it_and_a_second_import_give_the_same(experiment, tmp_path):
    packed = tmp_path / "model.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(experiment.rglob("*")):
            if file.is_file():
                archive.write(file, Path("exp/lid_tiny") / file.relative_to(experiment))
    one = load_model(import_model(experiment, tmp_path / "ours")).model.state_dict()
    other = load_model(import_model(packed, tmp_path / "ours")).model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_labels_come_from_lang2utt_in_its_order(experiment, tmp_path):
    elsewhere = tmp_path / "lang2utt"
    elsewhere.write_text("".join(f"{language} x\n" for language in reversed(LANGUAGES)))
    shutil.rmtree(experiment / "data")
    with pytest.raises(LidError, match=r"labels are not there \(name training's lang2utt by --lang2utt\)"):
        read_espnet(Source(experiment))
    assert read_espnet(Source(experiment), elsewhere).languages == LANGUAGES[::-1]
    elsewhere.write_text("eng x\nfra x\n")
    with pytest.raises(LidError, match="2 labels for 5 languages"):
        read_espnet(Source(experiment), elsewhere)
    with pytest.raises(LidError, match="labels are not there"):
        read_espnet(Source(experiment), tmp_path / "nowhere")


def test_the_weights_may_be_named(experiment):
    shutil.copy(experiment / "valid.accuracy.best.pth", experiment / "3epoch.pth")
    assert read_espnet(Source(experiment), model_file="3epoch.pth").languages == LANGUAGES
    (experiment / "valid.accuracy.best.pth").rename(experiment / "2epoch.pth")
    with pytest.raises(LidError, match=r"2 files of weights: 2epoch\.pth 3epoch\.pth"):
        read_espnet(Source(experiment))
    with pytest.raises(LidError, match="no weights"):
        read_espnet(Source(experiment), model_file="4epoch.pth")


def change_config(experiment: Path, **changes) -> None:
    path = experiment / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_weights_of_another_model_are_told(experiment):
    change_config(experiment, projector_conf={"output_size": 25})
    with pytest.raises(LidError, match=r"parameters do not fit config\.yaml and the languages"):
        read_espnet(Source(experiment))
    change_config(experiment, projector="xvector")
    with pytest.raises(LidError, match="such as projector"):
        read_espnet(Source(experiment))
    change_config(experiment, encoder="conformer")
    with pytest.raises(LidError, match=r"unknown encoder 'conformer' \(did you mean 'mfaconformer'"):
        read_espnet(Source(experiment))


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/should-not-exist"),))


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_nothing_in_a_file_is_run(experiment, content):
    path = experiment / "valid.accuracy.best.pth"
    if content is None:
        torch.save({"weight": Harmful()}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(LidError, match="damaged, or holds more than tensors"):
        read_espnet(Source(experiment))


def test_a_training_is_not_overwritten(experiment, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "checkpoint.pth").write_bytes(b"")
    with pytest.raises(LidError, match="a training lies here"):
        import_model(experiment, tmp_path / "ours")


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "no such file"), ("text", "neither a directory nor a zip"), ("", "no config")],
)
def test_what_is_no_model(tmp_path, name, message):
    (tmp_path / "text").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LidError, match=message):
        import_model(tmp_path / (name or "empty"), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_names_of_self_supervised_front_ends():
    theirs = (
        "frontend.upstream.upstream.model.encoder.pos_conv_embed.conv.weight_g",
        "frontend.upstream.upstream.model.encoder.layers.3.attention.q_proj.bias",
        "frontend.featurizer.weights",
        "frontend.logmel.melmat",
        "frontend.frontends.0.logmel.melmat",
    )
    assert list(rename(dict.fromkeys(theirs, torch.zeros(1)))) == [
        "frontend.upstream.encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "frontend.upstream.encoder.layers.3.attention.q_proj.bias",
        "frontend.weights",
    ]
