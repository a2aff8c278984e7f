"""Models as experiments of ESPnet: its names, shapes and keys, and the same numbers when read again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml
from models.combinations import description as describe
from models.espnet import LANGUAGES, description, their_state, tiny_model, waves

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet import read_espnet
from lid_toolkit.importers.foreign_model import ForeignModel
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.models.build import build_model
from lid_toolkit.package.espnet_write import SUPPORTED, their_name, write_espnet
from lid_toolkit.training.checkpoint import SavedModel


@pytest.fixture
def saved() -> SavedModel:
    """The model whose weights ESPnet made."""
    parts = {name: value for name, value in description().items() if name.partition("_conf")[0] in SUPPORTED}
    return SavedModel(tiny_model(), LANGUAGES, 16000, {"input_size": None, **parts})


def test_what_espnet_made_is_written_as_espnet_writes_it(saved, tmp_path):
    """Names, shapes and values are those of the state dict that ESPnet 202511 saved."""
    write_espnet(saved, tmp_path / "out")
    written = torch.load(tmp_path / "out/valid.accuracy.best.pth", weights_only=True)
    theirs = their_state()
    assert written.keys() == theirs.keys()
    for name, value in theirs.items():
        # its mel filters were made by librosa, ours by torchaudio
        assert torch.allclose(written[name], value, atol=1e-6), name
        assert written[name].dtype == value.dtype, name


def test_the_configuration_has_espnets_keys_and_values(saved, tmp_path):
    write_espnet(saved, tmp_path / "out")
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    theirs = description()
    for kind in SUPPORTED:
        assert config[kind] == theirs[kind]
        assert config[f"{kind}_conf"] == theirs[f"{kind}_conf"]
    assert config.keys() <= theirs.keys()
    assert (config["lang_num"], config["sample_rate"], config["model"]) == (5, 16000, "espnet")
    labels = [line.split()[0] for line in (tmp_path / "out/lang2utt").read_text().splitlines()]
    assert labels == list(LANGUAGES)
    assert config["lang2utt"] == str(tmp_path / "out/lang2utt")


def test_it_is_read_again_to_the_same_answers(saved, tmp_path):
    write_espnet(saved, tmp_path / "out")
    lid = LanguageIdentifier.from_pretrained(tmp_path / "out", "cpu")
    assert lid.languages == LANGUAGES
    for wave in waves():
        scores, _ = saved.model.identify(wave[None], torch.tensor([len(wave)]))
        assert lid.load().compute([wave.numpy()], 1)[0] == pytest.approx(scores.numpy(), abs=1e-6)


@pytest.mark.parametrize("encoder", [name for name in SUPPORTED["encoder"] if name != "identity"])
def test_every_encoder_is_read_again(encoder, tmp_path):
    pooling = "chn_attn_stat"
    parts = {**describe("default", encoder, pooling), "projector": "rawnet3", "loss": "softmax"}
    parts |= {"normalize": "utterance_mvn", "projector_conf": {"output_size": 5}, "loss_conf": {}}
    parts |= {"pooling_conf": {"mean_over": "features"}}
    model = build_model(parts, 3).eval()
    write_espnet(SavedModel(model, ("a", "b", "c"), 16000, parts), tmp_path / "out")
    read = read_espnet(ForeignModel(tmp_path / "out"))
    own = model.state_dict()
    assert read.weights.keys() == own.keys()
    assert all(torch.equal(read.weights[name], own[name]) for name in own)
    assert read.description["pooling_conf"] == {"mean_over": "features"}
    assert yaml.safe_load((tmp_path / "out/config.yaml").read_text())["pooling_conf"] == {}  # no choice there


@pytest.mark.parametrize(("encoder", "left"), [("xvector", 84), ("rawnet3", 6)])
def test_a_model_whose_frames_espnet_would_count_otherwise_is_refused(encoder, left, tmp_path):
    parts = {**describe("default", encoder, "stats"), "projector": "rawnet3", "loss": "softmax"}
    parts |= {"normalize": "utterance_mvn", "projector_conf": {"output_size": 5}, "loss_conf": {}}
    saved = SavedModel(build_model(parts, 3).eval(), ("a", "b", "c"), 16000, parts)
    with pytest.raises(LidError, match=f"{encoder} makes {left} of 90 frames, .*mean_over: features"):
        write_espnet(saved, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_components_that_espnet_does_not_have_are_refused(saved, tmp_path):
    for kind, name in (("loss", "dnn_softmax"), ("frontend", "transformers"), ("normalize", "global_mvn")):
        other = replace(saved, description={**saved.description, kind: name})
        with pytest.raises(LidError, match=f"{kind}: {name} cannot be exported to ESPnet"):
            write_espnet(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_with_files_is_left_alone(saved, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(LidError, match="exists"):
        write_espnet(saved, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_names_are_turned_back():
    assert their_name("encoder.layer1.se.reduce.weight") == "encoder.layer1.se.se.1.weight"
    assert (
        their_name("encoder.frt_block1.skfwse.attention.fcs.0.bias") == "encoder.frt_block1.skfwse.fcs.0.bias"
    )
    assert their_name("encoder.layer1.bn1.bias") == "encoder.layer1.bn1.bias"
