"""What the kills are, whom they hit, and which files count as different. Kills themselves take minutes."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from kill_runs import EVERYWHERE, trials
from kills.results import contents, differences
from kills.runs import GROUP, KINDS, UPDATE, Member, part_of


def test_each_kind_and_each_stage_gets_its_share():
    found = Counter((trial.kind, trial.moment) for trial in trials(200, random.Random(1)))
    assert Counter(kind for kind, _ in found.elements()) == dict.fromkeys(KINDS, 20)
    for kind in GROUP:
        assert {moment for other, moment in found if other == kind} == set(EVERYWHERE)
        assert found[kind, UPDATE] in (3, 4)
    assert found["SIGKILL to one job", 3] == found["SIGKILL to one job", 6] == 10


TRAIN, JOB = "python pyscripts/train.py --ngpu 0", "python pyscripts/infer.py job --job 1"


@pytest.mark.parametrize(
    ("processes", "parts"), [(1, ["training", "reading", "reading"]), (2, ["", "training", "reading"])]
)
def test_parts_of_a_run(processes: int, parts: list[str]):
    """Process 2 is the first of the training; with two processes, 3 is one of them and reads through 4."""
    several = processes > 1
    members = [Member(1, 0, "bash ./lid.sh", False), Member(2, 1, TRAIN, False), Member(3, 2, TRAIN, several)]
    members.append(Member(4, 3 if several else 2, TRAIN, several))
    words = [f"bash utils/jobs.sh local JOB=1:2 logs/infer.JOB.log {JOB}"]
    words.append(f"python -m lid_toolkit.jobs local JOB=1:2 logs/infer.JOB.log {JOB}")
    words += ["python -m lid_toolkit.jobs.task logs/.jobs/x 1", JOB]
    members += [Member(5 + number, 4 + number, text, False) for number, text in enumerate(words)]
    assert [part_of(member, members, processes) for member in members] == [
        "",
        *parts,
        "",
        "runner",
        "guard",
        "job",
    ]


def test_files_that_differ_are_named_and_times_are_not_compared(tmp_path):
    found = []
    for name, seconds, text in (("a", 1, "x"), ("b", 2, "y")):
        data = tmp_path / name / "data"
        (data / "logs").mkdir(parents=True)
        (data / "logs" / f"{name}.txt").write_text(name)
        (data / "epochs.jsonl").write_text(f'{{"loss": 1, "seconds": {seconds}}}\n')
        (data / "text").write_text(text)
        (data / name).write_text("")
        found.append(contents(tmp_path / name))
    assert differences(*found) == ["data/a is missing", "data/b is left over", "data/text differs"]
