"""Votes of systems on one set, by hand and beside the votes of ``lid vote`` on single recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from datadir.vectors import write_pairs

from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.identified import NEVER, Identified
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.vote import vote
from lid_toolkit.inference.vote_results import vote_results

FIRST, SECOND = ("de", "fr", "it"), ("fra", "deu", "spa")
POSTERIORS = {
    "a": ((0.9, 0.1, 0.0001), (0.6, 0.3, 0.1)),  # de, fra: fused deu
    "b": ((0.2, 0.7, 0.1), (0.9, 0.05, 0.05)),  # fr, fra
    "c": ((0.1, 0.3, 0.6), (0.8, 0.1, 0.1)),  # it, which the second does not know: fused fra
}


def write_system(
    place: Path, labels: tuple[str, ...], posteriors: dict[str, tuple[float, ...]], failed: dict[str, str]
) -> Path:
    """Write the results of a system; its answers are the most probable labels."""
    place.mkdir(parents=True)
    answers = {key: labels[int(np.argmax(values))] for key, values in posteriors.items()}
    write_table(place / f"{place.name}_lids", answers.items())
    write_table(place / "failed", failed.items())
    (place / "languages").write_text("".join(f"{label}\n" for label in labels))
    pairs = {key: np.log(values) for key, values in posteriors.items()}.items()
    write_pairs(place / "scores.ark", place / "scores.scp", pairs)
    return place


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    """Return two systems with other labels in another order; the second failed at one utterance."""
    one = {key: pair[0] for key, pair in POSTERIORS.items()} | {"d": (0.8, 0.1, 0.1)}
    other = {key: pair[1] for key, pair in POSTERIORS.items()}
    return [
        write_system(tmp_path / "one" / "x", FIRST, one, {}),
        write_system(tmp_path / "other" / "x", SECOND, other, {"d": "broken"}),
    ]


def test_fused_answers_are_those_of_lid_vote(both: list[Path], tmp_path: Path):
    vote_results(both, tmp_path / "all" / "x")
    found = Identified.read(tmp_path / "all" / "x")
    assert dict(found.answers) == {"a": "de", "b": "fr", "c": "fr"}
    assert dict(found.failed) == {"d": "broken"}
    assert found.languages == ("de", "fr")
    keys, scores_uc = found.scores()
    for key, scores_c in zip(keys, scores_uc, strict=True):
        records = {
            name: Prediction("ok", scores=dict(zip(labels, values, strict=True)), duration=1.0)
            for name, labels, values in zip("AB", (FIRST, SECOND), POSTERIORS[key], strict=True)
        }
        single = vote(records, decider(DecisionPolicy(), ("deu", "fra")), "fuse").answer
        expected = [single.scores["deu"], single.scores["fra"]]
        assert np.exp(scores_c) == pytest.approx(expected, rel=1e-5)


def test_there_is_no_answer_where_the_systems_disagree(both: list[Path], tmp_path: Path):
    vote_results(both, tmp_path / "all" / "x", "agree")
    found = Identified.read(tmp_path / "all" / "x")
    assert dict(found.answers) == {"b": "fr"}
    assert dict(found.failed) == {"d": "broken"}
    assert dict(found.abstained) == {
        "a": "the models disagree: deu, fra",
        "c": "the models disagree: ita, fra",
    }
    assert found.scores()[0] == ["b"]


def test_a_vote_on_votes_keeps_what_they_left_without_an_answer(both: list[Path], tmp_path: Path):
    vote_results(both, tmp_path / "agree" / "x", "agree")
    vote_results([both[0], tmp_path / "agree" / "x"], tmp_path / "again" / "x")
    found = Identified.read(tmp_path / "again" / "x")
    assert [*found.answers.keys()] == ["b"]
    assert [*found.abstained.keys()] == ["a", "c"]
    assert dict(found.failed) == {"d": "broken"}


def test_a_system_that_knows_all_languages_decides_where_another_lacks_some(tmp_path: Path):
    one = write_system(tmp_path / "one" / "x", ("de", "fr", "it"), {"a": (0.2, 0.3, 0.5)}, {})
    other = write_system(tmp_path / "other" / "x", ("fra", "deu"), {"a": (0.1, 0.9)}, {})
    vote_results([other, one], tmp_path / "all" / "x")
    found = Identified.read(tmp_path / "all" / "x")
    assert found.languages == ("deu", "fra", "it")
    known_c = np.sqrt([0.9 * 0.2, 0.1 * 0.3])
    expected_c = [*(0.5 * known_c / known_c.sum()), 0.5]
    assert np.exp(found.scores()[1]) == pytest.approx(np.array([expected_c]), rel=1e-5)
    assert dict(found.answers) == {"a": "it"}


def test_a_fold_that_was_not_trained_with_a_language_does_not_rule_it_out(tmp_path: Path):
    """Joined folds have ``NEVER`` for a language that the fold's model does not know."""
    posteriors = (0.2, 0.3, 0.5)
    one = write_system(tmp_path / "one" / "x", ("de", "fr", "it"), {"a": posteriors, "b": posteriors}, {})
    tiny = float(np.exp(NEVER))
    folds = {"a": (0.9, 0.1, tiny), "b": (0.8, 0.1, 0.1)}
    other = write_system(tmp_path / "other" / "x", ("de", "fr", "it"), folds, {})
    vote_results([one, other], tmp_path / "all" / "x")
    scores_uc = np.exp(Identified.read(tmp_path / "all" / "x").scores()[1])
    two_c = np.sqrt([0.9 * 0.2, 0.1 * 0.3])
    three_c = np.sqrt(np.multiply(posteriors, folds["b"]))
    expected_uc = [[*(0.5 * two_c / two_c.sum()), 0.5], three_c / three_c.sum()]
    assert scores_uc == pytest.approx(np.stack(expected_uc), rel=1e-5)


