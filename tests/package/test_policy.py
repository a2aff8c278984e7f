"""A policy beside the model is packed with it, is used by default, and cannot be changed unnoticed."""

from __future__ import annotations

import shutil

import pytest
from package.packed import packed, rewritten, write_experiment

from lid_toolkit.commands.recipe.pack import main
from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import open_with_policy
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.package.files import read_policy


def test_a_policy_is_packed_and_used(tmp_path):
    model = write_experiment(tmp_path / "lid_tiny")
    without = packed(model)
    assert read_policy(without) is None
    assert open_with_policy(without)[1] == open_with_policy(model)[1] == DecisionPolicy()
    policy = DecisionPolicy(min_score=0.25)
    policy.to_yaml(model.parent / "policy.yaml")
    with_policy = packed(model)
    for source in (model, model.parent, with_policy):
        assert open_with_policy(source)[1] == policy

    def edit(content):
        content["policy.yaml"] = b"min_scores: 1\n"

    wrong = rewritten(with_policy, tmp_path / "x.zip", edit)
    with pytest.raises(LidError, match=r"x\.zip: unknown key 'min_scores'"):
        open_with_policy(wrong)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("min_scores: 1\n", r"policy\.yaml: unknown key 'min_scores' \(did you mean 'min_score'"),
        ("min_score: 2\n", r"policy\.yaml: min_score: must be a number of at least 0 and at most 1, not 2"),
        ("candidates: [fin, deu]\n", r"policy\.yaml: languages: the model does not know 'deu'"),
        ("fallback: deu\n", r"policy\.yaml: fallback: the model does not know 'deu'"),
        ("priors: {fin: 0, fra: 0}\ncandidates: [fin, fra]\n", r"policy\.yaml: priors: all candidates"),
        ("- min_score\n", r"policy\.yaml"),
        ("min_score: [\n", r"policy\.yaml"),
        ("base: none.yaml\n", r"none\.yaml: does not exist"),
    ],
)
def test_a_broken_policy_is_refused_before_anything_is_written(model, tmp_path, text, what):
    own = tmp_path / "lid_tiny"
    shutil.copytree(model.parent, own, ignore=shutil.ignore_patterns("*.zip", ".done"))
    (own / "policy.yaml").write_text(text)
    before = sorted(own.rglob("*"))
    words = (
        "--model",
        str(own / model.name),
        "--output",
        str(own / "new" / "x.zip"),
        "--command",
        "./lid.sh",
    )
    for dry_run in ("true", "false"):
        with pytest.raises(LidError, match=what):
            main([*words, "--dry_run", dry_run])
    assert sorted(own.rglob("*")) == before


def test_a_policy_is_packed_with_the_files_that_it_is_based_on(tmp_path):
    model = write_experiment(tmp_path / "lid_tiny")
    (model.parent / "usual.yaml").write_text("min_score: 0.25\nfallback: French\n")
    (model.parent / "policy.yaml").write_text("base: usual.yaml\nmin_margin: 0.5\n")
    package = packed(model)
    expected = DecisionPolicy(min_score=0.25, fallback="French", min_margin=0.5)
    assert open_with_policy(package)[1] == open_with_policy(model)[1] == expected
    (model.parent / "usual.yaml").write_text("min_score: 0.75\n")  # the package is not current any more
    assert open_with_policy(packed(model))[1] == DecisionPolicy(min_score=0.75, min_margin=0.5)
