"""The configurations that come along, and those that ESPnet publishes, build what they name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from models.combinations import PRETRAINED
from models.espnet import FIXTURES

from lid_toolkit.models.build import arguments_model, build_model
from lid_toolkit.models.registry import COMPONENTS, find
from lid_toolkit.training.config import TrainConfig, load_config, parse_config

CONF = Path(__file__).resolve().parents[2] / "conf"
OURS = sorted(CONF.glob("*.yaml"))
# The keys and values of egs2/voxlingua107/lid1/conf/mms_ecapa_baseline.yaml, in their order.
MMS_ECAPA = """
frontend: s3prl
frontend_conf:
    frontend_conf: {upstream: hf_wav2vec2_custom, path_or_url: facebook/mms-1b}
    download_dir: ./hub
    multilayer_feature: True
normalize: utterance_mvn
normalize_conf: {norm_vars: false}
encoder: ecapa_tdnn
encoder_conf: {model_scale: 8, ndim: 512, output_size: 1536}
pooling: chn_attn_stat
projector: rawnet3
projector_conf: {output_size: 192}
preprocessor: lid
preprocessor_conf:
  fix_duration: False
  sample_rate: 16000
  noise_apply_prob: 0.0
  noise_info:
  - [1.0, 'dump/raw/musan_speech.scp', [4, 7], [13, 20]]
  - [1.0, 'dump/raw/musan_noise.scp', [1, 1], [0, 15]]
  - [1.0, 'dump/raw/musan_music.scp', [1, 1], [5, 15]]
  rir_apply_prob: 0.0
  rir_scp: dump/raw/rirs.scp
model_conf: {extract_feats_in_collect_stats: false}
loss: aamsoftmax_sc_topk
loss_conf: {margin: 0.5, scale: 30, K: 3, mp: 0.06, k_top: 5}
num_att_plot: 0
num_workers: 8
cudnn_deterministic: False
cudnn_benchmark: True
log_interval: 100
unused_parameters: True
use_amp: True
keep_nbest_models: 2
grad_clip: 9999
best_model_criterion:
- - valid
  - accuracy
  - max
iterator_type: category
valid_iterator_type: category
seed: 3702
max_epoch: 30
accum_grad: 2
num_iters_per_epoch: 1000
batch_type: catpow
batch_bins: 2880000
max_batch_size: 16
upsampling_factor: 0.5
dataset_scaling_factor: 1.2
drop_last_iter: False
optim: adam
optim_conf: {lr: 0.000005, betas: [0.9, 0.98]}
scheduler: tristagelr
scheduler_conf:
  max_steps: 30000
  warmup_ratio: 0.3
  hold_ratio: 0.2
  decay_ratio: 0.5
  init_lr_scale: 0.6
  final_lr_scale: 0.1
"""


def assert_components_are_known(config: TrainConfig) -> None:
    """Check names and arguments; a model is built where no checkpoint has to be fetched for it."""
    description = config.model_description()
    for component in COMPONENTS:
        name, conf = description[component], description[f"{component}_conf"]
        if name is not None:
            assert conf.keys() <= arguments_model(find(component, name)).model_fields.keys()
    if config.frontend not in PRETRAINED:
        build_model(description, classes=3)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_configurations_that_come_along(path):
    assert_components_are_known(load_config(path))


def test_espnets_published_configuration_loads_unchanged():
    config = parse_config(yaml.safe_load(MMS_ECAPA), "mms_ecapa_baseline.yaml")
    assert_components_are_known(config)
    assert config.frontend_conf["frontend_conf"]["path_or_url"] == "facebook/mms-1b"
    assert (config.category_upsampling_factor, config.keep_nbest_models) == (0.5, 2)
    assert config.optim_conf == {"lr": 5e-6, "betas": [0.9, 0.98]}


def test_the_baseline_is_espnets_with_the_penalty_that_acts_there():
    """ESPnet's loss starts with a penalty of 0, and its trainer never calls the method that changes it."""
    espnet = yaml.safe_load(MMS_ECAPA)
    espnet["loss_conf"]["mp"] = 0
    for key in ("cudnn_benchmark", "unused_parameters"):  # these change the speed, not the numbers
        del espnet[key]
    for name in ("mms_ecapa_baseline", "mms_ecapa_bs3min_baseline"):
        assert load_config(CONF / f"{name}.yaml") == parse_config(espnet, "ESPnet's")


def test_our_choice_differs_in_the_penalty_and_in_a_rate_that_falls():
    baseline, ours = (load_config(CONF / f"mms_ecapa_bs3min{end}.yaml") for end in ("_baseline", ""))
    assert ours.loss_conf == {**baseline.loss_conf, "mp": 0.06}
    updates = ours.max_epoch * ours.num_iters_per_epoch // ours.accum_grad
    assert ours.scheduler_conf == {**baseline.scheduler_conf, "max_steps": updates}
    same = {"loss_conf": baseline.loss_conf, "scheduler_conf": baseline.scheduler_conf}
    assert ours.model_copy(update=same) == baseline


@pytest.mark.parametrize("head", ["aamsoftmax_sc_topk", "aamsoftmax", "softmax"])
def test_configurations_as_espnet_writes_them(head):
    raw = yaml.safe_load((FIXTURES / f"config_{head}.yaml").read_text())
    config = parse_config(raw, f"config_{head}.yaml")
    assert_components_are_known(config)
    assert config.loss == head