def test_no_common_answer_at_all(tmp_path: Path):
    one = write_system(tmp_path / "one" / "x", FIRST, {"a": (0.8, 0.1, 0.1)}, {})
    other = write_system(tmp_path / "other" / "x", FIRST, {"a": (0.1, 0.8, 0.1)}, {})
    vote_results([one, other], tmp_path / "all" / "x", "agree")
    assert len(Identified.read(tmp_path / "all" / "x").answers) == 0


def test_posteriors_of_labels_with_one_code_are_added(tmp_path: Path):
    one = write_system(tmp_path / "one" / "x", ("de", "deu", "fr"), {"a": (0.3, 0.3, 0.4)}, {})
    other = write_system(tmp_path / "other" / "x", ("de", "fr"), {"a": (0.5, 0.5)}, {})
    vote_results([one, other], tmp_path / "all" / "x")
    _, scores_uc = Identified.read(tmp_path / "all" / "x").scores()
    ratio = np.sqrt(0.6 / 0.4)
    assert np.exp(scores_uc) == pytest.approx(np.array([[ratio / (1 + ratio), 1 / (1 + ratio)]]), rel=1e-5)
    assert dict(read_table(tmp_path / "all" / "x" / "x_lids")) == {"a": "de"}


def test_it_is_done_again_only_when_a_system_or_the_rule_changes(both: list[Path], tmp_path: Path):
    out = ("--output_dir", tmp_path / "all" / "x")
    assert (
        "to do (not done yet)"
        in call("lid_toolkit.commands.vote_results", *both, *out, "--dry_run", "true").stderr
    )
    assert not (tmp_path / "all").exists()
    assert call("lid_toolkit.commands.vote_results", *both, *out).returncode == 0
    assert "current, skipped" in call("lid_toolkit.commands.vote_results", *both, *out).stderr
    assert "rule changed" in call("lid_toolkit.commands.vote_results", *both, *out, "--rule", "agree").stderr


def test_what_does_not_fit_together_is_refused(both: list[Path], tmp_path: Path):
    out = tmp_path / "all" / "x"
    with pytest.raises(LidError, match="1 system: a vote needs two or more"):
        vote_results(both[:1], out)
    other = write_system(tmp_path / "third" / "x", SECOND, {"z": (0.6, 0.3, 0.1)}, {})
    with pytest.raises(LidError, match="different sets: only one of them has 'a'"):
        vote_results([both[0], other], out)
    strange = write_system(tmp_path / "fourth" / "x", ("spa", "fra"), {"a": (0.6, 0.4)}, {})
    alike = write_system(tmp_path / "fifth" / "x", FIRST, {"a": (0.8, 0.1, 0.1)}, {})
    with pytest.raises(LidError, match="1 languages in common"):
        vote_results([alike, strange], out)
    assert not out.exists()
