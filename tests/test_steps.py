"""When a step is current and when it is stale."""

import contextlib
import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from lid_toolkit import steps
from lid_toolkit.errors import LidError
from lid_toolkit.files import temporary_beside
from lid_toolkit.steps import Snapshot, Step, digest


@pytest.fixture
def made(tmp_path):
    """A step that ran, with one input, one option and one output."""
    (tmp_path / "in").write_text("input")
    (tmp_path / "out").write_text("output")
    step = Step("work", tmp_path / "record.json", {"in": tmp_path / "in"}, {"fs": 16000})
    assert step.reason() == "not done yet"
    with step.work("working", lock=tmp_path) as work:
        work.finish([tmp_path / "out"])
    return step


def again(step, **changes):
    """The step as a later run makes it."""
    return Step(
        step.name, step.record, changes.get("inputs", step.inputs), changes.get("options", step.options)
    )


def test_current_after_finish(made):
    assert again(made).reason() == ""
    assert not again(made).due()


def test_stale_when_an_input_changes_though_its_size_does_not(made, tmp_path):
    (tmp_path / "in").write_text("INPUT")
    assert again(made).reason() == "in changed"


def test_stale_when_an_input_vanishes_or_appears(made, tmp_path):
    assert again(made, inputs={}).reason() == "in changed"
    (tmp_path / "in").unlink()
    assert again(made).reason() == "in changed"


def test_stale_when_an_option_changes(made):
    assert again(made, options={"fs": 8000}).reason() == "fs changed from 16000 to 8000"
    assert "new changed" in again(made, options={"fs": 16000, "new": 1}).reason()


def test_an_option_that_did_not_exist_yet_had_its_default(made):
    for value, reason in (("no", ""), ("yes", "crops changed from no to yes")):
        later = dataclasses.replace(made, options={"fs": 16000, "crops": value}, defaults={"crops": "no"})
        assert later.reason() == reason


def test_stale_when_an_output_is_gone_or_touched(made, tmp_path):
    (tmp_path / "out").write_text("longer output")
    assert "out is missing or has changed" in again(made).reason()
    (tmp_path / "out").unlink()
    assert "out is missing or has changed" in again(made).reason()


