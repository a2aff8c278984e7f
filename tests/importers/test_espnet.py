"""ESPnet's experiments: from a directory and from a zip, to the same numbers and a usable experiment."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from models.espnet import LANGUAGES, arrays, their_state, waves, write_espnet_experiment
from models.pretrained_encoders import save_tiny, tiny

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.importers.espnet import describe, read_espnet
from lid_toolkit.importers.espnet_names import rename
from lid_toolkit.importers.foreign_model import ForeignModel
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.models.build import build_model
from lid_toolkit.package.licences import model_licence
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.training.config import load_config

THEIRS = arrays("tiny_sc_topk")


@pytest.fixture
def experiment(tmp_path) -> Path:
    return write_espnet_experiment(tmp_path / "theirs")


def test_an_imported_experiment_identifies_as_in_espnet(experiment, tmp_path):
    path = import_model(experiment, tmp_path / "ours")
    saved = load_model(path)
    assert saved.languages == LANGUAGES
    assert saved.rate == 16000
    with torch.inference_mode():
        for i, wave in enumerate(waves()):
            embedding = saved.model.embed(wave[None], torch.tensor([len(wave)]))
            expected = THEIRS["embeddings"][i]
            assert np.allclose(
                embedding[0] / embedding.norm(), expected / np.linalg.norm(expected), atol=1e-5
            )
            assert np.allclose(saved.model.loss.cosines(embedding)[0], THEIRS["max_cosines"][i], atol=1e-5)
    lid = LanguageIdentifier.from_pretrained(tmp_path / "ours", device="cpu")
    answers = lid.identify([wave.numpy() for wave in waves()], vad="none")
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


def test_the_licence_is_that_of_its_card_or_unknown(experiment, tmp_path):
    assert model_licence(read_espnet(ForeignModel(experiment)).description) == "other"
    (experiment / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    assert model_licence(read_espnet(ForeignModel(experiment)).description) == "cc-by-4.0"
    saved = load_model(import_model(experiment, tmp_path / "exp"))
    assert model_licence(saved.description) == "cc-by-4.0"


def test_labels_come_from_lang2utt_in_its_order(experiment, tmp_path):
    elsewhere = tmp_path / "lang2utt"
    elsewhere.write_text("".join(f"{language} x\n" for language in reversed(LANGUAGES)))
    shutil.rmtree(experiment / "data")
    with pytest.raises(LidError, match=r"lang2utt is missing or empty \(give the lang2utt of the training"):
        read_espnet(ForeignModel(experiment))
    assert read_espnet(ForeignModel(experiment), elsewhere).languages == LANGUAGES[::-1]
    elsewhere.write_text("eng x\nfra x\n")
    with pytest.raises(LidError, match="2 labels for 5 languages"):
        read_espnet(ForeignModel(experiment), elsewhere)
    with pytest.raises(LidError, match="lang2utt is missing or empty"):
        read_espnet(ForeignModel(experiment), tmp_path / "nowhere")


def test_the_weights_may_be_named(experiment):
    shutil.copy(experiment / "valid.accuracy.best.pth", experiment / "3epoch.pth")
    assert read_espnet(ForeignModel(experiment), model_file="3epoch.pth").languages == LANGUAGES
    (experiment / "valid.accuracy.best.pth").rename(experiment / "2epoch.pth")
    with pytest.raises(LidError, match=r"2 files of weights: 2epoch\.pth 3epoch\.pth"):
        read_espnet(ForeignModel(experiment))
    with pytest.raises(LidError, match="no weights found"):
        read_espnet(ForeignModel(experiment), model_file="4epoch.pth")


def change_config(experiment: Path, **changes) -> None:
    path = experiment / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_weights_of_another_model_are_told(experiment):
    change_config(experiment, projector_conf={"output_size": 25})
    with pytest.raises(LidError, match=r"parameters do not fit config\.yaml and the languages"):
        read_espnet(ForeignModel(experiment))
    change_config(experiment, projector="xvector")
    with pytest.raises(LidError, match="such as projector"):
        read_espnet(ForeignModel(experiment))
    change_config(experiment, encoder="conformer")
    with pytest.raises(LidError, match=r"unknown encoder 'conformer' \(did you mean 'mfaconformer'"):
        read_espnet(ForeignModel(experiment))


def test_weights_that_no_part_takes_are_named(experiment):
    theirs = their_state() | {f"encoder.more.{name}": torch.zeros(2) for name in "abcd"}
    torch.save(theirs, experiment / "valid.accuracy.best.pth")
    names = "encoder.more.a, encoder.more.b, encoder.more.c"
    with pytest.raises(LidError, match=rf"4 parameters do not fit .*, such as {names} \("):
        read_espnet(ForeignModel(experiment))


def test_adapters_are_part_of_the_weights_that_espnet_saves(experiment):
    """ESPnet saves after validation, and loralib adds the adapters to the weights for it."""
    adapters = {f"projector.fc.lora_{part}": torch.randn(2, 2) for part in "AB"}
    torch.save(their_state() | adapters, experiment / "valid.accuracy.best.pth")
    with pytest.raises(LidError, match=r"such as projector\.fc\.lora_A"):
        read_espnet(ForeignModel(experiment))
    change_config(experiment, use_adapter=True)
    read = read_espnet(ForeignModel(experiment)).weights
    torch.save(their_state(), experiment / "valid.accuracy.best.pth")
    plain = read_espnet(ForeignModel(experiment)).weights
    assert read.keys() == plain.keys()
    assert all(torch.equal(read[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frontend_conf": "abc"}, "config.yaml: frontend_conf: abc is not a list of"),
        ({"encoder_conf": [1, 2]}, "config.yaml: encoder_conf: [1, 2] is not a list of"),
        ({"preprocessor_conf": "x"}, "config.yaml: preprocessor_conf: x is not a list of"),
        ({"frontend": ["a"]}, "unknown frontend '['a']'"),
        ({"encoder": {"a": 1}}, "unknown encoder"),
        ({"frontend": "fused", "frontend_conf": {"frontends": ["a", "b"]}}, "frontends: "),
        ({"frontend": "fused", "frontend_conf": {"frontends": "ab"}}, "frontends: "),
        ({"frontend": "s3prl", "frontend_conf": {"frontend_conf": "x"}}, "frontend_conf: x is not a list"),
        ({"frontend": "s3prl", "frontend_conf": {"frontend_conf": {"upstream": "apc"}}}, "'apc' of s3prl"),
        ({"model": "upstream_condition"}, "model: upstream_condition is not supported (only models of lid1"),
        ({"use_adapter": True, "adapter": "houlsby"}, "adapter: houlsby is not supported"),
        ({"use_adapter": True, "save_strategy": "adapter_only"}, "the file does not hold all weights"),
    ],
)
def test_a_configuration_of_another_shape_is_told_in_one_line(experiment, changes, message):
    change_config(experiment, **changes)
    with pytest.raises(LidError) as caught:
        read_espnet(ForeignModel(experiment))
    assert message in str(caught.value)


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/should-not-exist"),))


@pytest.mark.parametrize("content", [b"", b"no weights found", None])
def test_nothing_in_a_file_is_run(experiment, content):
    path = experiment / "valid.accuracy.best.pth"
    if content is None:
        torch.save({"weight": Harmful()}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(LidError, match="damaged, or holds more than tensors"):
        read_espnet(ForeignModel(experiment))


def test_a_training_is_not_overwritten(experiment, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "checkpoint.pth").write_bytes(b"")
    with pytest.raises(LidError, match="holds a training"):
        import_model(experiment, tmp_path / "ours")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "does not exist"),
        ("text", "damaged, or not a zip"),
        ("", r"config\.yaml is missing"),
    ],
)
def test_what_is_no_model(tmp_path, name, message):
    (tmp_path / "text").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LidError, match=message):
        import_model(tmp_path / (name or "empty"), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("multilayer", [True, False])
def test_a_self_supervised_front_end(experiment, tmp_path, multilayer):
    """Weights named as ESPnet and s3prl name them, around the encoder that transformers makes."""
    folder = save_tiny(tmp_path, "xlsr")
    conf = {"frontend_conf": {"upstream": "hf_wav2vec2_custom", "path_or_url": str(folder)}}
    conf |= {"download_dir": "./hub", "multilayer_feature": multilayer}
    change_config(experiment, frontend="s3prl", frontend_conf=conf)
    expected = build_model({**describe_config(experiment), "frontend_conf": conf}, len(LANGUAGES)).eval()
    theirs = {k: v for k, v in expected.state_dict().items() if not k.startswith("frontend.")}
    theirs |= {f"frontend.upstream.upstream.model.{k}": v for k, v in tiny("xlsr").state_dict().items()}
    theirs["frontend.featurizer.weights"] = torch.tensor([0.3, -0.2, 0.5, 0.1])
    if multilayer:
        expected.frontend.weights.data.copy_(theirs["frontend.featurizer.weights"])
    torch.save(in_espnets_names(theirs), experiment / "valid.accuracy.best.pth")

    path = import_model(experiment, tmp_path / "ours")
    shutil.rmtree(folder)  # a model file needs no pretrained weights
    saved = load_model(path)
    wave, length = waves()[0][None], torch.tensor([len(waves()[0])])
    with torch.inference_mode():
        assert torch.allclose(saved.model.embed(wave, length), expected.embed(wave, length), atol=1e-5)
    assert "architecture" not in load_config(tmp_path / "ours" / "config.yaml").frontend_conf


def describe_config(experiment: Path) -> dict:
    return describe(yaml.safe_load((experiment / "config.yaml").read_text()))


def in_espnets_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename what of the encoder, the pooling and the convolutional positions is called otherwise."""
    names = {
        "pooling.score_frame": "pooling.attention.0",
        "pooling.norm": "pooling.attention.2",
        "pooling.score_channel": "pooling.attention.3",
        ".se.reduce": ".se.se.1",
        ".se.norm": ".se.se.3",
        ".se.expand": ".se.se.4",
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    renamed = {}
    for name, value in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        renamed[name] = value
    return renamed


def test_names_within_fused_front_ends():
    theirs = (
        "frontend.frontends.0.logmel.melmat",
        "frontend.frontends.1.upstream.upstream.model.encoder.layers.3.attention.q_proj.bias",
        "frontend.frontends.1.featurizer.weights",
        "frontend.projection_layers.1.weight",
    )
    assert list(rename(dict.fromkeys(theirs, torch.zeros(1)))) == [
        "frontend.frontends.1.upstream.encoder.layers.3.attention.q_proj.bias",
        "frontend.frontends.1.weights",
        "frontend.projection_layers.1.weight",
    ]
