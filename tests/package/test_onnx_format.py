"""What an exported file says about itself: written, read, and refused where it is not valid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.package.onnx_format import CENTRES, RECORD, Cosines, OnnxRecord

CENTRES_SD = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
FILE = Path("model.onnx")


def record(**changes) -> OnnxRecord:
    values = {
        "toolkit": "1.0",
        "languages": ("eng", "fra"),
        "rate": 16000,
        "embedding_size": 2,
        "numbers": "float32",
        "policy": {"min_seconds": 0.5},
        "licence": "mit",
        "pretrained": ("openai/whisper-base",),
        "model": "abc",
        "cosines": Cosines(10.0, CENTRES_SD, 2),
    }
    return OnnxRecord(**{**values, **changes})


def test_what_is_written_is_read():
    read = OnnxRecord.from_metadata(record().to_metadata(), FILE)
    assert read.cosines is not None
    assert np.array_equal(read.cosines.centres_sd, CENTRES_SD)
    plain = {name: value for name, value in vars(record()).items() if name != "cosines"}
    assert {name: getattr(read, name) for name in plain} == plain
    assert OnnxRecord.from_metadata(record(cosines=None).to_metadata(), FILE).cosines is None


def test_cosines_are_those_of_the_nearest_centre():
    """By hand: for the embedding (0.6, 0.8), the nearest centres have cosines 0.8 and 1."""
    scores = Cosines(10.0, CENTRES_SD, 2).log_posteriors(np.array([[3.0, 4.0]], np.float32))
    expected = np.array([8.0, 10.0]) - np.log(np.exp(8.0) + np.exp(10.0))
    assert np.allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2 of exported models is not supported"),
        ({"languages": ["eng"]}, "the model has 1 languages"),
        ({"languages": ["eng", "eng"]}, "label 'eng' occurs twice"),
        ({"languages": ["eng", "f r a"]}, "'f r a' is not a label"),
        ({"rate": 0}, "a sampling rate of 0 is not supported"),
        ({"rate": "x"}, "a sampling rate of 'x' is not supported"),
        ({"scale": "much"}, "its metadata are damaged"),
        ({"embedding_size": 3}, "its metadata are damaged"),
        ({"more": 1}, "its metadata are damaged"),
    ],
)
def test_values_that_are_not_valid_are_refused(changes, message):
    metadata = record().to_metadata()
    metadata[RECORD] = json.dumps({**json.loads(metadata[RECORD]), **changes})
    with pytest.raises(LidError, match=message):
        OnnxRecord.from_metadata(metadata, FILE)


def test_damaged_metadata_and_other_files_are_refused():
    with pytest.raises(LidError, match="an ONNX file of another origin"):
        OnnxRecord.from_metadata({}, FILE)
    for damaged in ("[1, 2]", "{", '"text"', "{}"):
        with pytest.raises(LidError, match=r"damaged|not supported"):
            OnnxRecord.from_metadata({RECORD: damaged}, FILE)
    for centres in ("!", "AAAA", ""):
        with pytest.raises(LidError, match="its metadata are damaged"):
            OnnxRecord.from_metadata({**record().to_metadata(), CENTRES: centres}, FILE)
