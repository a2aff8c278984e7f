"""Crops are identified by stage 6's machinery, as if they had been cut from the recordings."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from data.corpus import RATE
from inference.test_directory import CPU, identify, small_parts  # noqa: F401
from inference.test_directory import task as whole_task

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.data.utterances import crops_of, load_unlabelled
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.crops import crop_begins
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference import job as job_module
from lid_toolkit.inference.identification import plan
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.job import run_job
from lid_toolkit.inference.merge import merge
from lid_toolkit.inference.policy import DecisionPolicy

SIZE = 4000


def task(model_file, speech, out="out", **more):
    return whole_task(model_file, speech, out, extract_embd=False, crop_seconds=SIZE / RATE, **more)


def test_crops_say_what_the_same_samples_say_alone(model_file, speech):
    out = identify(task(model_file, speech), jobs=2)
    refs, lengths = read_table(speech / "wav.scp"), read_table(speech / "utt2num_samples").integers()
    long = refs.select(np.flatnonzero(lengths >= SIZE))
    keys, scores = read_vectors(out / "scores.scp")
    assert keys == tuple(long.keys())
    assert 3 < len(keys) < len(refs)
    begins = crop_begins(keys, lengths[lengths >= SIZE], SIZE)
    assert begins.max() > 0
    waves = [
        read_audio(ref)[0][begin : begin + SIZE]
        for ref, begin in zip(long.values(), begins.tolist(), strict=True)
    ]
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    records = lid.identify(waves, vad="none", policy=DecisionPolicy(min_seconds=0))
    assert list(read_table(out / "some_set_lids").values()) == [record.language for record in records]
    expected = [[record.scores[label] for label in lid.languages] for record in records]
    np.testing.assert_allclose(np.exp(scores), expected, atol=1e-5)


def test_a_killed_job_goes_on_where_it_was_and_a_finished_one_is_not_repeated(
    model_file, speech, monkeypatch
):
    expected = (identify(task(model_file, speech, "one")) / "some_set_lids").read_text()
    work, done = task(model_file, speech, "two"), []
    do_part = job_module._do_part

    def killed(_, part, *others):
        if len(done) == 1:
            raise KeyboardInterrupt
        do_part(_, part, *others)
        done.append(part.number)

    monkeypatch.setattr(job_module, "_do_part", killed)
    plan(work, 1)
    with pytest.raises(KeyboardInterrupt):
        run_job(work, 1, 8, CPU, 0)
    again = []
    monkeypatch.setattr(
        job_module,
        "_do_part",
        lambda _, part, *others: (again.append(part.number), do_part(_, part, *others)),
    )
    run_job(work, plan(work, 1), 8, CPU, 0)
    assert not set(done) & set(again)
    merge(work)
    assert (work.output_dir / "some_set_lids").read_text() == expected
    assert plan(work, 1) == 0


def test_crops_of_another_duration_in_the_same_place_are_done_again(model_file, speech):
    identify(task(model_file, speech))
    other = whole_task(model_file, speech, extract_embd=False, crop_seconds=0.5)
    assert plan(other, 1) == 1
    assert plan(whole_task(model_file, speech, extract_embd=False), 1) == 1


def test_a_set_without_a_long_utterance_needs_no_job(model_file, speech, caplog):
    caplog.set_level(logging.WARNING)
    work = whole_task(model_file, speech, crop_seconds=100.0)
    assert plan(work, 4) == 0
    assert "some_set: no utterance lasts 100 s" in caplog.text
    assert not (work.output_dir / ".parts" / "plan.json").exists()


def test_features_cannot_be_cropped(speech):
    utterances = replace(load_unlabelled(speech), hop_length=160)
    with pytest.raises(LidError, match="crop_seconds: features cannot be cropped"):
        crops_of(utterances, 1.0, RATE)


def test_selected_crops_keep_their_begins(speech):
    crops = crops_of(load_unlabelled(speech), SIZE / RATE, RATE)
    rows = np.arange(len(crops))[::2]
    assert np.array_equal(crops.select(rows).begins_u, crops.begins_u[rows])
    assert torch.tensor(crops.lengths_u).unique().tolist() == [SIZE]
