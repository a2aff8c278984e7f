"""Work in parts: who does which, what is done again, and what a merge refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked
from lid_toolkit.parts import (
    MOST_PARTS,
    RowsPart,
    check_failures,
    check_finished,
    do_parts,
    part_bounds,
    parts_to_do,
)


@pytest.fixture
def parts(tmp_path: Path) -> list[RowsPart]:
    """Five parts of two utterances each, none of them done."""
    return [RowsPart(number, np.arange(2), tmp_path, {"dither": 0}) for number in range(1, 6)]


def run(parts: list[RowsPart], job: int, num_jobs: int) -> list[int]:
    """Run a job; return the numbers of the parts it did."""
    done: list[int] = []

    def do(part: RowsPart, _progress: object) -> list[Path]:
        done.append(part.number)
        part.file("txt").write_text("made")
        return [part.file("txt")]

    with parts_to_do(parts[0].directory, parts, job, num_jobs, "making") as todo:
        do_parts("make", todo, do)
    return done


def test_jobs_take_turns_and_do_every_part_once(parts):
    assert [run(parts, job, 2) for job in (1, 2)] == [[1, 3, 5], [2, 4]]
    check_finished(parts, parts[0].directory)


def test_a_job_with_another_number_of_jobs_does_only_what_is_missing(parts):
    assert run(parts, 2, 2) == [2, 4]
    assert run(parts, 1, 1) == [1, 3, 5]
    parts[3].file("txt").unlink()
    assert run(parts, 1, 1) == [4]
    with parts_to_do(parts[0].directory, parts, 1, 1, "making") as todo:
        assert todo == []


def test_there_are_as_many_jobs_as_planned(parts):
    for job in (0, 3):
        with (
            pytest.raises(LidError, match=rf"job {job}: there are only 2 jobs"),
            parts_to_do(Path(), parts, job, 2, ""),
        ):
            pass


def test_a_job_is_done_by_one_process_at_a_time(parts, tmp_path):
    with locked(tmp_path / "job.2", "the other one"):
        with pytest.raises(LidError, match="in use: the other one"):
            run(parts, 2, 2)
        assert run(parts, 1, 2) == [1, 3, 5]


def test_a_merge_names_the_part_that_is_not_done(parts, tmp_path):
    run(parts, 1, 2)
    with pytest.raises(LidError, match="part 2: not done yet"):
        check_finished(parts, tmp_path)


@pytest.mark.parametrize(("failed", "refused"), [(0, False), (1, False), (2, False), (3, True)])
def test_as_many_failures_as_allowed_and_not_one_more(parts, tmp_path, failed, refused):
    run(parts, 1, 1)
    rows = [(f"utt{number}", "truncated") for number in range(failed)]

    def check() -> None:
        check_failures(rows, failed, 10, 0.2, tmp_path / "failed", lambda: [parts[1]])

    if not refused:
        check()
        check_finished(parts, tmp_path)
        return
    with pytest.raises(LidError, match=r"3 of 10 utterances failed, more than max_failed \(0.2\) allows"):
        check()
    assert [part.number for part in parts if part.step.reason()] == [2]
    assert run(parts, 1, 1) == [2]


def test_bounds_by_hand():
    assert part_bounds(150, 64, 64).tolist() == [0, 64, 128, 150]
    assert part_bounds(150, 64).tolist() == [0, 50, 100, 150]
    assert part_bounds(64, 64, 64).tolist() == [0, 64]


def test_a_large_set_has_no_more_parts_than_allowed():
    count = MOST_PARTS * 100 + 1
    for multiple in (1, 64):
        sizes = np.diff(part_bounds(count, 10, multiple))
        assert len(sizes) <= MOST_PARTS
        assert sizes.sum() == count
        assert not (sizes[:-1] % multiple).any()


def test_a_part_is_stale_when_an_option_changes(parts):
    run(parts, 1, 1)
    changed = RowsPart(1, parts[0].rows_p, parts[0].directory, {"dither": 1})
    assert changed.step.reason() == "dither changed from 0 to 1"
    assert json.loads(changed.file("json").read_text())["options"] == {"dither": 0}
