"""A policy beside the model is packed with it, is used by default, and cannot be changed unnoticed."""

from __future__ import annotations

import pytest
from package.packed import packed, rewritten, write_experiment

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import open_with_policy
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.package.read import read_policy


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
