"""Features on disk: references, crops, and what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lid_toolkit.data.features import check_made_by, read_description, read_features, reference
from lid_toolkit.errors import LidError


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "1.npy"
    rows = np.arange(40, dtype=np.float16).reshape(20, 2)
    np.save(path, rows)
    return path, rows


def test_an_utterances_rows_and_crops_of_them(matrix):
    path, rows = matrix
    ref = reference(path, 5, 12)
    assert np.array_equal(read_features(ref), rows[5:12])
    assert np.array_equal(read_features(ref, 2, 4), rows[7:9])
    assert np.array_equal(read_features(ref, 3), rows[8:12])
    assert np.array_equal(read_features(ref, 6, 99), rows[11:12])
    assert np.array_equal(read_features(ref, 7, 8), rows[11:12])


@pytest.mark.parametrize("tail", ["", "[5:21]", "[5:5]", "[5]", ":5"])
def test_rows_that_are_not_there(matrix, tail):
    with pytest.raises(LidError, match="extract"):
        read_features(f"{matrix[0]}{tail}")


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY garbage"])
def test_files_that_are_no_features(tmp_path, content):
    path = tmp_path / "1.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LidError, match=r"1\.npy"):
        read_features(f"{path}[0:2]")


def test_another_front_end_is_refused(tmp_path):
    description = {"frontend": "transformers", "frontend_conf": {"path_or_url": "a", "layers": [1, 2]}}
    check_made_by(tmp_path, description)  # a set of audio
    assert read_description(tmp_path) is None
    (tmp_path / "features.json").write_text(json.dumps({**description, "hop_length": 320}))
    check_made_by(tmp_path, description)
    with pytest.raises(LidError, match="another frontend_conf"):
        check_made_by(tmp_path, {**description, "frontend_conf": {"path_or_url": "a", "layers": [1]}})
    (tmp_path / "features.json").write_text("{")
    with pytest.raises(LidError, match="damaged"):
        read_description(tmp_path)
