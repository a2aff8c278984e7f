"""NeMo's language identifiers give here the features, embeddings and scores they give there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.locate import open_model
from lid_toolkit.training.checkpoint import load_model

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "nemo"
CONFIG, WEIGHTS = "./model_config.yaml", "./model_weights.ckpt"
SCALE = 20


def stored(name: str) -> dict[str, torch.Tensor]:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(value) for key, value in arrays.items()}


def rewritten(target: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a copy of the tiny model after ``edit`` changed its files."""
    with tarfile.open(FIXTURES / "tiny.nemo") as archive:
        content = {info.name: archive.extractfile(info).read() for info in archive}
    edit(content)
    with tarfile.open(target, "w") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target


def with_config(target: Path, *keys: str | int, value: Any) -> Path:
    """Write a copy with one value of its configuration changed."""

    def edit(content: dict[str, bytes]) -> None:
        config = yaml.safe_load(content[CONFIG])
        place = config
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        content[CONFIG] = yaml.safe_dump(config).encode()

    return rewritten(target, edit)


@torch.inference_mode()
def test_the_numbers_are_nemos():
    theirs, saved = stored("tiny"), open_model(FIXTURES / "tiny.nemo")
    assert (saved.languages, saved.rate) == (("ces", "eng", "spa", "nld", "rus"), 16000)
    model = saved.model
    for name in "ab":
        wave = theirs[f"wav_{name}"][None]
        length = torch.tensor([wave.shape[1]])
        feats, frames = model.frontend(wave, length)
        assert torch.allclose(feats[0].T, theirs[f"feats_{name}"], atol=1e-5)
        assert torch.allclose(model.encoder(feats, frames)[0][0], theirs[f"encoded_{name}"], atol=1e-5)
        assert torch.allclose(model.embed(wave, length)[0], theirs[f"embedding_{name}"], atol=1e-5)
        scores = model.identify(wave, length)[0][0]
        assert torch.allclose(scores, theirs[f"logits_{name}"].log_softmax(dim=0), atol=1e-5)


@torch.inference_mode()
def test_a_padded_batch_is_nemos_too():
    theirs = stored("tiny")
    waves = [theirs["wav_a"], theirs["wav_b"]]
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True, padding_value=9.0)
    scores, _ = open_model(FIXTURES / "tiny.nemo").model.identify(padded, torch.tensor([*map(len, waves)]))
    assert torch.allclose(scores, theirs["logits_batch"].log_softmax(dim=1), atol=1e-5)


@torch.inference_mode()
def test_a_classifier_of_angles_is_scaled_as_in_its_training():
    theirs, saved = stored("angular"), open_model(FIXTURES / "angular.nemo")
    wave = stored("tiny")["wav_b"][None]
    scores, _ = saved.model.identify(wave, torch.tensor([wave.shape[1]]))
    assert torch.allclose(scores[0], (SCALE * theirs["logits_b"]).log_softmax(dim=0), atol=1e-5)


def test_it_can_be_imported(tmp_path):
    path = import_model(FIXTURES / "tiny.nemo", tmp_path / "exp")
    ours, theirs = load_model(path), open_model(FIXTURES / "tiny.nemo")
    assert ours.languages == theirs.languages
    weights = theirs.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in ours.model.state_dict().items())


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("encoder", "conv_mask"), False, "encoder.conv_mask: False is not supported, only True"),
        (("encoder", "activation"), "selu", "encoder.activation: selu is not supported"),
        (("encoder", "jasper"), [], "encoder.jasper is not a list of blocks"),
        (("encoder", "jasper", 0, "stride"), [2], r"encoder.jasper.0.stride: \[2\] is not supported"),
        (("encoder", "jasper", 0, "filters"), 40, "parameters do not fit model_config.yaml"),
        (("encoder", "jasper", 0, "kernel"), [4], "must be odd"),
        (("encoder", "jasper", 0, "filters"), 2**40, "larger than its weights|do not fit"),
        (("encoder", "jasper", 0, "filters"), "${nowhere}", "nowhere} is not defined"),
        (("model_defaults", "separable"), "${model_defaults.separable}", "is not defined"),
        (("decoder", "pool_mode"), "xvector", "decoder.pool_mode: xvector is not supported, only attention"),
        (("decoder",), None, "model_config.yaml has no decoder"),
        (("preprocessor", "normalize"), "all_features", "preprocessor.normalize: all_features is not"),
        (("preprocessor", "window_size"), None, "lack or misstate"),
        (("preprocessor", "features"), 24, "its mel filters are not those of model_config.yaml"),
        (("train_ds", "labels"), ["cs"], "has no train_ds.labels"),
        (("train_ds", "labels"), ["cs", "en"], "do not fit model_config.yaml, such as loss"),
    ],
)
def test_what_is_built_differently_is_refused(keys, value, message, tmp_path):
    path = with_config(tmp_path / "x.nemo", *keys, value=value)
    with pytest.raises(LidError, match=message) as caught:
        open_model(path)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    for name in (CONFIG, WEIGHTS):
        path = rewritten(tmp_path / "x.nemo", lambda content, name=name: content.pop(name) and None)
        with pytest.raises(LidError, match=f"{name[2:]} is missing"):
            open_model(path)