@pytest.mark.parametrize("later_ns", [-1, 1, 3600 * 10**9])
def test_stale_when_an_output_has_another_time(made, tmp_path, later_ns):
    status = (tmp_path / "out").stat()
    (tmp_path / "out").write_text("OUTPUT")
    os.utime(tmp_path / "out", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert again(made).reason() == ""
    os.utime(tmp_path / "out", ns=(status.st_atime_ns, status.st_mtime_ns + later_ns))
    assert "out is missing or has changed" in again(made).reason()


def test_stale_when_an_output_has_another_size_and_the_same_time(made, tmp_path):
    status = (tmp_path / "out").stat()
    (tmp_path / "out").write_text("")
    os.utime(tmp_path / "out", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "out is missing or has changed" in again(made).reason()


@pytest.mark.parametrize("place", ["elsewhere/copy", "copy"])
def test_a_copied_directory_is_judged_by_its_own_files(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)

    def step(directory):
        return Step("work", directory / ".done" / "work.json", {"in": Path("in")}, {})

    def make(directory):
        with step(directory).work("working", lock=directory) as work:
            (directory / "data").mkdir()
            (directory / "data/out").write_text("output")
            work.finish([directory / "data/out"])

    Path("in").write_text("input")
    make(Path("exp"))
    shutil.copytree("exp", place)
    assert step(Path(place)).reason() == step(tmp_path / place).reason() == ""
    Path(place, "data/out").write_text("damaged")
    assert step(Path(place)).reason() == f"{place}/data/out is missing or has changed"
    assert step(Path("exp")).reason() == ""
    shutil.rmtree("exp")
    assert step(Path(place)).reason() == f"{place}/data/out is missing or has changed"


def test_a_symbolic_link_on_the_way_does_not_mislead(tmp_path):
    (tmp_path / "disk/deep/exp").mkdir(parents=True)
    (tmp_path / "exp").symlink_to(tmp_path / "disk/deep/exp")
    (tmp_path / "out").write_text("output")
    step = Step("work", tmp_path / "exp/.done/work.json", {}, {})
    with step.work("working", lock=tmp_path) as work:
        work.finish([tmp_path / "out"])
    assert step.reason() == ""
    (tmp_path / "out").unlink()
    assert step.reason() == f"{tmp_path}/out is missing or has changed"


def test_a_further_check_counts(made):
    assert dataclasses.replace(made, check=lambda: "a part is damaged").reason() == "a part is damaged"


def test_a_broken_record_counts_as_none(made):
    made.record.write_text('{"version": 1, "opt')
    assert again(made).reason() == "not done yet"
    made.record.write_text(json.dumps({"version": -1}))
    assert again(made).reason() == "recorded by another version"


def test_a_dry_run_is_never_due(made):
    assert not again(made, options={}).due(dry_run=True)
    assert again(made, options={}).due()


def test_what_changes_while_the_step_runs_makes_it_stale(tmp_path):
    (tmp_path / "in").write_text("before")
    step = Step("work", tmp_path / "record", {"in": tmp_path / "in"}, {})
    with step.work("working", lock=tmp_path) as work:
        (tmp_path / "in").write_text("during")
        work.finish([])
    assert again(step).reason() == "in changed"


def test_a_current_step_needs_no_lock(made, tmp_path):
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").mkdir()  # opening it fails, as in a directory that cannot be written to
    with again(made).work("working", lock=tmp_path) as work:
        assert work is None
    (tmp_path / "in").write_text("INPUT")
    with pytest.raises(OSError, match=r"\.lock"), again(made).work("working", lock=tmp_path):
        pass


def test_inputs_are_read_after_the_lock_is_taken_and_not_when_asked_before(tmp_path):
    (tmp_path / "in").write_text("when asked")
    step = Step("work", tmp_path / "record", {"in": tmp_path / "in"}, {})
    assert step.due()
    (tmp_path / "in").write_text("when begun")
    with step.work("working", lock=tmp_path) as work:
        assert work.digests == {"in": digest(tmp_path / "in")}
        with pytest.raises(LidError, match="in use: working"), step.work("again", lock=tmp_path):
            pass
        work.finish([])
    assert again(step).reason() == ""


def test_inputs_that_change_before_the_lock_is_taken_are_used(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def locked_late(*_):
        (tmp_path / "in").write_text("written by who held the lock")
        yield

    (tmp_path / "in").write_text("before")
    monkeypatch.setattr(steps, "locked", locked_late)
    step = Step("work", tmp_path / "record", {"in": tmp_path / "in"}, {})
    with step.work("working", lock=tmp_path) as work:
        assert work.digests == {"in": digest(tmp_path / "in")}
        work.finish([])
    assert again(step).reason() == ""


def test_inputs_of_a_plan_are_not_read_again_and_must_not_have_changed(tmp_path, monkeypatch):
    (tmp_path / "in").write_text("planned")
    step = Step("work", tmp_path / "record", {"in": tmp_path / "in"}, {})
    plan = Snapshot.take(step.inputs)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "digest", lambda path: pytest.fail(f"{path} is read again"))
        with step.work("working", lock=tmp_path, known=plan) as work:
            work.finish([])
    (tmp_path / "in").write_text("changed")
    with (
        pytest.raises(LidError, match="in: changed since the work was planned"),
        step.work("working", lock=tmp_path, known=plan),
    ):
        pass


def test_a_file_that_is_written_while_it_is_read_counts_as_changed(tmp_path, monkeypatch):
    (tmp_path / "in").write_text("before")

    def read_slowly(path):
        found = digest(path)
        path.write_text("written meanwhile")
        return found

    monkeypatch.setattr(steps, "digest", read_slowly)
    snapshot = Snapshot.take({"in": tmp_path / "in"})
    with pytest.raises(LidError, match="changed since"):
        snapshot.check({"in": tmp_path / "in"})


def test_what_another_run_finished_meanwhile_is_not_done_again(made, tmp_path):
    with again(made).work("working", lock=tmp_path) as work:
        assert work is None


def test_work_that_fails_leaves_no_record(tmp_path):
    step = Step("work", tmp_path / "record", {}, {})
    with pytest.raises(ZeroDivisionError), step.work("working", lock=tmp_path):
        _ = 1 / 0
    assert step.reason() == "not done yet"


def test_what_killed_runs_left_of_the_outputs_goes_and_nothing_else(made, tmp_path):
    (tmp_path / "out").unlink()
    for target in ("out", "record.json", "other"):
        temporary_beside(tmp_path / target).write_text("half")
    audio = tmp_path / "data" / "1"
    half = temporary_beside(audio)
    for directory in (audio, half):
        directory.mkdir(parents=True)
        (directory / "a.wav").write_text("")
    with made.work("working", lock=tmp_path) as work:
        (tmp_path / "out").write_text("output")
        work.finish([tmp_path / "out", audio])
    left = [path.name.split("-", 2)[2] for path in tmp_path.rglob(".tmp-*")]
    assert left == ["other"]
    assert (audio / "a.wav").exists()
    assert again(made).reason() == ""


def test_outputs_of_an_older_version_of_the_code_are_out_of_date(made):
    newer = dataclasses.replace(made, version=2)
    assert newer.reason() == "made by another version of the code"
    with newer.work("working", lock=None) as work:
        work.finish([])
    assert newer.reason() == ""
    assert made.reason() == "made by another version of the code"


def test_digest_is_of_the_content(tmp_path):
    assert digest(tmp_path / "none") is None
    (tmp_path / "a").write_text("x" * 3_000_000)
    (tmp_path / "b").write_text("x" * 3_000_000)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    (tmp_path / "b").write_text("x" * 2_999_999 + "y")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")
