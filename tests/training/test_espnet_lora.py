"""LoRA by ESPnet's keys: the same modules as by ours, and the same parameters are trained as in ESPnet."""

from __future__ import annotations

import logging

import pytest
import torch
from models.pretrained_encoders import save_tiny

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.optimization import freeze

PARTS = {"encoder": "identity", "pooling": "mean", "projector": "identity", "loss": "softmax"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Return a configuration with a tiny XLS-R by ESPnet's keys."""
    folder = save_tiny(tmp_path_factory.mktemp("tiny"), "xlsr")
    upstream = {"upstream": "xls_r_300m", "path_or_url": str(folder)}
    conf = {"frontend_conf": upstream, "multilayer_feature": True}
    return {"frontend": "s3prl", "frontend_conf": conf, **PARTS}


ADAPTER = {
    "rank": 4,
    "alpha": 6,
    "dropout_rate": 0.25,
    "target_modules": ["q_proj", "fc1"],
    "bias_type": "none",
}


def built(settings):
    config = parse_config(settings, "espnet.yaml")
    torch.manual_seed(0)
    model = build_model(config.model_description(), 3)
    freeze(model, config.freeze_param)
    return model


def trained(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_espnets_keys_build_what_ours_build(settings):
    theirs = {**settings, "use_adapter": True, "adapter": "lora", "adapter_conf": ADAPTER}
    theirs |= {"save_strategy": "required_grad_only", "freeze_param": ["frontend.upstream"]}
    lora = {"rank": 4, "alpha": 6, "dropout": 0.25, "target_modules": ["q_proj", "intermediate_dense"]}
    ours = {**settings, "frontend_conf": {**settings["frontend_conf"], "lora": lora}}
    one, other = built(theirs), built(ours)
    assert str(one) == str(other)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert trained(one) == trained(other)
    rest = {name for name in trained(one) if "lora_" not in name}
    assert rest == {"frontend.weights", *(n for n, _ in one.named_parameters() if n.startswith("loss"))}
    adapted = [name.split(".lora_A")[0] for name in trained(one) if "lora_A" in name]
    assert len(adapted) == 3 * 2  # layers, maps
    module = one.frontend.get_submodule(adapted[0].removeprefix("frontend."))
    torch.nn.init.normal_(module.lora_B["default"].weight)
    x, base = torch.randn(5, module.in_features), module.base_layer
    low_rank = module.lora_B["default"].weight @ module.lora_A["default"].weight
    expected = torch.nn.functional.linear(x, base.weight + 6 / 4 * low_rank, base.bias)
    assert torch.allclose(module.eval()(x), expected, atol=1e-5)


def test_without_freeze_param_the_encoder_is_trained_too_as_in_espnet(settings, caplog):
    theirs = {**settings, "use_adapter": True, "adapter_conf": {"rank": 2}}
    model = built(theirs)
    assert trained(model) == {name for name, _ in model.named_parameters()}
    assert "to train only the adapters, add freeze_param: [frontend.upstream]" in caplog.text


def test_freezing_the_front_end_leaves_its_adapters(settings, caplog):
    model = built({**settings, "use_adapter": True, "adapter_conf": {}, "freeze_param": ["frontend"]})
    left = {name for name in trained(model) if name.startswith("frontend")}
    assert left
    assert all("lora_" in name for name in left)
    assert not caplog.text


def test_adapters_that_are_not_used_are_ignored(settings, caplog):
    caplog.set_level(logging.INFO)
    theirs = {**settings, "use_adapter": False, "adapter": "houlsby", "adapter_conf": {"x": 1}}
    assert parse_config({**theirs, "save_strategy": "all"}, "c") == parse_config(settings, "c")
    assert "c: keys of ESPnet are ignored: adapter adapter_conf save_strategy" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": "houlsby"}, "adapter: houlsby is not supported (set adapter: lora)"),
        (
            {"frontend": "default"},
            "use_adapter: frontend 'default' cannot be adapted",
        ),
        ({"frontend": None}, "frontend 'None' cannot be adapted"),
        ({"adapter_conf": {"bias_type": "all"}}, "bias_type: all is not supported (leave it out"),
        ({"adapter_conf": {"enable_lora": [True]}}, "adapter_conf: unknown key 'enable_lora' (known: alpha"),
        ({"adapter_conf": {"rang": 2}}, "adapter_conf: unknown key 'rang' (did you mean 'rank'?)"),
        ({"adapter_conf": {"rank": 0}}, "adapter_conf: rank: Input should be greater than 0"),
        ({"adapter_conf": {"dropout_rate": 1.5}}, "adapter_conf: dropout_rate: Input should be less than 1"),
        ({"adapter_conf": [1]}, "adapter_conf and frontend_conf must be lists of 'key: value' lines"),
        ({"frontend_conf": {"lora": {}}}, "both use_adapter and frontend_conf.lora (leave out one of them)"),
    ],
)
def test_what_cannot_be_translated_is_told_in_one_line(settings, changes, message):
    with pytest.raises(LidError) as caught:
        parse_config({**settings, "use_adapter": True, **changes}, "espnet.yaml")
    assert str(caught.value).startswith("espnet.yaml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["query", "proj", "encoder.encoders.0.attn.key"])
def test_maps_outside_the_encoder_cannot_be_adapted(settings, target):
    theirs = {**settings, "use_adapter": True, "adapter_conf": {"target_modules": [target]}}
    with pytest.raises(LidError, match=f"{target} is not part of the encoder"):
        built(theirs)
