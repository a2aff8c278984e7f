"""Every component has what its kind's protocol asks, and answers for it."""

from __future__ import annotations

import pytest
from models.combinations import BANDS, ENCODERS, FRONTENDS, LOSSES, POOLINGS, PROJECTORS, description
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import (
    build_component,
    build_frontend,
    build_model,
    one_frame_per_utterance,
)
from lid_toolkit.models.protocols import PROTOCOLS, missing, skips_blocks, skips_parameters
from lid_toolkit.models.registry import COMPONENTS, WITHOUT_STATISTICS, find, needs_statistics
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.train import check_sharded

SIZES = {"input_size": BANDS, "embedding_size": 8, "classes": 3}
SMALL = {
    "frontend": FRONTENDS,
    "encoder": ENCODERS,
    "pooling": POOLINGS,
    "projector": PROJECTORS,
    "loss": LOSSES,
}
ALL = [(kind, name) for kind, known in COMPONENTS.items() for name in known]


def test_every_name_of_the_registry_can_be_imported():
    assert COMPONENTS.keys() == PROTOCOLS.keys()
    for kind, name in ALL:
        assert callable(find(kind, name))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in ALL if name in SMALL.get(kind, COMPONENTS[kind])]
)
def test_components_have_what_their_protocol_asks(kind, name):
    part = build_component(kind, name, SMALL.get(kind, {}).get(name, {}), SIZES)
    assert missing(kind, part) == []


def test_a_model_of_features_has_a_front_end_like_the_others():
    assert missing("frontend", build_frontend({"frontend": None, "input_size": 5})) == []


def test_what_is_missing_is_named():
    class Half(nn.Module):
        output_size = 3

    assert missing("encoder", Half()) == ["forward"]
    assert missing("encoder", nn.ReLU()) == ["output_size"]
    assert "hop_length" in missing("frontend", Half())


def test_small_front_ends_give_16_features_every_80_samples():
    for name, conf in FRONTENDS.items():
        if name is not None:
            frontend = build_frontend({"frontend": name, "frontend_conf": conf})
            assert frontend.output_size == BANDS
            assert frontend.hop_length in (80, 40)  # fused: the greatest common divisor
            assert not one_frame_per_utterance({"frontend": name, "frontend_conf": conf})


@pytest.mark.parametrize(
    ("frontend", "conf", "one"),
    [
        ("transformers", {"language_token": True}, True),
        ("transformers", {}, False),
        ("whisper_language", {}, True),
        ("fused", {}, False),
        (None, {}, False),
    ],
)
def test_one_frame_for_an_utterance_is_known_before_a_front_end_is_built(frontend, conf, one):
    description = {"frontend": frontend, "frontend_conf": {"path_or_url": "no/such", **conf}}
    assert one_frame_per_utterance(description) == one


@pytest.mark.parametrize(
    ("normalize", "needed"), [("global_mvn", True), ("utterance_mvn", False), (None, False)]
)
def test_the_need_for_statistics_is_known_before_a_normaliser_is_built(normalize, needed):
    assert needs_statistics({"normalize": normalize}) == needed


def test_normalisers_listed_as_without_statistics_have_none():
    for name in WITHOUT_STATISTICS:
        assert name is None or not find("normalize", name).needs_statistics


@pytest.mark.parametrize(
    ("change", "skips"),
    [({}, False), ({"layer_drop_rate": 0.1}, True), ({"stochastic_depth_rate": [0.0, 0.1]}, True)],
)
def test_models_that_skip_blocks_are_not_sharded(change, skips):
    settings = {**description("default", "mfaconformer", "mean"), "sharded_ddp": True}
    settings["encoder_conf"] = {**settings["encoder_conf"], **change}
    config = parse_config({key: value for key, value in settings.items() if value is not None}, "x.yaml")
    model = build_model(config.model_description(), 3)
    assert skips_parameters(model) == skips_blocks(model) == skips
    if skips:
        with pytest.raises(LidError, match="sharded_ddp with a model that skips blocks"):
            check_sharded(model, config)
    else:
        check_sharded(model, config)
