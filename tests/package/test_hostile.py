"""Packed models whose author means harm, or whose numbers are nonsense: one line, before anything is done."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import resource
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from models.pretrained_encoders import save_tiny
from package.packed import CONFIG, packed, rewritten, write_experiment
from safetensors.torch import load, save

from lid_toolkit import LanguageIdentifier
from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component
from lid_toolkit.models.frontends.pretrained import load as loading
from lid_toolkit.models.sealed import sealed
from lid_toolkit.package.read import read_package
from lid_toolkit.training.checkpoint import load_model, save_model

CODE = "import os; os.mkdir({place!r})\n"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A folder of a tiny wav2vec 2.0."""
    return save_tiny(tmp_path_factory.mktemp("encoder"), "xlsr")


@pytest.fixture(scope="module")
def pretrained(encoder, tmp_path_factory):
    """A packed model whose front end is that encoder; it named a folder for downloads."""
    conf = {"path_or_url": str(encoder), "download_dir": "downloads/hub", "layers": [0, 1]}
    config = {**CONFIG, "frontend": "transformers", "frontend_conf": conf}
    return packed(
        write_experiment(tmp_path_factory.mktemp("pretrained") / "lid_tiny", config), licence="other"
    )


@pytest.fixture
def nothing_is_looked_up(monkeypatch):
    """Fail when anything is read with transformers, or the Hub is asked."""

    def refuse(*_, **__):
        raise AssertionError("looked up")

    monkeypatch.setattr(loading, "_loaded", refuse)
    monkeypatch.setattr(loading, "hub_fault", refuse)


def change(package: Path, target: Path, *keys: str | int, value: Any) -> Path:
    """Return a copy of a packed model with one value of ``model.yaml`` changed; ``...`` removes it."""

    def edit(content: dict[str, bytes]) -> None:
        model = yaml.safe_load(content["model.yaml"])
        place = model
        for key in keys[:-1]:
            place = place[key]
        if value is ...:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        content["model.yaml"] = yaml.safe_dump(model).encode()

    return rewritten(package, target, edit)


def refusal(path: Path) -> str:
    """Return the error of reading a packed model, which must be short and in one line."""
    with pytest.raises(LidError) as caught:
        read_package(path)
    said = str(caught.value)
    assert len(said) < 800
    assert "\n" not in said
    return said


FRONTEND = ("description", "frontend_conf")
CONFIGURATION = (*FRONTEND, "architecture", "config")


@pytest.mark.usefixtures("nothing_is_looked_up")
@pytest.mark.parametrize("value", [..., None, {}])
def test_a_pretrained_encoder_without_its_architecture(value, pretrained, tmp_path):
    said = refusal(change(pretrained, tmp_path / "x.zip", *FRONTEND, "architecture", value=value))
    assert "the model lacks the configuration ('architecture') of its encoder 'xlsr'" in said


@pytest.mark.usefixtures("nothing_is_looked_up")
@pytest.mark.parametrize(
    "conf",
    [
        {"frontend": "s3prl", "frontend_conf": {"frontend_conf": {"upstream": "hf_wav2vec2_custom"}}},
        {"frontend": "whisper_language", "frontend_conf": {}},
        {"frontend": "fused", "frontend_conf": {"frontends": [{"frontend_type": "default"}]}},
    ],
)
def test_no_other_front_end_looks_anything_up_either(conf, package, tmp_path):
    conf = copy.deepcopy(conf)
    inner = conf["frontend_conf"]
    if conf["frontend"] == "fused":
        inner["frontends"].append({"frontend_type": "transformers", "path_or_url": "someone/evil"})
    else:
        inner.get("frontend_conf", inner)["path_or_url"] = "someone/evil"

    def edit(content):
        model = yaml.safe_load(content["model.yaml"])
        model["description"].update(conf)
        content["model.yaml"] = yaml.safe_dump(model).encode()

    said = refusal(rewritten(package, tmp_path / "x.zip", edit))
    assert "lacks the configuration ('architecture') of its encoder 'someone/evil'" in said


