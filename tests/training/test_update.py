"""One update: what plain PyTorch does, and the same however its utterances are spread."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from training.experiment import write_experiment

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.training.config import load_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.state import State
from lid_toolkit.training.train import gather_training, make_learner
from lid_toolkit.training.update import SubBatch, run_update, seed_everything, updates_of_epoch

NO_VOTES = [0.0, 0.0]


@pytest.fixture
def make(tmp_path):
    """Return a maker of trainings and fresh learners for settings."""
    directory = write_experiment(tmp_path, specaug=None, scheduler=None)

    def made(*words):
        config = load_config(directory / "train.yaml", words)
        sources = Sources(directory / "train", directory / "valid", directory / "stats", directory / "exp")
        training = gather_training(config, sources, World(), 1e9, {})
        return training, make_learner(training, directory / "stats")[0]

    return made


def minibatch(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    waves = [0.1 * torch.randn(length, generator=generator) for length in lengths]
    rows = torch.arange(len(lengths))
    return Minibatch(pad_sequence(waves, batch_first=True), torch.tensor(lengths), rows % 3, rows, [])


def state_of(learner):
    return {name: value.clone() for name, value in learner.model.state_dict().items()}


def close(one, other, atol=1e-6):
    return all(torch.allclose(value.double(), other[name].double(), atol=atol) for name, value in one.items())


def test_an_update_is_plain_pytorchs(make):
    training, learner = make("--optim", "sgd", "--grad_clip", "0.5")
    model = copy.deepcopy(learner.model)
    batch = minibatch(4000, 5000, 5000, 3500)
    outcome = run_update(training, learner, State(), SubBatch(0, 1, 4), iter([batch]), NO_VOTES)
    assert (outcome.skipped, outcome.votes) == ("", NO_VOTES)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    model(batch.wave_bt, batch.lengths_b, batch.labels_b).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    assert close(state_of(learner), model.state_dict())


def test_the_gradient_is_that_of_the_mean_over_all_utterances_of_an_update(make):
    """With batch norm out of the way, two batches of unlike size are one batch."""
    training, learner = make("--optim", "sgd", "--grad_clip", "1e9", "--optim_conf", "{lr: 0.001}")
    learner.model.eval()
    other = copy.deepcopy(learner.model)
    parts = [minibatch(4000, seed=1), minibatch(5000, 5000, 3500, seed=2)]
    whole = Minibatch(
        pad_sequence(
            [w[:n] for p in parts for w, n in zip(p.wave_bt, p.lengths_b, strict=True)], batch_first=True
        ),
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("lengths_b", "labels_b", "rows_b")),
        [],
    )
    run_update(training, learner, State(), SubBatch(0, 2, 4), iter(parts), NO_VOTES)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.001)
    other(whole.wave_bt, whole.lengths_b, whole.labels_b).loss.backward()
    optimizer.step()
    assert close(state_of(learner), other.state_dict())


def test_running_statistics_move_once_by_the_batches_mean(make):
    training, learner = make()
    statistics = learner.model.encoder.bn
    parts = [minibatch(4000, 4000, seed=1), minibatch(5000, 5000, seed=2)]
    after = []
    for part in parts:
        alone = make()[1]
        run_update(training, alone, State(), SubBatch(0, 1, 2), iter([part]), NO_VOTES)
        after.append(alone.model.encoder.bn.running_mean.clone())
    run_update(training, learner, State(), SubBatch(0, 2, 4), iter(parts), NO_VOTES)
    assert torch.allclose(statistics.running_mean, (after[0] + after[1]) / 2, atol=1e-6)
    assert statistics.num_batches_tracked == 1


def test_a_batch_of_which_nothing_could_be_read_changes_nothing_but_the_count(make):
    training, learner = make("--optim", "sgd", "--optim_conf", "{lr: 0.1}")
    before, state = state_of(learner), State()
    empty = Minibatch(
        torch.empty(0, 0),
        *(torch.empty(0, dtype=torch.int64) for _ in range(3)),
        [("u1", "gone"), ("u2", "gone")],
    )
    run_update(training, learner, state, SubBatch(0, 1, 2), iter([empty]), NO_VOTES)
    after = state_of(learner)
    whole = [name for name, value in after.items() if value.is_floating_point()]
    assert all(torch.equal(before[name], after[name]) for name in whole)
    assert (state.failed, state.sums["utterances"]) == (2, 0)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_loss_that_is_not_finite_leaves_no_trace(make, steps):
    training, learner = make()
    before, state = state_of(learner), State()
    parts = [minibatch(4000, 4000), minibatch(4000, 4000)._replace(wave_bt=torch.full((2, 4000), torch.nan))]
    outcome = run_update(
        training, learner, state, SubBatch(0, steps, 2 * steps), iter(parts[-steps:]), NO_VOTES
    )
    assert (outcome.skipped, outcome.faulty) == ("the loss or the gradient is not finite", True)
    assert all(torch.equal(value, before[name]) for name, value in state_of(learner).items())
    assert (state.updates, state.sums) == (0, {})


def test_float16_lowers_its_scale_instead_of_failing(make):
    training, learner = make("--use_amp", "true", "--amp_dtype", "float16")
    state, batch = State(), minibatch(4000, 4000, 4000)
    assert learner.scaler.get_scale() == 65536
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": 2.0**60})
    before = state_of(learner)
    outcome = run_update(training, learner, state, SubBatch(0, 1, 3), iter([batch]), NO_VOTES)
    assert outcome.skipped.startswith("the gradient overflows float16")
    assert not outcome.faulty
    assert learner.scaler.get_scale() == 2.0**59
    assert all(torch.equal(value, before[name]) for name, value in state_of(learner).items())
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": 16.0})
    assert run_update(training, learner, state, SubBatch(0, 1, 3), iter([batch]), NO_VOTES).skipped == ""


def test_the_moving_average_by_hand(make):
    training, learner = make("--ema_decay", "0.15")
    name = "projector.fc.weight"
    expected = learner.model.state_dict()[name].clone()
    state = State()
    for step in range(4):
        run_update(
            training, learner, state, SubBatch(step, 1, 2), iter([minibatch(4000, 4000, seed=step)]), NO_VOTES
        )
        weights = learner.model.state_dict()[name]
        decay = min(0.15, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * weights
    assert torch.allclose(learner.judged.state_dict()[name], expected, atol=1e-6)
    assert learner.judged is not learner.model


@pytest.mark.parametrize(
    ("done", "accum", "processes", "expected"),
    [
        (
            0,
            1,
            1,
            [SubBatch(0, 1, 1), SubBatch(1, 1, 2), SubBatch(2, 1, 3), SubBatch(3, 1, 4), SubBatch(4, 1, 5)],
        ),
        (0, 2, 1, [SubBatch(0, 2, 3), SubBatch(2, 2, 7), SubBatch(4, 1, 5)]),
        (0, 1, 2, [SubBatch(0, 1, 3), SubBatch(2, 1, 7)]),
        (2, 2, 1, [SubBatch(2, 2, 7), SubBatch(4, 1, 5)]),
        (0, 2, 2, [SubBatch(0, 2, 10)]),
        (5, 1, 1, []),
        (0, 1, 6, []),
    ],
)
def test_parts_of_an_epoch(done, accum, processes, expected):
    assert updates_of_epoch([1, 2, 3, 4, 5], done, accum, processes) == expected


def test_seeds_of_numbers_differ_and_repeat():
    draws = []
    for numbers in ((0, 1, 7), (0, 2, 7), (0, 1, 7)):
        seed_everything(*numbers)
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
