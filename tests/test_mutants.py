"""The table of mutations fits the code, and the command tells what is noticed from what is not."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import mutants
import pytest
import yaml

MUTATIONS = mutants.read_mutations(mutants.ROOT)
CODE = "def limit():\n    return 3\n\n\ndef unit():\n    return 'hours'\n"
TESTS = "from code_under_test import limit\n\n\ndef test_limit():\n    assert limit() == 3\n"
FAILED = "FAILED test_code.py::test_limit - assert 4 == 3\n1 failed in 0.01s\n"


@pytest.mark.parametrize("area", sorted({mutation.area for mutation in MUTATIONS}))
def test_every_mutation_can_still_be_made(area):
    """If this fails, the code was changed: change the mutation's old and new text in tests/mutations too."""
    own = [mutation for mutation in MUTATIONS if mutation.area == area]
    assert {one.name: fault for one in own if (fault := one.fault(mutants.ROOT))} == {}


def test_names_are_unique_and_the_texts_differ():
    names = Counter(
        [mutation.name for mutation in MUTATIONS] + list({mutation.area for mutation in MUTATIONS})
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert [mutation.name for mutation in MUTATIONS if mutation.old == mutation.new] == []
    assert len(MUTATIONS) >= 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tree with code, a test that sees half of it, and five mutations."""
    (tmp_path / "code_under_test.py").write_text(CODE)
    for name in ("test_code.py", "test_broken.py", "test_endless.py"):
        (tmp_path / name).write_text(TESTS)
    changes = {
        "another-limit": ("return 3", "return 4", "test_code.py"),
        "another-unit": ("'hours'", "'days'", "test_code.py"),
        "broken": ("return 3", "return 4", "test_broken.py"),
        "endless": ("return 3", "return 4", "test_endless.py"),
        "stale": ("return 5", "return 6", "test_code.py"),
    }
    rows = [
        {"name": name, "why": "a fault", "file": "code_under_test.py", "old": old, "new": new, "tests": tests}
        for name, (old, new, tests) in changes.items()
    ]
    (tmp_path / mutants.TABLES).mkdir(parents=True)
    (tmp_path / mutants.TABLES / "small.yaml").write_text(yaml.safe_dump(rows))
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "large.log").write_text("x")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def no_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the tests as pytest would end them, without starting it."""

    def run(tree: mutants.Tree, tests: str, _limit_s: float) -> tuple[int, str, float]:
        assert not (tree.place / "large.log").exists()
        changed = "return 4" in (tree.place / "code_under_test.py").read_text()
        if tests == "test_broken.py":
            return 2, f"ERROR {tests}\n", 0.1
        if tests == "test_endless.py" and changed:
            return mutants.TIMED_OUT, "", 60.0
        return (1, FAILED, 0.1) if changed else (0, "1 passed in 0.01s\n", 0.1)

    monkeypatch.setattr(mutants.Tree, "run", run)


@pytest.mark.usefixtures("no_pytest")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_survived_and_what_does_not_apply(project, capsys, jobs):
    assert mutants.main(["--jobs", jobs], project) == 1
    assert sorted(capsys.readouterr().out.splitlines()[:-4]) == [
        "small/another-limit: killed (0 s): test_code.py::test_limit",
        "small/another-unit: survived (0 s): a fault",
        "small/broken: does not apply (0 s): without the mutation: test_broken.py",
        "small/endless: killed (60 s): took too long",
    ]


@pytest.mark.usefixtures("no_pytest")
def test_the_end_names_what_was_not_noticed(project, capsys):
    mutants.main([], project)
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "does not apply: small/stale: the old text occurs 0 times in code_under_test.py",
        "does not apply: small/broken: without the mutation: test_broken.py",
        "survived: small/another-unit: a fault",
        "5 mutations: 2 killed, 1 survived, 2 do not apply",
    ]


@pytest.mark.usefixtures("no_pytest")
def test_the_chosen_ones_alone(project, capsys):
    assert mutants.main(["another-limit"], project) == 0
    assert capsys.readouterr().out.endswith("1 mutation: 1 killed, 0 survived, 0 do not apply\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nope"], "nope: there is no such mutation or area"), (["-j", "0"], "--jobs must be at least 1")],
)
def test_wrong_options_are_one_line(project, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        mutants.main(words, project)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_change_is_made_in_a_copy_and_undone(project, tmp_path_factory):
    tree = mutants.Tree(project, tmp_path_factory.mktemp("copy"))
    (mutation,) = mutants.chosen(mutants.read_mutations(project), ["another-limit"])
    path = tree.place / "code_under_test.py"
    with tree.changed_by(mutation):
        assert path.read_text() == CODE.replace("3", "4")
    assert path.read_text() == (project / "code_under_test.py").read_text() == CODE
