"""Components by name: what is unknown is named, with the nearest that is known."""

from __future__ import annotations

import pytest
import torch

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model

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
        ({"encoder_conf": {"ndim": 30}}, "ndim 30 is not a multiple of model_scale 8 (choose ndim 24)"),
        ({"encoder_conf": {"ndim": -8}}, "encoder_conf: "),
        ({"encoder_conf": {"model_scale": 0}}, "encoder_conf: "),
        ({"frontend_conf": {"n_mels": "many"}}, "frontend_conf: "),
        ({"loss_conf": {"K": 0}}, "loss_conf: "),
    ],
)
def test_faults_are_one_line(change, message):
    with pytest.raises(LidError) as caught:
        build_model({**TINY, **change}, 3)
    text = str(caught.value)
    assert "\n" not in text
    for part in message.split(" .*"):
        assert part in text


def test_one_language_cannot_be_told_from_itself():
    with pytest.raises(LidError, match="1 language"):
        build_model(TINY, 1)
