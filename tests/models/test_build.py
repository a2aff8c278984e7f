"""Components by name: what is unknown is named, with the nearest that is known."""

from __future__ import annotations

import inspect

import pytest
import torch

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import fixed_arguments, small_arguments
from lid_toolkit.models.build import arguments_model, build_component, build_model
from lid_toolkit.models.registry import COMPONENTS, find

TINY = {
    "frontend": "default",
    "frontend_conf": {"n_mels": 20},
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "aamsoftmax_sc_topk",
}


def test_sizes_follow_from_the_neighbours():
    model = build_model({**TINY, "specaug": "specaug"}, 3)
    output = model(torch.randn(4, 4000), torch.full((4,), 4000), torch.tensor([0, 1, 2, 0]))
    assert output.loss.shape == ()
    assert output.loss_b.shape == output.correct_b.shape == (4,)
    assert model.embed(torch.randn(2, 999), torch.tensor([999, 5])).shape == (2, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "ecapa_tdn"}, "encoder: unknown encoder 'ecapa_tdn' (did you mean 'ecapa_tdnn'?)"),
        ({"loss": None}, "loss: unknown loss 'None'"),
        ({"loss_conf": {"marginn": 1}}, "loss_conf: unknown argument 'marginn' of loss .*'margin'"),
        ({"encoder_conf": {"input_size": 5}}, "unknown argument 'input_size'"),
        ({"encoder_conf": {"ndim": -8}}, "encoder_conf: "),
        ({"encoder_conf": {"model_scale": 0}}, "encoder_conf: "),
        ({"frontend_conf": {"n_mels": "many"}}, "frontend_conf: "),
        ({"loss_conf": {"K": 0}}, "loss_conf: K: Input should be greater than 0"),
        ({"loss_conf": {"margin": -1}}, "loss_conf: margin: "),
        ({"loss_conf": {"do_lm": True}}, "loss_conf: do_lm: True is not supported (the only value is False)"),
        ({"encoder": "xvector", "encoder_conf": {"paddings": [1, 2]}}, "encoder_conf: paddings: "),
        (
            {"encoder": "rawnet3", "encoder_conf": {"block": "Basic"}},
            "block: Basic is not supported (the only value is Bottle2neck",
        ),
        ({"encoder": "mfaconformer", "encoder_conf": {"input_layer": "linear"}}, "input_layer: "),
        (
            {"encoder": "mfaconformer", "encoder_conf": {"stochastic_depth_rate": [0.1], "num_blocks": 2}},
            "1 rates of stochastic depth for 2 blocks",
        ),
        (
            {"encoder": "mfaconformer", "encoder_conf": {"attention_heads": 3}},
            "not a multiple of attention_heads",
        ),
        ({"frontend_conf": {"n_mels": 18}, "encoder": "ska_tdnn", "encoder_conf": {}}, "a multiple of 4"),
        ({"frontend": None}, "frontend_conf without a frontend"),
        ({"frontend": None, "frontend_conf": {}}, "frontend: the dimension of the features is unknown"),
        ({"frontend": "fused", "frontend_conf": {"frontends": []}}, "frontend_conf: frontends: "),
        (
            {"frontend": "fused", "frontend_conf": {"frontends": [{"frontend_type": "defaul"}, {}]}},
            "unknown frontend 'defaul' (did you mean 'default'?)",
        ),
        (
            {
                "frontend": "fused",
                "frontend_conf": {
                    "frontends": [
                        {"frontend_type": "default", "fs": 8000},
                        {"frontend_type": "melspec_torch"},
                    ]
                },
            },
            "front ends at [8000, 16000] Hz",
        ),
        (
            {
                "frontend": "fused",
                "frontend_conf": {
                    "frontends": [
                        {"frontend_type": "default"},
                        {"frontend_type": "transformers", "path_or_url": "x", "language_token": True},
                    ]
                },
            },
            "frontend_conf.frontends: transformers gives one frame per utterance",
        ),
        (
            {
                "frontend": "fused",
                "frontend_conf": {
                    "frontends": [
                        {"frontend_type": "whisper_language", "path_or_url": "x"},
                        {"frontend_type": "default"},
                    ]
                },
            },
            "frontend_conf.frontends: whisper_language gives one frame per utterance",
        ),
        *(
            ({"specaug": "specaug", "specaug_conf": {key: value}}, f"specaug_conf: {key}: widths from ")
            for key, value in (
                ("freq_mask_width_range", -5),
                ("freq_mask_width_range", [20, 5]),
                ("time_mask_width_range", [-9, -3]),
                ("time_mask_width_ratio_range", [0.5, 0.1]),
            )
        ),
        ({"encoder": ["ecapa_tdnn"]}, "encoder: unknown encoder"),
    ],
)
def test_faults_are_one_line(change, message):
    with pytest.raises(LidError) as caught:
        build_model({**TINY, **change}, 3)
    text = str(caught.value)
    assert "\n" not in text
    for part in message.split(" .*"):
        assert part in text


def test_every_argument_of_espnets_may_have_the_one_value_it_has_here():
    sizes = {"input_size": 16, "embedding_size": 8, "classes": 3}
    for kind, known in COMPONENTS.items():
        for name in known:
            make = find(kind, name)
            if fixed := fixed_arguments(make):
                assert build_component(kind, name, {**fixed, **small_arguments(make)}, sizes).training
    assert fixed_arguments(find("encoder", "rawnet3")) == {"block": "Bottle2neck"}
    assert build_model({**TINY, "loss_conf": {"do_lm": False}}, 3).loss.state_dict().keys() == {"weight"}


def test_features_can_be_given():
    model = build_model({**TINY, "frontend": None, "frontend_conf": {}, "input_size": 7}, 3)
    assert model.frontend.rate is None
    assert model.embed(torch.randn(2, 9, 7), torch.tensor([9, 1])).shape == (2, 8)


def test_statistics_travel_with_the_weights():
    description = {**TINY, "normalize": "global_mvn", "normalize_conf": {"stats_file": "not/there.npz"}}
    model = build_model(description, 3)
    model.normalize.set_statistics(
        torch.tensor(10), torch.full((20,), 20.0).double(), torch.full((20,), 130.0).double()
    )
    copy = build_model(description, 3)
    copy.load_state_dict(model.state_dict())
    assert torch.allclose(copy.normalize.mean, torch.tensor(2.0))
    assert torch.allclose(copy.normalize.std, torch.tensor(3.0))
    with pytest.raises(ValueError, match="statistics of 7 features, the front end has 20"):
        model.normalize.set_statistics(torch.tensor(10), torch.zeros(7), torch.zeros(7))
    with pytest.raises(ValueError, match="of no frames"):
        model.normalize.set_statistics(torch.tensor(0), torch.zeros(20), torch.zeros(20))


def test_every_argument_is_documented():
    for component, known in COMPONENTS.items():
        for name in known:
            make = find(component, name)
            documented = inspect.getdoc(make).partition("Args:")[2]
            for argument in arguments_model(make).model_fields:
                assert f"\n    {argument}: " in documented, f"{component} {name}: {argument}"
