"""Stage 4's features of a frozen front end: the model's own, whole, and made once."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data.corpus import LANGUAGES, RATE, write_set, write_stats
from models.pretrained_encoders import save_tiny

from lid_toolkit.data.features import read_features
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.utterances import load_utterances
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identification import Identification
from lid_toolkit.inference.identification import plan as plan_answers
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.job import run_job as identify_job
from lid_toolkit.inference.merge import merge as merge_answers
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.models.build import build_model, with_architecture
from lid_toolkit.models.frontends.pretrained.whisper_language import WhisperLanguageFrontend
from lid_toolkit.prepare import extraction
from lid_toolkit.prepare.extraction import Extraction, merge, plan, run_job
from lid_toolkit.steps import digest
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.checkpoint import load_model, save_model
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["whisper", "xlsr"])
def config(request, tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("tiny"), request.param)
    return parse_config(
        {
            "frontend": "transformers",
            "frontend_conf": {"path_or_url": str(folder), "frozen": True, "layers": [1, 3]},
            "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
            "projector_conf": {"output_size": 8},
            "preprocessor_conf": {"volume_apply_prob": 1.0, "noise_apply_prob": 1.0},
        },
        "test",
    )


@pytest.fixture
def task(config, tmp_path):
    speech = write_set(tmp_path / "some_set", 21, seed=4, shortest=500, longest=30000)
    return Extraction(config, speech, tmp_path / "extracted" / "some_set")


def extract(task, jobs=1):
    jobs = plan(task, jobs, dry_run=False)
    for job in range(1, jobs + 1):
        run_job(task, job, CPU)
    merge(task)
    return jobs


def scores(model, data_dir, out):
    work = Identification(model, data_dir, out / data_dir.name)
    plan_answers(work, 1)
    identify_job(work, 1, 4, CPU, 0)
    merge_answers(work)
    return work.output_dir


def test_features_give_the_answers_of_the_audio(task, tmp_path):
    extract(task)
    torch.manual_seed(3)
    description = task.config.model_description()
    model = build_model(description, len(LANGUAGES)).train()
    for _ in range(5):
        model.embed(0.1 * torch.randn(8, 6000), torch.full((8,), 6000))
    path = tmp_path / "model.pth"
    save_model(path, model.state_dict(), with_architecture(description, model.frontend), LANGUAGES, RATE)
    from_audio = scores(path, task.data_dir, tmp_path / "audio")
    from_features = scores(path, task.output_dir, tmp_path / "features")
    # Half precision keeps 11 bits.
    ours, theirs = (read_vectors(out / "embeddings.scp")[1] for out in (from_features, from_audio))
    assert np.abs(ours - theirs).max() < 2**-9
    ours, theirs = (read_vectors(out / "scores.scp")[1] for out in (from_features, from_audio))
    assert np.abs(ours - theirs).max() < 2**-9 * model.loss.scale
    lid = LanguageIdentifier.from_pretrained(path, "cpu", policy=DecisionPolicy(min_seconds=0))
    waves = list(read_table(task.data_dir / "wav.scp").values())
    assert [answer.language for answer in lid.identify(waves, vad="none")] == list(
        read_table(from_audio / "some_set_lids").values()
    )


def test_the_set_is_the_same_by_any_number_of_jobs_and_made_once(task, tmp_path, monkeypatch):
    monkeypatch.setattr("lid_toolkit.prepare.extraction.PART_S", 3.0)
    other = dataclasses.replace(task, output_dir=tmp_path / "other" / "some_set")
    assert extract(task, jobs=1) == 1
    assert extract(other, jobs=3) == 3
    assert len(list((task.output_dir / "data").glob("*.npy"))) > 3
    for key, ref in read_table(task.output_dir / "feats.scp"):
        assert np.array_equal(
            read_features(ref), read_features(read_table(other.output_dir / "feats.scp")[key])
        )
    for name in ("utt2lang", "utt2num_samples", "sampling_rate"):
        assert (task.output_dir / name).read_bytes() == (task.data_dir / name).read_bytes()
    assert plan(task, 2, dry_run=False) == 0
    before = {path: path.stat().st_mtime_ns for path in (task.output_dir / "data").glob("*.npy")}
    (task.output_dir / "feats.scp").unlink()
    extract(task, jobs=2)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_killed_job_goes_on_with_what_is_missing(task, monkeypatch):
    monkeypatch.setattr("lid_toolkit.prepare.extraction.PART_S", 3.0)
    assert plan(task, 1, dry_run=False) == 1
    calls = []
    original = extraction.Extractor._features

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(extraction.Extractor, "_features", dying)
    with pytest.raises(KeyboardInterrupt):
        run_job(task, 1, CPU)
    with pytest.raises(LidError, match="run the jobs again"):
        merge(task)
    calls[:] = [1] * 3
    run_job(task, 1, CPU)
    merge(task)
    assert len(read_table(task.output_dir / "feats.scp")) == 21
    assert not list(task.output_dir.rglob(".tmp-*"))


def test_tables_are_read_once_as_they_were_before_the_work(task, monkeypatch):
    monkeypatch.setattr("lid_toolkit.prepare.extraction.PART_S", 1.0)
    read = []
    monkeypatch.setattr("lid_toolkit.steps.digest", lambda path: read.append(path) or digest(path))
    extract(task)
    assert len(list((task.output_dir / "data").glob("*.npy"))) > 8
    assert len(read) == len(set(read)) == 7  # wav.scp, the digest, lengths, labels, and three optional tables
    assert plan(dataclasses.replace(task, copies=1), 1, dry_run=False) == 1
    (task.data_dir / "audio_digest").write_text("of other audio\n")
    with pytest.raises(LidError, match="audio_digest: changed since the work was planned"):
        run_job(dataclasses.replace(task, copies=1), 1, CPU)


def test_augmented_copies_are_further_utterances(task):
    extract(dataclasses.replace(task, copies=1))
    before = {path: path.stat().st_mtime_ns for path in task.output_dir.glob("data/*.npy")}
    task = dataclasses.replace(task, copies=2)
    extract(task)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    feats, labels = read_table(task.output_dir / "feats.scp"), read_table(task.output_dir / "utt2lang")
    assert len(feats) == len(labels) == 63
    plain, first, second = (
        read_features(feats[f"{prefix}some_set-004"]).astype(np.float32) for prefix in ("", "aug1-", "aug2-")
    )
    assert labels["aug2-some_set-004"] == labels["some_set-004"]
    assert np.abs(plain - first).max() > 0.01
    assert np.abs(first - second).max() > 0.01


def test_broken_recordings_are_listed_and_past_the_limit_refused(task):
    broken = task.data_dir / "wav" / "some_set-003.wav"
    broken.write_bytes(broken.read_bytes()[:100])
    extract(dataclasses.replace(task, max_failed=0.05))
    assert list(read_table(task.output_dir / "failed").keys()) == ["some_set-003"]
    assert len(read_table(task.output_dir / "feats.scp")) == 20
    with pytest.raises(LidError, match="some_set-003"):
        extract(dataclasses.replace(task, max_failed=0.0))


def test_only_a_frozen_front_end_that_fits_the_disk(task, monkeypatch):
    conf = {**task.config.frontend_conf, "frozen": False}
    trained = task.config.model_copy(update={"frontend_conf": conf})
    with pytest.raises(LidError, match="frozen"):
        plan(dataclasses.replace(task, config=trained), 1, dry_run=False)
    mel = parse_config({"frontend": "default"}, "test")
    with pytest.raises(LidError, match="frozen"):
        plan(dataclasses.replace(task, config=mel), 1, dry_run=False)
    plain = task.config.model_copy(update={"preprocessor_conf": PreprocessorConf()})
    with pytest.raises(LidError, match="copies would not be augmented"):
        plan(dataclasses.replace(task, config=plain, copies=1), 1, dry_run=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(LidError, match="are free"):
        plan(task, 1, dry_run=False)


def test_training_on_features_gives_a_model_of_audio(task, tmp_path):
    valid = dataclasses.replace(
        task, data_dir=write_set(tmp_path / "valid", 9, seed=5), output_dir=tmp_path / "extracted" / "valid"
    )
    train_task = dataclasses.replace(task, copies=1)
    for work in (train_task, valid):
        extract(work)
    stats = write_stats(tmp_path / "stats", train_task.output_dir, valid.output_dir)
    quick = {"max_epoch": 2, "num_iters_per_epoch": 4, "batch_bins": 64000, "num_workers": 0}
    config = task.config.model_copy(update=quick)
    sources = Sources(train_task.output_dir, valid.output_dir, stats, tmp_path / "exp")
    models = train(config, sources, World(CPU), 1e9)
    lid = LanguageIdentifier.from_pretrained(models[0], "cpu", policy=DecisionPolicy(min_seconds=0))
    answers = lid.identify(list(read_table(valid.data_dir / "wav.scp").values()), vad="none")
    lids = read_table(scores(models[0], valid.output_dir, tmp_path / "out") / "valid_lids")
    assert [answer.language for answer in answers] == list(lids.values())

    conf = {**config.frontend_conf, "layers": [3]}
    with pytest.raises(LidError, match="another frontend_conf"):
        train(config.model_copy(update={"frontend_conf": conf}), sources, World(CPU), 1e9)


@pytest.fixture(scope="module")
def whole_config(tmp_path_factory):
    """A front end of one vector for an utterance, and a classifier on it."""
    vocabulary = {"vocab_size": 51865, "decoder_start_token_id": 50258}
    folder = save_tiny(tmp_path_factory.mktemp("tiny"), "whisper", **vocabulary)
    return parse_config(
        {
            "frontend": "whisper_language",
            "frontend_conf": {"path_or_url": str(folder), "languages": ["eng", "deu", "fra"]},
            "encoder": "identity",
            "pooling": "mean",
            "projector": "identity",
            "loss": "linear_softmax",
            "optim_conf": {"lr": 0.1},
            "preprocessor_conf": {"target_duration": [0.2, 0.3], "volume_apply_prob": 1.0},
            "max_epoch": 2,
            "num_iters_per_epoch": 4,
            "batch_bins": 64000,
            "num_workers": 0,
        },
        "test",
    )


def test_copies_of_what_cannot_be_cropped_later_are_of_crops(whole_config, tmp_path):
    speech = write_set(tmp_path / "speech", 6, seed=4, shortest=4000, longest=20000)
    task = Extraction(whole_config, speech, tmp_path / "extracted", copies=1)
    extract(task)
    whole, samples = (read_table(folder / "utt2num_samples") for folder in (speech, task.output_dir))
    for key, length in whole:
        assert samples[key] == length
        assert min(int(length), 0.2 * RATE) <= int(samples[f"aug1-{key}"]) <= 0.3 * RATE
    assert {read_features(ref).shape for ref in read_table(task.output_dir / "feats.scp").values()} == {
        (1, 3 + 32)
    }
    assert not task.step.reason()
    longer = whole_config.preprocessor_conf.model_copy(update={"target_duration": (0.4, 0.5)})
    changed = whole_config.model_copy(update={"preprocessor_conf": longer})
    assert dataclasses.replace(task, config=changed).step.reason()


def test_stored_frames_of_one_vector_are_never_cropped(whole_config, tmp_path, caplog):
    """The first of them are not of the recording: they are what the decoder's correction starts from."""
    conf = {**whole_config.frontend_conf, "lora": {"rank": 2}, "silence": [0.1, 0.2]}
    config = whole_config.model_copy(update={"frontend_conf": conf})
    speech = write_set(tmp_path / "speech", 6, seed=4, shortest=8000, longest=20000)
    task = Extraction(config, speech, tmp_path / "extracted")
    with caplog.at_level("INFO"):
        extract(task)
    frames = {key: len(read_features(ref)) for key, ref in read_table(task.output_dir / "feats.scp")}
    expected = {key: 2 + (int(length) + 4800) / 320 for key, length in read_table(speech / "utt2num_samples")}
    assert all(abs(frames[key] - expected[key]) <= 1 for key in expected)
    noted = int(re.search(r"(\d+) frames of 32 numbers", caplog.text)[1])
    assert abs(noted - sum(frames.values())) <= 2 * len(frames)
    stats = write_stats(tmp_path / "stats", task.output_dir, task.output_dir)
    utterances = load_utterances(task.output_dir, stats / "train" / "speech_shape", tuple(LANGUAGES))
    batches = build_sampler(config, utterances).epoch(1)
    assert all(batch.crop >= utterances.lengths_u[batch.rows_b].max() for batch in batches)


