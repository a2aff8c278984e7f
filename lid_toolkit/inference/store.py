"""Store a policy with a model."""

from __future__ import annotations

from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import locate
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.package.format import POLICY
from lid_toolkit.package.policy import replace_policy


def store_policy(source: str | Path, policy: DecisionPolicy) -> Path:
    """Store a policy with a model: beside its file, or in a packed model. Return the file that changed.

    Args:
        source: as in :func:`open_model`.
        policy: what :func:`policy_of` will return.

    Raises:
        LidError: the model does not exist on this machine, or is a damaged packed model.
    """
    if not Path(source).exists():
        what = "nothing can be stored with it: it is not on this machine"
        raise LidError(
            what, where=source, mend="write a policy file instead (lid calibrate --output), and use it"
        )
    path, kind, _ = locate(source, None, ())
    if kind == "packed model":
        replace_policy(path, policy.to_mapping())
        return path
    beside = (path if path.is_dir() else path.parent) / POLICY
    policy.to_yaml(beside)
    return beside
