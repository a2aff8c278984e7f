"""Messages while jobs run."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from lid_toolkit.jobs import log
from lid_toolkit.jobs.array import make_array, parse_call
from lid_toolkit.jobs.log import keep_old, write_head


def test_progress_shows_the_last_line_of_running_jobs_at_growing_intervals(tmp_path: Path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    array = make_array(parse_call(["JOB=1:3", f"{tmp_path}/x.JOB.log", "true"]))
    (tmp_path / "x.2.log").write_text("# Running on here\nformat: 5/10 utt\nformat: 9/10 utt\n")
    stream = io.StringIO()
    progress = log.ProgressReport(array, stream)
    shown_at = []
    for second in range(300):
        clock[0] = float(second)
        before = stream.tell()
        progress.show([2, 3], ended=1, waiting="4 wait (Resources)")
        if stream.tell() > before:
            shown_at.append(second)
    assert shown_at == [10, 30, 70, 130, 190, 250]
    assert stream.getvalue().startswith(
        "x: 1 of 3 jobs done, 4 wait (Resources)\n  job 2: format: 9/10 utt\nx:"
    )


def test_progress_of_a_single_command_tells_its_whole_log_once(tmp_path: Path):
    array = make_array(parse_call([f"{tmp_path}/x.log", "true"]))
    stream = io.StringIO()
    progress = log.ProgressReport(array, stream)
    with open(tmp_path / "x.log", "w") as written:
        for text in ("# Running on here\n", "epoch 1\nepo", "ch 2\n", "error: reported last\n# Ended"):
            written.write(text)
            written.flush()
            progress.show([1], ended=0)
    assert stream.getvalue() == "epoch 1\nepoch 2\n"


def test_command_at_the_head_of_a_log_can_be_pasted(tmp_path: Path):
    words = ["train", "--name", "it's a b", "$HOME", "*", ""]
    array = make_array(parse_call([f"{tmp_path}/x.log", *words]))
    log.write_head(array, 1).close()
    assert shlex.split((tmp_path / "x.log").read_text().splitlines()[-1].removeprefix("# ")) == words


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (-9, "ended by signal 9 (SIGKILL)"),
        (-40, "ended by signal 40"),  # real-time signals lie between SIGRTMIN, 34, and SIGRTMAX, 64
        (3, "exit code 3"),
    ],
)
def test_end_by_any_signal_is_told(exit_code: int, reason: str):
    assert log.JobOutcome(1, exit_code, "", seconds=1.0, peak_bytes=0).reason == reason


def test_logs_of_earlier_runs_are_numbered(tmp_path):
    log = tmp_path / "train.log"
    keep_old(log)
    for text in ("first", "second", "third"):
        keep_old(log)
        log.write_text(text)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "train.log.1": "first",
        "train.log.2": "second",
        "train.log": "third",
    }


def test_a_job_that_is_started_again_keeps_its_log(tmp_path):
    array = make_array(parse_call([f"{tmp_path}/x.log", "true"]))
    for text in (b"first", b"second"):
        with write_head(array, 1) as log:
            log.write(text)
    assert (tmp_path / "x.log.1").read_bytes().endswith(b"first")
    assert (tmp_path / "x.log").read_bytes().endswith(b"second")
