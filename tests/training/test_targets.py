"""Trainings with the weights of several languages."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, beeps, write_stats
from training.experiment import write_config

from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.training.config import load_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.train import Sources, gather_training, input_files, make_learner, train
from lid_toolkit.training.validation import validate

PAIRS = [(0,), (1,), (2,), (0, 1), (1, 2), (2, 0)]
SETTINGS = {
    "loss": "linear_softmax",
    "specaug": None,
    "scheduler": None,
    "preprocessor_conf": {"fix_duration": False},
    "optim_conf": {"lr": 0.01},
    "batch_type": "unsorted",
    "batch_size": 12,
    "num_iters_per_epoch": 12,
    "max_epoch": 2,
    "keep_nbest_models": 1,
}


def write_mixed(directory, utterances, seed):
    """Write a set in which half of the utterances are two beeps at once, in two languages."""
    (directory / "wav").mkdir(parents=True)
    rows = []
    for number in range(utterances):
        spoken = [LANGUAGES[index] for index in PAIRS[number % len(PAIRS)]]
        wave = sum(beeps(language, 8000, 100 * seed + number) for language in spoken) / len(spoken)
        path = directory / "wav" / f"{directory.name}-{number:03d}.wav"
        soundfile.write(path, wave, RATE, subtype="PCM_16")
        rows.append((path.stem, str(path), spoken[0], "8000", " ".join(spoken)))
    for column, name in enumerate(("wav.scp", "utt2lang", "utt2num_samples", "utt2langs"), start=1):
        write_table(directory / name, [(row[0], row[column]) for row in rows])
    return directory


@pytest.fixture
def experiment(tmp_path):
    """Return a maker of the configuration and the sources of a training on mixed utterances."""
    sources = Sources(tmp_path / "train", tmp_path / "valid", tmp_path / "stats", tmp_path / "exp")
    write_mixed(sources.train_dir, 24, 1), write_mixed(sources.valid_dir, 12, 2)
    write_stats(sources.stats_dir, sources.train_dir, sources.valid_dir)

    def make(**changes):
        write_config(tmp_path, **{**SETTINGS, **changes})
        return load_config(tmp_path / "train.yaml"), sources

    return make


def recall(model_file, sources):
    """Return the proportion of the languages of validation utterances that are among as many best ones."""
    saved = load_model(model_file)
    found = []
    for path in sorted((sources.valid_dir / "wav").iterdir()):
        wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        spoken = PAIRS[int(path.stem[-3:]) % len(PAIRS)]
        scores, _ = saved.model.identify(wave[None], torch.tensor([len(wave)]))
        best = scores[0].topk(len(spoken)).indices.tolist()
        found.append(len({*best} & {*spoken}) / len(spoken))
    return sum(found) / len(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": "soft"},
        {"targets": "soft", "loss": "aamsoftmax"},
        {"targets": "multi_hot", "loss": "linear_sigmoid"},
    ],
)
def test_a_training_learns_both_languages_of_mixed_utterances(experiment, changes):
    # With fewer updates, the outcome depends on how the processor rounds.
    longer = {"num_iters_per_epoch": 60, "max_epoch": 1, "optim_conf": {"lr": 0.005}}
    config, sources = experiment(**longer, **changes)
    model_file, *_ = train(config, sources, World(), 1e9)
    assert recall(model_file, sources) > 0.95  # 5 in 9 by chance


def validated(config, sources):
    """Return the training and the validation measures of its untrained model."""
    training = gather_training(config, sources, World(), 1e9, {})
    learner, _ = make_learner(training, sources.stats_dir)
    batches = sorted_batches(training.valid.lengths_u, config.batch_bins)
    with torch.no_grad():
        learner.model.loss.weight.normal_(generator=torch.Generator().manual_seed(0))
    return training, learner, validate(training, learner.model, batches, before_each=lambda: None)


def test_validation_measures_the_loss_with_weights_and_the_accuracy_of_the_main_language(experiment):
    config, sources = experiment(targets="soft")
    training, learner, with_weights = validated(config, sources)
    (sources.valid_dir / "utt2langs").unlink()
    _, _, without = validated(config, sources)
    losses, rows = [], range(len(training.valid))
    learner.model.eval()
    for row in rows:
        wave = torch.from_numpy(soundfile.read(training.valid.refs.value(row), dtype="float32")[0])[None]
        with torch.no_grad():
            scores = learner.model.loss.logits(learner.model.embed(wave, torch.tensor([8000]))).log_softmax(1)
        losses.append(-scores[0, list(PAIRS[row % len(PAIRS)])].mean().item())
    assert with_weights.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert abs(without.loss - with_weights.loss) > 1e-3
    assert with_weights.per_language == without.per_language


def test_a_training_set_without_weights_is_refused(experiment):
    config, sources = experiment(targets="soft")
    (sources.train_dir / "utt2langs").unlink()
    with pytest.raises(LidError, match=r"train/utt2langs: does not exist, but targets is soft \(write it in"):
        gather_training(config, sources, World(), 1e9, {})


def test_a_loss_that_cannot_use_the_weights_is_refused(experiment):
    config, sources = experiment(targets="multi_hot")
    training = gather_training(config, sources, World(), 1e9, {})
    message = (
        r"targets: loss linear_softmax cannot be trained with targets: multi_hot \(its .* soft or null\)"
    )
    with pytest.raises(LidError, match=message):
        make_learner(training, sources.stats_dir)


def test_the_weights_belong_to_the_inputs_of_a_training_that_uses_them(experiment):
    config, sources = experiment()
    assert not any("utt2langs" in name for name in input_files(config, sources))
    config, sources = experiment(targets="soft")
    assert {path for name, path in input_files(config, sources).items() if "utt2langs" in name} == {
        sources.train_dir / "utt2langs",
        sources.valid_dir / "utt2langs",
    }