def test_batches_leave_room_for_the_silence_that_is_added(whole_config, tmp_path, monkeypatch):
    """Whisper-base took 5 GB for batches of 60 s of short utterances with 14.5 s of silence each."""
    monkeypatch.setattr(extraction, "BATCH_S", 9.0)
    shapes = []

    def noting(self, wave_bt, lengths_b):
        shapes.append(wave_bt.shape)
        return states_of(self, wave_bt, lengths_b)

    states_of = WhisperLanguageFrontend.frozen_states
    monkeypatch.setattr(WhisperLanguageFrontend, "frozen_states", noting)
    extract(Extraction(whole_config, write_set(tmp_path / "speech", 9, seed=4), tmp_path / "extracted"))
    added = (0.5 + 3.0) * RATE
    assert sum(utterances for utterances, _ in shapes) == 9
    assert max(utterances for utterances, _ in shapes) == 2
    assert all(utterances * (samples + added) <= 9 * RATE for utterances, samples in shapes)


def on_device(config):
    conf = config.preprocessor_conf.model_copy(update={"augment_on": "device"})
    return config.model_copy(update={"preprocessor_conf": conf})


def test_where_audio_is_augmented_in_training_makes_no_copy_stale(whole_config, tmp_path):
    task = Extraction(whole_config, tmp_path, tmp_path / "extracted", copies=1)
    assert dataclasses.replace(task, config=on_device(whole_config)).options(1) == task.options(1)


