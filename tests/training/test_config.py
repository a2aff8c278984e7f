"""ESPnet's keys, overrides, and faults in one line that names the nearest key."""

from __future__ import annotations

import pytest
import yaml

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import TrainConfig, load_config, parse_config
from lid_toolkit.training.train import write_config

AS_IN_ESPNET = """
frontend: default
frontend_conf: {fs: 16000, n_fft: 512, win_length: 400, hop_length: 160, n_mels: 80}
specaug: null
normalize: utterance_mvn
normalize_conf: {norm_vars: false}
encoder: ecapa_tdnn
encoder_conf: {model_scale: 8, ndim: 512, output_size: 1536}
pooling: chn_attn_stat
projector: rawnet3
projector_conf: {output_size: 192}
preprocessor: lid
preprocessor_conf: {fix_duration: true, target_duration: 3.0, sample_rate: 16000, noise_apply_prob: 0.0}
loss: aamsoftmax_sc_topk
loss_conf: {margin: 0.5, scale: 30, K: 3, mp: 0.06, k_top: 5}
iterator_type: category
batch_type: catpow
category_upsampling_factor: 0.5
dataset_scaling_factor: 1.2
batch_bins: 2880000
valid_batch_bins: 1440000
max_batch_size: 16
accum_grad: 2
grad_clip: 9999
max_epoch: 30
num_iters_per_epoch: 1000
patience: null
optim: adam
optim_conf: {lr: 5.0e-6, betas: [0.9, 0.98]}
scheduler: tristagelr
scheduler_conf: {max_steps: 30000, warmup_ratio: 0.3, hold_ratio: 0.2, decay_ratio: 0.5,
                 init_lr_scale: 0.6, final_lr_scale: 0.1}
use_amp: true
seed: 3702
num_workers: 8
log_interval: 100
keep_nbest_models: 2
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text(AS_IN_ESPNET)
    return file


def test_espnets_keys_and_values_are_taken(path):
    config = load_config(path)
    assert config.loss_conf == {"margin": 0.5, "scale": 30, "K": 3, "mp": 0.06, "k_top": 5}
    assert config.preprocessor_conf.target_duration == 3.0
    assert (config.batch_bins, config.grad_clip, config.use_amp) == (2880000, 9999, True)


def test_overrides_reach_nested_keys_and_read_yaml_values(path):
    words = "--optim_conf.lr 1e-4 --max_epoch 3 --specaug_conf.num_time_mask 1 --use_amp auto"
    more = ["--preprocessor_conf.target_duration", "[2.0, 4]", "--log_interval", "null"]
    config = load_config(path, [*words.split(), *more])
    assert config.optim_conf == {"lr": 1e-4, "betas": [0.9, 0.98]}
    assert config.specaug_conf == {"num_time_mask": 1}
    assert config.preprocessor_conf.target_duration == (2.0, 4.0)
    assert (config.max_epoch, config.use_amp, config.log_interval) == (3, "auto", None)


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path):
    (tmp_path / "a.yaml").write_text("optim_conf: {lr: 1e-4}\nbatch_bins: 1e6\n")
    config = load_config(tmp_path / "a.yaml")
    assert config.optim_conf["lr"] == 1e-4
    assert config.batch_bins == 1_000_000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"encodr": "x"}, "unknown key 'encodr' (did you mean 'encoder'?)"),
        ({"preprocessor_conf": {"rir_aply_prob": 1}}, "did you mean 'rir_apply_prob'?"),
        (
            {"scheduler": "tristagelr", "scheduler_conf": {"max_step": 3}},
            "unknown key 'scheduler_conf.max_step' (did you mean 'max_steps'?)",
        ),
        ({"scheduler": "tristagelr"}, "scheduler_conf.max_steps: Field required"),
        (
            {
                "scheduler": "cosineannealingwarmuprestarts",
                "scheduler_conf": {"first_cycle_steps": 3, "warmup_steps": 3},
            },
            "scheduler_conf: warmup_steps must be less than first_cycle_steps",
        ),
        ({"scheduler": "NoamLR"}, "unknown scheduler 'noamlr' (known: cosine, "),
        ({"scheduler": "cosin"}, "unknown scheduler 'cosin' (did you mean 'cosine'?)"),
        ({"max_epoch": 0}, "max_epoch: Input should be greater than 0"),
        ({"batch_bins": "many"}, "batch_bins: Input should be a valid integer"),
        ({"preprocessor_conf": {"noise_apply_prob": 1.5}}, "preprocessor_conf.noise_apply_prob: "),
        ({"preprocessor_conf": {"noise_db_range": [20, 5]}}, "the lower bound 20"),
        (
            {"preprocessor_conf": {"target_duration": [4.0, 2.0]}},
            "preprocessor_conf.target_duration: the lower bound 4",
        ),
        ({"preprocessor_conf": {"sample_rate": 0}}, "sample_rate: "),
        ({1: 2}, "1"),
        ({"use_amp": "maybe"}, "use_amp: "),
        ({"keep_nbest_models": []}, "keep_nbest_models: "),
        (
            {"val_scheduler_criterion": ["train", "macro_accuracy"]},
            "val_scheduler_criterion: macro_accuracy is only measured on the validation set",
        ),
        ({"max_steps": 3}, "unknown key 'max_steps' (docs/training.md lists the keys)"),
        ({"ctc_conf": {}}, "unknown key 'ctc_conf' (docs/training.md lists the keys)"),
        ({"ema_decay": 0.999, "sharded_ddp": True}, "ema_decay with sharded_ddp (leave out one of them)"),
        (
            {"batch_bins": 1599},
            "batch_bins 1599 leaves less than 0.1 s (1600 samples) for each of",
        ),
        ({"batch_bins": 6000, "min_batch_size": 4}, "batch_bins 6000 leaves less than 0.1 s"),
    ],
)
def test_faults_are_one_line(raw, message):
    with pytest.raises(LidError) as caught:
        parse_config(raw, "conf/x.yaml")
    text = str(caught.value)
    assert text.startswith("conf/x.yaml: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not YAML"), ("- a\n- b\n", "not a mapping of keys to values"), ("\xff", "unknown|not")],
)
def test_what_is_no_configuration(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(LidError, match=message):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(LidError, match="does not exist"):
        load_config(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_epoch"], "'--max_epoch' has no value"),
        (["max_epoch", "3"], "'max_epoch' is not an option"),
        (["--optim_conf.lr", "["], r"--optim_conf\.lr: '\[' is not YAML"),
        (["--max_epoc", "3"], "did you mean 'max_epoch'"),
    ],
)
def test_faulty_overrides(path, words, message):
    with pytest.raises(LidError, match=message):
        load_config(path, words)


def test_an_empty_file_is_all_defaults_and_what_is_written_reads_back_the_same(tmp_path, path):
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == TrainConfig()
    for config in (TrainConfig(), load_config(path), load_config(path, ["--use_amp", "auto"])):
        write_config(config, "dev", tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config
        assert (
            yaml.safe_load((tmp_path / "config.yaml").read_text()).keys() == TrainConfig.model_fields.keys()
        )
