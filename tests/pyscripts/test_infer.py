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
