"""Stage 6: the same answers by any number of jobs and any batch size; faults are listed."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference import identification
from lid_toolkit.inference import job as job_module
from lid_toolkit.inference.identification import Identification, plan
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.job import run_job
from lid_toolkit.inference.locate import open_model
from lid_toolkit.inference.merge import language_means, merge
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.parts import load_plan
from lid_toolkit.steps import digest

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(identification, "UTTERANCES_PER_PART", 4)


def task(model_file, speech, out="out", **more):
    return Identification(model_file, speech, speech.parent / out / "some_set", **more)


def identify(work, batch_size=8, workers=0, jobs=1):
    for job in range(1, plan(work, jobs) + 1):
        run_job(work, job, batch_size, CPU, workers)
    merge(work)
    return work.output_dir


def test_compiled_only_where_asked_with_the_same_answers(model_file, speech, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
    answers = []
    for asked in (False, True):
        work = task(model_file, speech, str(asked))
        run_job(work, plan(work, 1), 8, CPU, 0, asked)
        merge(work)
        answers.append((work.output_dir / "some_set_lids").read_text())
        lid = LanguageIdentifier.from_pretrained(model_file, "cpu", torch_compile=asked)
        lid.embed(np.random.default_rng(0).normal(size=8000))
        assert len(compiled) == 2 * asked
    assert answers[0] == answers[1]


def test_jobs_batches_and_workers_do_not_change_answers(model_file, speech):
    expected = identify(task(model_file, speech, "one"), batch_size=1)
    keys, scores = read_vectors(expected / "scores.scp")
    assert keys == tuple(read_table(speech / "wav.scp").keys())
    for out, jobs, batch_size, workers in (("a", 1, 8, 0), ("b", 3, 8, 0), ("c", 3, 1, 1)):
        result = identify(task(model_file, speech, out), batch_size, workers, jobs)
        assert (result / "some_set_lids").read_text() == (expected / "some_set_lids").read_text()
        for name in ("scores", "embeddings", "lang_embeddings"):
            ours, theirs = read_vectors(result / f"{name}.scp"), read_vectors(expected / f"{name}.scp")
            assert ours[0] == theirs[0]
            assert np.allclose(ours[1], theirs[1], atol=2e-5)
    assert len(set(map(tuple, scores.round(4)))) > 10


def test_files_say_what_the_library_says(model_file, speech):
    out = identify(task(model_file, speech))
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    waves = [read_audio(ref)[0] for ref in read_table(speech / "wav.scp").values()]
    assert (out / "languages").read_text().split() == list(LANGUAGES)
    keys, scores = read_vectors(out / "scores.scp")
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-5)
    lids = read_table(out / "some_set_lids")
    for key, row, answer in zip(
        keys, scores, lid.identify(waves, vad="none", policy=DecisionPolicy(min_seconds=0)), strict=True
    ):
        assert lids[key] == answer.language == LANGUAGES[int(row.argmax())]
        assert answer.score == pytest.approx(np.exp(row.max()), abs=1e-5)
    assert np.allclose(read_vectors(out / "embeddings.scp")[1], lid.embed(waves), atol=1e-5)
    assert (out / "failed").read_text() == ""
    assert not (out / ".parts").exists()


def test_language_embeddings_are_unit_means_by_true_language(model_file, speech):
    out = identify(task(model_file, speech))
    keys, embeddings = read_vectors(out / "embeddings.scp")
    languages, means = read_vectors(out / "lang_embeddings.scp")
    assert languages == LANGUAGES
    truth = read_table(speech / "utt2lang")
    for language, mean in zip(languages, means, strict=True):
        own = embeddings[[truth[key] == language for key in keys]].astype(np.float64).mean(axis=0)
        assert np.allclose(mean, own / np.linalg.norm(own), atol=1e-6)
        assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-6)
    both = language_means(("b", "unused", "a"), np.array([0, 2]), [(("x", "y"), means[:2])])
    assert both[0] == ["a", "b"]
    assert np.allclose(both[1], means[[1, 0]])


def test_speech_without_labels(model_file, speech):
    (speech / "utt2lang").unlink()
    out = identify(task(model_file, speech))
    found = set(read_table(out / "some_set_lids").values())
    assert set(read_vectors(out / "lang_embeddings.scp")[0]) == found


def test_labels_that_lack_an_utterance(model_file, speech):
    labels = list(read_table(speech / "utt2lang"))
    write_table(speech / "utt2lang", labels[1:])
    with pytest.raises(LidError, match=f"utt2lang: utterance '{labels[0][0]}' is missing"):
        identify(task(model_file, speech))


def test_broken_recordings_are_listed_and_too_many_fail(model_file, speech):
    wav = speech / "wav"
    (wav / "some_set-004.wav").write_bytes(b"RIFF")
    out = identify(task(model_file, speech), jobs=2)
    failed = dict(read_table(out / "failed"))
    assert failed.keys() == {"some_set-004"}
    assert "cannot be decoded" in failed["some_set-004"]
    assert len(read_table(out / "some_set_lids")) == 20

    (wav / "some_set-005.wav").unlink()
    strict = task(model_file, speech, "strict")
    with pytest.raises(LidError, match=r"2 of 21 utterances failed.*: some_set-00\d: .*raise max_failed"):
        identify(strict)
    assert set(read_table(strict.output_dir / "failed").keys()) == {"some_set-004", "some_set-005"}
    identify(dataclasses.replace(strict, max_failed=0.5))
    assert len(read_table(strict.output_dir / "some_set_lids")) == 19


def test_utterances_over_the_limit_fail_and_a_higher_limit_computes_only_theirs(model_file, speech, caplog):
    caplog.set_level("INFO")
    everything = identify(task(model_file, speech, "all", max_duration=0))
    seconds = {key: int(n) / RATE for key, n in read_table(speech / "utt2num_samples")}
    longest, *shorter = sorted(seconds, key=seconds.__getitem__, reverse=True)
    limit = seconds[shorter[0]]
    work = task(model_file, speech, max_duration=limit, max_failed=0)
    with pytest.raises(LidError, match=rf"1 of 21 utterances failed.*: {longest}: lasts .* max_duration"):
        identify(work)
    caplog.clear()
    out = identify(dataclasses.replace(work, max_failed=0.01))
    assert "job 1: 1 of 6 parts to do" in caplog.text
    reason = f"lasts {seconds[longest]:.2f} s, longer than max_duration ({limit:g} s)"
    assert dict(read_table(out / "failed")) == {longest: reason}
    keys, scores = read_vectors(out / "scores.scp")
    assert set(keys) == set(shorter)
    expected = dict(zip(*read_vectors(everything / "scores.scp"), strict=True))
    assert np.allclose(scores, [expected[key] for key in keys], atol=2e-5)

    work = dataclasses.replace(work, max_duration=seconds[longest])
    assert work.step.reason() == f"max_duration changed from {limit} to {seconds[longest]}"
    assert (identify(work) / "failed").read_text() == ""


def test_a_higher_limit_after_a_stop_leaves_parts_that_it_does_not_change(model_file, speech):
    lengths_u = read_table(speech / "utt2num_samples").integers()
    limit = float(np.sort(lengths_u)[-5]) / RATE  # the four longest, all of part 1, are longer
    low, high = (task(model_file, speech, max_duration=seconds) for seconds in (limit, 1.0))
    run_job(low, plan(low, 1), 8, CPU, 0)
    plan(high, 1)
    inputs = load_plan(high.work_dir).inputs.digest
    stale = [part.number for part in high.parts(lengths_u, inputs, RATE) if part.step.reason()]
    assert stale == [1]
    assert len(identify(high).joinpath("some_set_lids").read_text().splitlines()) == 21


def test_another_rate_is_an_error(model_file, speech):
    soundfile.write(speech / "wav" / "some_set-000.wav", np.zeros(20000), RATE // 2)
    with pytest.raises(LidError, match="8000 Hz, not 16000 Hz"):
        identify(task(model_file, speech))


def test_a_missing_part_is_named_and_a_rerun_does_only_that(model_file, speech, caplog):
    work = task(model_file, speech)
    caplog.set_level("INFO")
    assert plan(work, 3) == 3
    run_job(work, 1, 8, CPU, 0)
    run_job(work, 3, 8, CPU, 0)
    with pytest.raises(LidError, match=r"part 2: not done yet .*run the jobs again"):
        merge(work)
    identify(work, jobs=1)
    assert "job 1: 2 of 6 parts to do" in caplog.text
    assert plan(work, 3) == 0
    assert "current, skipped" in caplog.text


def test_the_number_of_jobs_changes_no_byte(model_file, speech):
    one, three = (identify(task(model_file, speech, str(jobs)), jobs=jobs) for jobs in (1, 3))
    for name in ("scores.ark", "embeddings.ark", "lang_embeddings.ark", "some_set_lids"):
        assert (one / name).read_bytes() == (three / name).read_bytes()


def test_a_killed_job_goes_on_with_what_is_missing(model_file, speech, monkeypatch):
    work, done = task(model_file, speech), []
    original = job_module._do_part

    def dying(task, part, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.number)
        original(task, part, *rest)

    monkeypatch.setattr(job_module, "_do_part", dying)
    with pytest.raises(KeyboardInterrupt):
        identify(work)
    monkeypatch.setattr(
        job_module,
        "_do_part",
        lambda _, part, *rest: done.append(part.number) or original(work, part, *rest),
    )
    out = identify(work)
    assert done == [1, 2, 3, 4, 5, 6]
    assert len(read_table(out / "some_set_lids")) == 21


def test_the_model_is_read_once_to_know_it_and_its_weights_only_by_jobs(model_file, speech, monkeypatch):
    read, loaded = [], []
    monkeypatch.setattr("lid_toolkit.steps.digest", lambda path: read.append(path) or digest(path))
    monkeypatch.setattr(job_module, "open_model", lambda path: loaded.append(path) or open_model(path))
    identify(task(model_file, speech), jobs=3)
    assert read.count(model_file) == 1
    assert len(read) == len(set(read))
    assert loaded == [model_file] * 3


def test_results_are_stale_when_model_or_audio_tables_change(model_file, speech, tmp_path):
    model = tmp_path / "model.pth"
    shutil.copy(model_file, model)
    work = task(model, speech)
    identify(work)
    assert not work.step.reason()
    (speech / "audio_digest").write_text("of other audio\n")
    assert "audio_digest changed" in work.step.reason()
    rows = list(read_table(speech / "wav.scp"))
    write_table(speech / "wav.scp", rows[1:])
    assert "changed" in work.step.reason()
    with pytest.raises(LidError, match="utt2num_samples: its utterances differ"):
        plan(work, 1)


def test_a_model_that_changes_after_the_plan_is_noticed(model_file, speech, tmp_path):
    model = tmp_path / "model.pth"
    shutil.copy(model_file, model)
    work = task(model, speech)
    plan(work, 1)
    run_job(work, 1, 8, CPU, 0)
    model.write_bytes(b"another")
    for act in (lambda: run_job(work, 1, 8, CPU, 0), lambda: merge(work)):
        with pytest.raises(LidError, match=r"model.pth: changed since the work was planned"):
            act()


def test_without_embeddings_none_stay_from_before(model_file, speech):
    identify(task(model_file, speech))
    out = identify(task(model_file, speech, extract_embd=False))
    assert {path.name for path in out.iterdir()} >= {"scores.ark", "languages"}
    assert not list(out.glob("*embeddings*"))


def test_more_jobs_than_utterances(model_file, speech):
    for name in ("wav.scp", "utt2lang", "utt2num_samples"):
        write_table(speech / name, list(read_table(speech / name))[:2])
    out = identify(task(model_file, speech), jobs=4)
    assert len(read_table(out / "some_set_lids")) == 2
