"""The options of a decision policy that several subcommands have in common."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from lid_toolkit.cli import OptionParser, fraction, names, non_negative, probabilities
from lid_toolkit.inference.policy import DecisionPolicy

LIMITS = ("min_seconds", "min_speech_seconds", "min_score", "min_margin", "fallback")


def add_policy(parser: OptionParser) -> None:
    """Add the options; those that are given replace the values of ``--policy``."""
    group = parser.add_argument_group("decisions")
    group.add_argument(
        "--policy", type=Path, help="YAML file with the keys of a policy; the following options replace them"
    )
    group.add_argument(
        "--languages",
        type=names,
        metavar="LIST",
        help="languages to choose from, by code or name, separated by commas: eng,French,de",
    )
    group.add_argument(
        "--prior",
        type=probabilities,
        metavar="LIST",
        help="probabilities of languages where the model is used: eng=0.7,fra=0.3",
    )
    group.add_argument("--fallback", help="language to answer instead of unknown")
    group.add_argument(
        "--min_seconds", type=non_negative, help="shorter recordings are too_short (0.3 without a policy)"
    )
    group.add_argument(
        "--min_speech_seconds",
        type=non_negative,
        help="recordings with less speech are no_speech (0.2 without a policy)",
    )
    group.add_argument("--min_score", type=fraction, help="recordings with a lower score are unknown")
    group.add_argument("--min_margin", type=fraction, help="recordings with a smaller margin are unknown")


def chosen_policy(options: argparse.Namespace, otherwise: DecisionPolicy) -> DecisionPolicy:
    """Return the policy that :func:`add_policy`'s options describe.

    Args:
        options: the parsed options.
        otherwise: the policy without ``--policy``: the model's.

    Raises:
        LidError: the file or a value is not valid.
    """
    policy = otherwise if options.policy is None else DecisionPolicy.from_yaml(options.policy)
    given: dict[str, Any] = {name: getattr(options, name) for name in LIMITS}
    given |= {"candidates": options.languages, "priors": options.prior}
    return replace(policy, **{name: value for name, value in given.items() if value is not None})
