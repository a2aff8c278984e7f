"""Accuracy against seconds, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from datadir.vectors import write_pairs
from evaluation.test_decided import of
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.curve_pictures import crops_picture
from lid_toolkit.evaluation.duration_curve import CropPoint, DurationCurve
from lid_toolkit.evaluation.intervals import Estimate, wilson
from lid_toolkit.evaluation.proportions import Proportion, clustered_proportion
from lid_toolkit.evaluation.score import Counting, score
from lid_toolkit.inference.policy import DecisionPolicy

TRUTH = {"a": "deu", "b": "deu", "c": "fra", "d": "fra", "e": "xho"}
SECONDS = {"a": 2.5, "b": 1.0, "c": 6.0, "d": 6.0, "e": 6.0}
LABELS = ("deu", "fra", "nld")
CROPS = {  # seconds -> answers; None: failed
    1: {"a": "fra", "b": "deu", "c": "deu", "d": None, "e": "deu"},
    2: {"a": "deu", "c": "fra", "d": "deu", "e": "deu"},
    5: {"c": "fra", "d": "fra", "e": "deu"},
}


@pytest.fixture
def made(tmp_path: Path) -> WrittenSet:
    """Five utterances, one in an unknown language, with crops of 1, 2 and 5 s."""
    made = write_set(tmp_path, TRUTH, TRUTH | {"b": "fra", "e": "deu"}, LABELS, {})
    write_table(made.data_dir / "utt2num_samples", [(k, str(int(16000 * s))) for k, s in SECONDS.items()])
    for seconds, answers in CROPS.items():
        folder = made.inference_dir / "crops" / f"{seconds}s"
        given = {key: label for key, label in answers.items() if label}
        write_table(folder / f"{seconds}s_lids", given.items())
        write_table(folder / "failed", [(key, "silent") for key, label in answers.items() if label is None])
        (folder / "languages").write_text("\n".join(LABELS))
        scores = {key: np.log(np.where(np.array(LABELS) == label, 0.8, 0.1)) for key, label in given.items()}
        write_pairs(folder / "scores.ark", folder / "scores.scp", scores.items())
    return made


def curve(made: WrittenSet, **counting) -> dict:
    score(made.data_dir, made.inference_dir, counting=Counting(crop_seconds=(1, 2, 5, 10), **counting))
    return json.loads((made.inference_dir / "results.json").read_text())["duration_curve"]


def counts(found: dict) -> list[tuple]:
    return [
        (
            p["seconds"],
            p["correct"],
            p["utterances"],
            p["left_out"],
            p["unanswered"],
            p["same_utterances"]["correct"],
        )
        for p in found["points"]
    ]


def test_counts_by_hand(made: WrittenSet):
    found = curve(made)
    assert counts(found) == [(1, 1, 5, 0, 1, 0), (2, 2, 4, 1, 0, 1), (5, 2, 3, 2, 0, 2), (10, 0, 0, 5, 0, 0)]
    assert found["points"][1]["accuracy"] == wilson(2, 4).as_dict()
    assert found["points"][3]["accuracy"] is None
    assert (found["longest"], found["whole"]["correct"], found["whole"]["utterances"]) == (5, 2, 3)
    assert [p["same_utterances"]["utterances"] for p in found["points"]] == [3, 3, 3, 0]
    text = (made.inference_dir / "results").read_text()
    assert "The same: the 3 utterances of at least 5 s." in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("2 4 2 50.00 [15.00, 85.00] 1 33.33") for line in lines)
    assert any(line.startswith("whole 66.67 [") for line in lines)


def test_unknown_languages_and_policies_count_as_elsewhere(made: WrittenSet):
    assert counts(curve(made, unknown_languages="skip"))[0][:4] == (1, 1, 4, 0)
    assert counts(curve(made, policy=of(DecisionPolicy(min_score=0.85))))[0] == (1, 0, 5, 0, 5, 0)
    assert counts(curve(made, policy=of(DecisionPolicy(min_seconds=1.5))))[:2] == [
        (1, 0, 5, 0, 5, 0),
        (2, 2, 4, 1, 0, 1),
    ]


def test_speakers_widen_each_interval(made: WrittenSet):
    write_table(made.data_dir / "utt2spk", [(key, "xxyyy"[number]) for number, key in enumerate(TRUTH)])
    point = curve(made)["points"][0]["accuracy"]
    assert point["high"] - point["low"] > wilson(1, 5).high - wilson(1, 5).low


def test_crops_that_are_missing_or_changed(made: WrittenSet):
    curve(made)
    before = (made.inference_dir / "results.json").read_bytes()
    answers = made.inference_dir / "crops" / "5s" / "5s_lids"
    write_table(answers, [("c", "deu"), ("d", "fra"), ("e", "deu")])
    assert counts(curve(made))[2][1] == 1
    answers.unlink()
    with pytest.raises(LidError, match="neither an answer nor a recorded failure") as caught:
        curve(made)
    assert caught.value.redo == "identification"
    assert (made.inference_dir / "results.json").read_bytes() != before


def test_crops_of_another_model_are_refused(made: WrittenSet):
    for folder, model in ((made.inference_dir, "abc"), (made.inference_dir / "crops" / "1s", "def")):
        (folder / ".done").mkdir(exist_ok=True)
        (folder / ".done" / "identify.json").write_text(json.dumps({"inputs": {"model": model}}))
    with pytest.raises(LidError, match="crops/1s: the crops are those of another model"):
        curve(made)


@pytest.mark.parametrize("value", ["0 1", "one", "", "-1", "nan", "inf"])
def test_durations_that_are_none(made: WrittenSet, value: str):
    done = call("score", *made.arguments, f"--crop_seconds={value}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "argument --crop_seconds" in done.stderr


def test_the_picture_has_each_point_with_its_interval():
    right = Proportion(10, 5, Estimate(0.5, 0.25, 0.75))
    points = (CropPoint(1, right, 0, 0, None), CropPoint(9, None, 10, 0, None))
    picture = crops_picture({"test": DurationCurve(points, 1.0, right).as_dict()})
    assert [spot.text for spot in picture.spots] == ["1 s of 10 utterances\n50.00 % [25.00, 75.00]"]
    assert crops_picture({"test": DurationCurve((points[1],), None, None).as_dict()}).spots == []


def test_without_clusters_it_is_wilsons():
    right = np.array([True, False, True])
    assert clustered_proportion(right, None).estimate == wilson(2, 3)
