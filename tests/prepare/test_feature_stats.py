"""Global statistics of features: against NumPy over all frames at once, whatever the number of jobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from models.pretrained_encoders import save_tiny
from training.experiment import write_config, write_experiment

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.data import waves
from lid_toolkit.data.features import reference
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_frontend, build_model
from lid_toolkit.prepare import feature_stats
from lid_toolkit.prepare.feature_stats import add, merge, plan, run_job
from lid_toolkit.training.config import load_config, parse_config
from lid_toolkit.training.feature_stats import FeatureStats, Sums, check_statistics, use_statistics
from lid_toolkit.training.sources import Sources


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(feature_stats, "UTTERANCES_PER_PART", 5)
    monkeypatch.setattr(feature_stats, "BATCH_SAMPLES", 20000)


def task_of(directory, **changes):
    """Return a collection for a small set; a second call for the directory keeps its audio."""
    write = write_config if (directory / "train").exists() else write_experiment
    write(directory, **{"normalize": "global_mvn", "max_epoch": 1, **changes})
    config = load_config(directory / "train.yaml")
    return FeatureStats(config, directory / "train", directory / "stats")


def collect(task, num_jobs=2):
    jobs = plan(task, num_jobs)
    for job in range(1, jobs + 1):
        run_job(task, job)
    if jobs:
        merge(task)
    return jobs


def frames_of(task):
    """The features of all utterances, each computed alone: (frames, D)."""
    frontend = build_frontend(task.config.model_description())
    features = [frontend(*batch)[0][0].numpy() for batch in waves_of(task)]
    return np.concatenate(features).astype(np.float64)


def test_sums_are_those_of_all_frames(tmp_path):
    task = task_of(tmp_path)
    assert collect(task) == 2
    frames = frames_of(task)
    kept = np.load(tmp_path / "stats/train/feats_stats.npz")
    assert sorted(kept) == ["count", "sum", "sum_square"]
    assert kept["count"] == len(frames)
    np.testing.assert_allclose(kept["sum"], frames.sum(0), rtol=1e-6)
    np.testing.assert_allclose(kept["sum_square"], (frames**2).sum(0), rtol=1e-6)
    assert (tmp_path / "stats/train/stats_keys").read_text() == "feats\n"


def test_the_number_of_jobs_changes_no_bit(tmp_path):
    for name, jobs in (("a", 1), ("b", 4)):
        assert collect(task_of(tmp_path / name), jobs) == jobs
    first, second = (np.load(tmp_path / name / "stats/train/feats_stats.npz") for name in ("a", "b"))
    for key in ("count", "sum", "sum_square"):
        np.testing.assert_array_equal(first[key], second[key])


def test_sums_far_apart_lose_nothing():
    parts = [Sums(1, np.array([value]), np.array([value])) for value in (1e16, 1.0, -1e16, 1.0)]
    assert add(parts).sum_d == [2.0]
    assert add(parts[::-1]).sum_d == [2.0]


def test_training_normalises_by_them(tmp_path):
    task = task_of(tmp_path)
    collect(task)
    model = build_model(task.config.model_description(), 3)
    use_statistics(model, task.config, task.stats_dir)
    normalised = model.normalize(torch.from_numpy(frames_of(task)).float()[None], torch.tensor([10**6]))[0]
    np.testing.assert_allclose(normalised.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std(0), 1, atol=1e-3)


def test_only_what_is_missing_or_stale_is_done(tmp_path, monkeypatch):
    task = task_of(tmp_path)
    assert plan(task, 2) == 2
    run_job(task, 1)
    with pytest.raises(LidError, match="part 2: not done yet"):
        merge(task)
    read = []
    monkeypatch.setattr(waves, "read_audio", lambda ref, *span: read.append(ref) or read_audio(ref, *span))
    assert collect(task) == 2
    assert 0 < len(read) < 24
    assert collect(task) == 0
    other = task_of(tmp_path, frontend_conf={"n_mels": 24})
    assert collect(other) == 2
    assert np.load(tmp_path / "stats/train/feats_stats.npz")["sum"].shape == (24,)


def test_what_changes_during_the_merge_makes_it_stale(tmp_path, monkeypatch):
    task = task_of(tmp_path)

    def added(sums):
        (task.train_dir / "audio_digest").write_text("of other audio\n")
        return add(sums)

    for job in range(1, plan(task, 2) + 1):
        run_job(task, job)
    monkeypatch.setattr(feature_stats, "add", added)
    merge(task)
    assert task.step.reason() == "audio_digest changed"


def test_statistics_of_another_configuration_are_not_trained_on(tmp_path):
    """The experiments of a directory share stage 4's files."""
    task = task_of(tmp_path)
    collect(task)
    check_statistics(task)
    other = task_of(tmp_path, frontend_conf={"n_mels": 20, "htk": True})
    with pytest.raises(
        LidError, match=r"another configuration: frontend_conf changed .*\(run statistics again"
    ):
        check_statistics(other)
    plain = task_of(tmp_path, normalize="utterance_mvn")
    check_statistics(plain)


def test_statistics_decide_only_trainings_that_use_them(tmp_path):
    directory = write_experiment(tmp_path)
    sources = Sources(directory / "train", directory / "valid", directory / "stats", directory / "exp")
    tables = {
        name: sources.tables(parse_config(raw, "x")).get("train feats_stats")
        for name, raw in {
            "plain": {},
            "stage 4's": {"normalize": "global_mvn"},
            "own": {"normalize": "global_mvn", "normalize_conf": {"stats_file": "of_mine.npz"}},
        }.items()
    }
    assert tables == {
        "plain": None,
        "stage 4's": directory / "stats" / "train" / "feats_stats.npz",
        "own": Path("of_mine.npz"),
    }