@pytest.mark.parametrize("adapted", [False, True])
def test_one_vector_for_an_utterance_trains_and_identifies(adapted, whole_config, tmp_path):
    if adapted:
        conf = {**whole_config.frontend_conf, "lora": {"rank": 2}, "silence": [0.1, 0.2]}
        whole_config = whole_config.model_copy(update={"frontend_conf": conf})
    tasks = [
        Extraction(whole_config, write_set(tmp_path / name, 9, seed), tmp_path / "extracted" / name)
        for seed, name in enumerate(("train", "valid"))
    ]
    for task in tasks:
        extract(task)
    train_dir, valid_dir = (task.output_dir for task in tasks)
    stats = write_stats(tmp_path / "stats", train_dir, valid_dir)
    with pytest.raises(LidError, match=r"augment_on: extracted features cannot be augmented"):
        train(on_device(whole_config), Sources(train_dir, valid_dir, stats, tmp_path / "no"), World(CPU), 1e9)
    models = train(whole_config, Sources(train_dir, valid_dir, stats, tmp_path / "exp"), World(CPU), 1e9)
    from_audio = scores(models[0], tasks[1].data_dir, tmp_path / "audio")
    from_features = scores(models[0], valid_dir, tmp_path / "features")
    assert (from_audio / "valid_lids").read_bytes() == (from_features / "valid_lids").read_bytes()
    ours, theirs = (read_vectors(out / "scores.scp")[1] for out in (from_features, from_audio))
    assert np.abs(ours - theirs).max() < 2**-7
    assert np.abs(theirs - theirs.mean(axis=0)).max() > 0.01  # it has learnt something