def test_own_code_of_an_encoder_is_never_run(encoder, tmp_path, monkeypatch):
    """Neither offered, as transformers does, nor run; with a known type the class of transformers is used."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = tmp_path / "evil"
    for kind in ("wav2vec2", "evil"):
        folder = tmp_path / kind
        folder.mkdir()
        for file in encoder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        code = {"AutoConfig": "code.Evil", "AutoModel": "code.Evil"}
        kernels = {"_attn_implementation": "someone/evil", "quantization_config": {"quant_method": "gptq"}}
        changed = {**config, "model_type": kind, "auto_map": code, **kernels}
        (folder / "config.json").write_text(json.dumps(changed))
        (folder / "code.py").write_text(CODE.format(place=str(tmp_path / "ran")))
    build_component("frontend", "transformers", {"path_or_url": str(tmp_path / "wav2vec2")}, {})
    with pytest.raises(LidError, match="it needs code of its author, which is not run"):
        build_component("frontend", "transformers", {"path_or_url": str(folder)}, {})
    assert not (tmp_path / "ran").exists()


def test_a_configuration_in_a_package_names_no_code_and_no_kernel(pretrained, tmp_path):
    evil = {"auto_map": {"AutoModel": "someone/evil--code.Evil"}, "attn_implementation": "someone/evil"}

    def edit(content):
        model = yaml.safe_load(content["model.yaml"])
        conf = model["description"]["frontend_conf"]
        conf["architecture"]["config"].update(evil)
        conf["attention"] = "flash_attention_2"  # transformers would fetch its kernels from the Hub
        content["model.yaml"] = yaml.safe_dump(model).encode()

    read = read_package(rewritten(pretrained, tmp_path / "x.zip", edit))
    config = read.model.frontend.upstream.config
    assert not hasattr(config, "auto_map")
    assert config._attn_implementation in ("sdpa", "eager")


def test_a_pickled_encoder_is_one_line(encoder, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for kind, data in {"pickle": pickle.dumps({"a": Evil()}), "text": b"hello", "empty": b""}.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_bytes((encoder / "config.json").read_bytes())
        (folder / "pytorch_model.bin").write_bytes(data)
        with pytest.raises(LidError, match="no usable model") as caught:
            build_component("frontend", "transformers", {"path_or_url": str(folder)}, {})
        assert "\n" not in str(caught.value)
        if kind == "pickle":
            assert "its weights hold more than tensors, or are damaged" in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_package_names_no_place_of_the_machine_that_packed_it(pretrained):
    with zipfile.ZipFile(pretrained) as archive:
        conf = yaml.safe_load(archive.read("model.yaml"))["description"]["frontend_conf"]
    assert (conf["path_or_url"], conf["download_dir"]) == ("xlsr", None)
    read_package(pretrained)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("download_dir", "cache"),
        ("path_or_url", "/etc"),
        ("path_or_url", "~/models"),
        ("path_or_url", "models/../../x"),
        ("path_or_url", "https://example.org/x"),
        ("path_or_url", "file:///etc"),
        ("path_or_url", "\\\\server\\x"),
        ("path_or_url", "C:\\x"),
    ],
)
def test_places_are_refused(key, value, pretrained, tmp_path):
    said = refusal(change(pretrained, tmp_path / "x.zip", *FRONTEND, key, value=value))
    assert f"model.yaml names a place outside the package: {key}: " in said


@pytest.mark.parametrize(
    "rate", [0, -1, 999, 10**6 + 1, 10**12, 10**40, 16000.5, math.inf, math.nan, "16k", None, True, [16000]]
)
def test_nonsense_rates(rate, package, tmp_path):
    assert "rate" in refusal(change(package, tmp_path / "x.zip", "rate", value=rate))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("projector_conf", "output_size"), 200_000_000),
        (("projector_conf", "output_size"), 2**63),
        (("encoder_conf", "ndim"), 200_000),
        (("encoder_conf", "output_size"), 10**12),
        (("encoder_conf", "model_scale"), 10**9),
        (("frontend_conf", "n_fft"), 10**10),
        (("frontend_conf", "n_mels"), 10**9),
        (("encoder_conf", "ndim"), 0),
        (("encoder_conf", "ndim"), -(10**12)),
    ],
)
def test_sizes_are_refused_before_they_are_allocated(keys, value, package, tmp_path):
    path, began = change(package, tmp_path / "x.zip", "description", *keys, value=value), time.monotonic()
    before = peak_mib()
    refusal(path)
    assert peak_mib() - before < 700
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("hidden_size", 2**20),
        ("intermediate_size", 10**11),
        ("num_conv_pos_embeddings", 10**9),
        ("conv_stride", [10**12] * 7),
        ("conv_stride", [-1] * 7),
        ("hidden_act", "evil"),
        ("num_attention_heads", 0),
        ("hidden_size", "x"),
        ("model_type", "evil"),
    ],
)
def test_nonsense_in_the_configuration_of_an_encoder(key, value, pretrained, tmp_path):
    before = peak_mib()
    refusal(change(pretrained, tmp_path / "x.zip", *CONFIGURATION, key, value=value))
    assert peak_mib() - before < 700


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_products_of_allowed_sizes_count_too():
    """Two vectors that fit make a matrix that does not; so do copies."""
    long = torch.ones(2**16)
    for make in (lambda: long[:, None] * long, lambda: torch.outer(long, long), lambda: long.repeat(2**12)):
        with pytest.raises(LidError, match="much larger than its weights"), sealed([]):
            make()
    with sealed([]):
        assert (long + long).sum() == 2**17


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite(value, model, package, tmp_path):
    def edit(content):
        weights = load(content["model.safetensors"])
        next(weight for weight in weights.values() if weight.is_floating_point()).view(-1)[0] = value
        content["model.safetensors"] = save(weights)

    assert "is not finite" in refusal(rewritten(package, tmp_path / "x.zip", edit))
    saved = load_model(model)
    weights = {name: weight.clone() for name, weight in saved.model.state_dict().items()}
    weights["loss.weight"][0, 0] = value
    save_model(tmp_path / "x.pth", weights, saved.description, saved.languages, saved.rate)
    with pytest.raises(LidError, match=r"x\.pth: weight loss\.weight is not finite"):
        load_model(tmp_path / "x.pth")


def test_weights_so_large_that_scores_are_not_finite(package, tmp_path):
    def edit(content):
        weights = load(content["model.safetensors"])
        huge = {
            name: torch.full_like(weight, 3e38) if weight.is_floating_point() else weight
            for name, weight in weights.items()
        }
        content["model.safetensors"] = save(huge)

    assert "its scores for noise are not finite" in refusal(rewritten(package, tmp_path / "x.zip", edit))


def test_scores_that_are_not_finite_are_no_answer(model, monkeypatch):
    lid = LanguageIdentifier.from_pretrained(model, "cpu")

    def scores(wave_bt, _lengths_b):
        made = torch.zeros(len(wave_bt), 3)
        made[wave_bt[:, 0] > 0.5] = torch.nan
        return made, torch.ones(len(wave_bt), 8)

    monkeypatch.setattr(lid.load().saved.model, "identify", scores)
    loud = np.linspace(1, 0.5, 8000, dtype=np.float32)
    quiet = loud[::-1].copy() - 0.5
    good, bad = lid.identify([quiet, loud], vad="none")
    assert (good.status, bad.status, bad.duration) == ("ok", "failed", 0.5)
    assert bad.reason.startswith("the model's scores are not finite (use another model")
    lid.embed(loud)


@pytest.mark.parametrize(
    "labels", [["a", "a", "b"], ["a", "", "b"], ["a", "b c", "d"], ["a", "\x1b[2J", "b"], ["a"]]
)
def test_labels_that_are_not_valid(labels, package, tmp_path):
    def edit(content):
        rows = {"languages": [{"label": label} for label in labels]}
        content["languages.yaml"] = yaml.safe_dump(rows).encode()

    refusal(rewritten(package, tmp_path / "x.zip", edit))


def test_a_folder_with_a_pipe_or_device_is_not_read(package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "folder")
    path = tmp_path / "folder" / "model.yaml"
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        path.unlink()
        make()
        assert "model.yaml is not a file" in refusal(tmp_path / "folder")
