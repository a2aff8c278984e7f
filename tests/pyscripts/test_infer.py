"""Stage 6: plan, job, merge."""

from __future__ import annotations

import pytest
from commands import call
from data.corpus import LANGUAGES, RATE, write_set
from training.experiment import CONFIG

from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.config import parse_config


@pytest.fixture
def words(tmp_path):
    description = parse_config(CONFIG, "test").model_description()
    model = build_model(description, len(LANGUAGES))
    save_model(tmp_path / "model.pth", model.state_dict(), description, LANGUAGES, RATE)
    speech = write_set(tmp_path / "sét", 6)
    return [
        *("--model", str(tmp_path / "model.pth"), "--data_dir", str(speech)),
        *("--output_dir", str(tmp_path / "out" / "sét"), "--num_jobs", "2"),
    ]


def run(action, words, *more):
    done = call("infer", action, *words, *more)
    return done.returncode, done.stdout, done.stderr


def test_plan_jobs_merge_and_nothing_to_do_afterwards(words, tmp_path):
    assert run("plan", words)[:2] == (0, "1\n")
    assert run("plan", words, "--dry_run", "true")[:2] == (0, "0\n")
    assert run("job", words, "--job", "1")[0] == 0
    assert run("merge", words)[0] == 0
    assert len(read_table(tmp_path / "out" / "sét" / "sét_lids")) == 6
    assert run("plan", words)[:2] == (0, "0\n")
    code, _, messages = run("merge", words, "--max_failed", "2")
    assert code == 2
    assert "'2' is not a number from 0 to 1" in messages


def test_a_job_that_did_not_run_is_named(words):
    run("plan", words)
    code, _, messages = run("merge", words)
    assert code == 2
    assert "part 1: not done yet (run the jobs again)" in messages.splitlines()[-1]


def test_espnets_files_are_made_from_earlier_embeddings_and_removed_with_them(words, tmp_path):
    out = tmp_path / "out" / "sét"
    for action in ("plan", "job", "merge"):
        assert run(action, words)[0] == 0
    computed = (out / "embeddings.ark").stat().st_mtime_ns
    names = [f"sét_{name}.npz" for name in ("lang_to_avg_embd", "lang_to_embds", "utt_embds")]
    assert run("plan", words, "--espnet_files", "true", "--dry_run", "true")[:2] == (0, "0\n")
    assert list(out.glob("*.npz")) == []
    assert run("plan", words, "--espnet_files", "true")[:2] == (0, "0\n")
    assert sorted(path.name for path in out.glob("*.npz")) == names
    assert (out / "embeddings.ark").stat().st_mtime_ns == computed
    for action in ("plan", "job", "merge"):  # the record of the plan has another max_failed
        assert run(action, words, "--max_failed", "0.5")[0] == 0
    assert list(out.glob("*.npz")) == []
    for action in ("plan", "job", "merge"):
        assert run(action, words, "--espnet_files", "true")[0] == 0
    assert sorted(path.name for path in out.glob("*.npz")) == names