def test_extracted_features_are_taken_from_disk(tmp_path):
    task = task_of(tmp_path)
    frames = np.random.default_rng(0).normal(3.0, 2.0, (240, 20)).astype(np.float16)
    np.save(tmp_path / "train/feats.npy", frames)
    keys = list(read_table(tmp_path / "train/wav.scp").keys())
    rows = ((key, reference(tmp_path / "train/feats.npy", 10 * i, 10 * i + 10)) for i, key in enumerate(keys))
    write_table(tmp_path / "train/feats.scp", rows)
    made = {name: task.config.model_description()[name] for name in ("frontend", "frontend_conf")}
    (tmp_path / "train/features.json").write_text(json.dumps({**made, "hop_length": 256}))
    assert collect(task) == 2
    kept = np.load(tmp_path / "stats/train/feats_stats.npz")
    assert kept["count"] == 240
    np.testing.assert_allclose(kept["sum"], frames.astype(np.float64).sum(0), rtol=1e-12)
    np.testing.assert_allclose(kept["sum_square"], (frames.astype(np.float64) ** 2).sum(0), rtol=1e-12)


def test_of_a_front_end_with_adapters_they_are_those_before_training(tmp_path):
    """From audio and from stored frames; the stored ones have half precision."""
    folder = save_tiny(tmp_path, "whisper", vocab_size=51865, decoder_start_token_id=50258)
    conf = {"path_or_url": str(folder), "languages": ["eng", "deu", "fra"], "vectors": ["mean", "state"]}
    frontend = {"frontend": "whisper_language", "frontend_conf": {**conf, "lora": {"rank": 2}}}
    task = task_of(tmp_path, **frontend)
    collect(task)
    of_audio = dict(np.load(tmp_path / "stats/train/feats_stats.npz"))
    assert of_audio["count"] == 24
    assert not of_audio["sum"][3:6].round(3).any()
    plain = build_frontend({**frontend, "frontend_conf": conf})
    store(task, tmp_path / "train")
    features = [plain(wave_1t, lengths)[0][0, 0] for wave_1t, lengths in waves_of(task)]
    expected = np.delete(of_audio["sum"], [3, 4, 5])
    np.testing.assert_allclose(torch.stack(features).sum(dim=0).numpy(), expected, rtol=1e-4, atol=1e-4)
    collect(task)
    of_frames = np.load(tmp_path / "stats/train/feats_stats.npz")
    assert of_frames["count"] == 24
    for name in ("sum", "sum_square"):
        np.testing.assert_allclose(of_frames[name], of_audio[name], rtol=2e-2, atol=2e-2)


def waves_of(task):
    """Yield each recording as a batch of its own: (1, T) and its length."""
    for ref in read_table(task.train_dir / "wav.scp").values():
        wave = read_audio(ref)[0]
        yield torch.from_numpy(wave)[None], torch.tensor([len(wave)])


@torch.inference_mode()
def store(task, data_dir):
    """Turn a set of audio into one of stored frames, as stage 4 does."""
    frontend = build_frontend(task.config.model_description()).eval()
    states = [frontend.frozen_states(*batch)[0][0].half().numpy() for batch in waves_of(task)]
    np.save(data_dir / "feats.npy", np.concatenate(states))
    ends = np.cumsum([len(each) for each in states]).tolist()
    keys = read_table(data_dir / "wav.scp").keys()
    begins = [0, *ends[:-1]]
    rows = [
        (key, reference(data_dir / "feats.npy", *rows)) for key, *rows in zip(keys, begins, ends, strict=True)
    ]
    write_table(data_dir / "feats.scp", rows)
    made = {name: task.config.model_description()[name] for name in ("frontend", "frontend_conf")}
    (data_dir / "features.json").write_text(json.dumps({**made, "hop_length": 0}))


def test_without_global_normalisation_there_is_nothing_to_do(tmp_path):
    assert plan(task_of(tmp_path, normalize="utterance_mvn"), 2) == 0
    assert plan(task_of(tmp_path, normalize_conf={"stats_file": "of_mine.npz"}), 2) == 0


def test_faults_are_named(tmp_path):
    task = task_of(tmp_path, max_failed=0.01)
    model = build_model(task.config.model_description(), 3)
    with pytest.raises(LidError, match=r"feats_stats.npz: does not exist \(run statistics again"):
        use_statistics(model, task.config, task.stats_dir)
    for damaged in (b"no zip", b"PK\x03\x04 the beginning of one"):
        (tmp_path / "stats/train/feats_stats.npz").write_bytes(damaged)
        with pytest.raises(LidError, match=r"feats_stats.npz: not feature statistics"):
            use_statistics(model, task.config, task.stats_dir)
    np.savez(tmp_path / "stats/train/feats_stats.npz", count=1, sum=np.ones(3), sum_square=np.ones(3))
    with pytest.raises(LidError, match="statistics of 3 features, the front end has 20"):
        use_statistics(model, task.config, task.stats_dir)
    with pytest.raises(LidError, match="statistics need a front end"):
        plan(task_of(tmp_path, frontend=None, frontend_conf={}, input_size=8), 2)
    for ref in list(read_table(tmp_path / "train/wav.scp").values())[:2]:
        open(ref, "wb").close()
    with pytest.raises(LidError, match=r"2 of 24 utterances failed, more than max_failed .*empty file"):
        collect(task)
