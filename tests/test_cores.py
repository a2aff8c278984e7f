"""The cores that a process may use."""

from __future__ import annotations

import math

import pytest

from lid_toolkit.cores import cgroup_quota, count_cores


def test_there_is_a_core():
    assert count_cores() >= 1


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({}, math.inf),
        ({"a/b": "max 100000"}, math.inf),
        ({"a/b": "250000 100000"}, 2.5),
        ({"a": "150000 100000", "a/b": "400000 100000"}, 1.5),
        ({"": "50000 100000"}, 0.5),
    ],
)
def test_the_smallest_quota_above_a_process_applies(tmp_path, limits, quota):
    membership, root = tmp_path / "cgroup", tmp_path / "root"
    membership.write_text("12:pids:/other\n0::/a/b\n")
    (root / "a/b").mkdir(parents=True)
    for group, text in limits.items():
        (root / group / "cpu.max").write_text(f"{text}\n")
    assert cgroup_quota(membership, root) == quota


def test_without_cgroups_there_is_no_quota(tmp_path):
    assert cgroup_quota(tmp_path / "none", tmp_path) == math.inf