def test_an_offset_needs_all_languages_of_the_data_and_may_have_more(whole_config, tmp_path):
    sets = [write_set(tmp_path / name, 9, seed) for seed, name in enumerate(("train", "valid"))]
    stats = write_stats(tmp_path / "stats", *sets)
    for table in [folder / "utt2lang" for folder in sets] + [stats / "lang2idx"]:
        text = table.read_text()
        for label, language in zip(LANGUAGES, ("deu", "eng", "fra"), strict=True):
            text = text.replace(f" {label}", f" {language}").replace(f"{label} ", f"{language} ")
        table.write_text(text)

    def learn(out, languages, **more):
        conf = {**whole_config.frontend_conf, "languages": languages}
        changes = {
            "frontend_conf": conf,
            "loss_conf": {"offset": True, "bias": False},
            "max_epoch": 1,
            **more,
        }
        changed = whole_config.model_copy(update=changes)
        return load_model(train(changed, Sources(*sets, stats, out), World(CPU), 1e9)[0])

    with pytest.raises(LidError, match=r"an offset of deu, eng; the data's are deu, eng, fra"):
        learn(tmp_path / "wrong", ["deu", "eng"])
    for normalize, conf in (("utterance_mvn", {}), ("global_mvn", {"skip": 2})):
        with pytest.raises(LidError, match=r"normalize changes the log posteriors .*skip: posteriors"):
            learn(tmp_path / "changed", ["deu", "eng", "fra"], normalize=normalize, normalize_conf=conf)
    assert learn(tmp_path / "right", ["en", "German", "fra"]).languages == ("eng", "deu", "fra")
    sums = np.ones(99 + 32)
    np.savez(tmp_path / "sums.npz", count=1, sum=sums, sum_square=2 * sums)
    skip = {
        "normalize": "global_mvn",
        "normalize_conf": {"skip": "posteriors", "stats_file": str(tmp_path / "sums.npz")},
    }
    every = learn(tmp_path / "more", None, **skip)
    assert len(every.languages) == 99
    assert every.model.normalize.unchanged == 99


def test_tables_that_are_added_and_removed_later_do_not_make_features_stale(task):
    extract(task)
    stamps = {path: path.stat().st_mtime_ns for path in (task.output_dir / "data").iterdir()}
    languages = [(key, f"{label} xyz") for key, label in read_table(task.data_dir / "utt2lang")]
    write_table(task.data_dir / "utt2langs", languages)
    assert extract(task) == 1
    assert list(read_table(task.output_dir / "utt2langs")) == languages
    (task.data_dir / "utt2langs").unlink()
    assert extract(task) == 1
    assert not (task.output_dir / "utt2langs").exists()
    assert plan(task, 1, dry_run=False) == 0
    assert {path: path.stat().st_mtime_ns for path in (task.output_dir / "data").iterdir()} == stamps
