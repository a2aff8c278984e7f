"""The policy of a model: in its package, or in the file ``policy.yaml`` beside it. PyTorch is not needed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.package.files import read_policy
from lid_toolkit.package.format import POLICY


def policy_packed(package: Path) -> DecisionPolicy:
    """Return the policy of a packed model; the default one if it has none.

    Raises:
        LidError: it is not a packed model, is damaged, or its policy is not valid.
    """
    content = read_policy(package)
    return DecisionPolicy() if content is None else DecisionPolicy.from_mapping(content, package)


def policy_beside(path: Path, model: str | None) -> DecisionPolicy:
    """Return the policy beside a model, without the calibration of another model; the default one if none.

    Args:
        path: the model file, or the directory.
        model: digest of the model file; None if there is none, and any calibration is used.

    Raises:
        LidError: the policy is not valid.
    """
    beside = (path if path.is_dir() else path.parent) / POLICY
    policy = DecisionPolicy.from_yaml(beside) if beside.is_file() else DecisionPolicy()
    if model is not None and policy.calibration.model not in (None, model):
        logging.warning("%s: the calibration is not used: it is that of another model than %s", beside, path)
        return replace(policy, calibration=Calibration())
    return policy
