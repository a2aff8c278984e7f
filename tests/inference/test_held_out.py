"""Scores of a set whose languages are known, and sets that a training has seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datadir.vectors import write_pairs

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference.held_out import from_records, from_scores, require_unseen
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.steps import digest

LABELS = ("deu", "fra")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_table(tmp_path / "dev" / "utt2lang", [("a", "de"), ("b", "French"), ("c", "deu")])
    return tmp_path / "dev"


@pytest.fixture
def scores_dir(tmp_path: Path) -> Path:
    """Scores of a and c; b failed."""
    folder = tmp_path / "inference" / "dev"
    write_record(folder, "identify", {"model": "abc"})
    (folder / "languages").write_text("deu\nfra\n")
    vectors = {"a": np.log([0.9, 0.1]), "c": np.log([0.3, 0.7])}
    write_pairs(folder / "scores.ark", folder / "scores.scp", vectors.items())
    return folder


def write_record(folder: Path, step: str, inputs: dict[str, str | None]) -> None:
    (folder / ".done").mkdir(parents=True)
    (folder / ".done" / f"{step}.json").write_text(json.dumps({"inputs": inputs}))


def test_scores_get_the_columns_of_their_languages(data_dir: Path, scores_dir: Path):
    scored = from_scores(data_dir, scores_dir, LABELS, "abc")
    np.testing.assert_allclose(np.exp(scored.log_posteriors_uc), [[0.9, 0.1], [0.3, 0.7]], rtol=1e-6)
    assert scored.true_u.tolist() == [0, 0]


@pytest.mark.parametrize(("labels", "model"), [(("fra", "deu"), "abc"), (LABELS, "def"), (LABELS, None)])
def test_scores_of_another_model_are_refused(data_dir: Path, scores_dir: Path, labels, model):
    with pytest.raises(LidError, match="the scores are those of another model"):
        from_scores(data_dir, scores_dir, labels, model)


def test_scores_of_another_set_and_unknown_languages_are_refused(data_dir: Path, scores_dir: Path):
    write_table(data_dir / "utt2lang", [("a", "deu")])
    with pytest.raises(LidError, match="utt2lang: has no language for c"):
        from_scores(data_dir, scores_dir, LABELS, "abc")
    write_table(data_dir / "utt2lang", [("a", "deu"), ("c", "ita")])
    with pytest.raises(LidError, match="the model does not know 'ita'"):
        from_scores(data_dir, scores_dir, LABELS, "abc")


def test_records_without_scores_are_left_out(data_dir: Path, caplog: pytest.LogCaptureFixture):
    records = [
        ("a", Prediction("ok", "deu", scores={"fra": 0.2, "deu": 0.8})),
        ("b", Prediction("failed", reason="damaged")),
        ("c", Prediction("ok", "fra", scores={"fra": 1.0, "deu": 0.0})),
    ]
    scored = from_records(data_dir, iter(records), LABELS)
    np.testing.assert_allclose(np.exp(scored.log_posteriors_uc), [[0.8, 0.2], [0.0, 1.0]], atol=1e-9)
    assert np.isfinite(scored.log_posteriors_uc).all()
    assert scored.true_u.tolist() == [0, 0]
    assert "b is left out: damaged" in caplog.text


def test_a_set_that_was_trained_on_is_refused(data_dir: Path, tmp_path: Path):
    experiment = tmp_path / "exp" / "lid_a"
    assert not require_unseen(data_dir, experiment)
    write_record(experiment, "train", {"train utt2lang": digest(data_dir / "utt2lang")})
    with pytest.raises(LidError, match="dev: is the training set of the model"):
        require_unseen(data_dir, experiment)


def test_utterances_that_were_trained_on_are_refused_and_their_copies_too(data_dir: Path, tmp_path: Path):
    experiment, shapes = tmp_path / "exp" / "lid_a", tmp_path / "exp" / "lid_stats_16k/train/speech_shape"
    write_table(shapes, [("sp0.9-b", "9"), ("x", "9")])
    write_record(experiment, "train", {"train speech_shape": digest(shapes)})
    with pytest.raises(LidError, match="1 utterances were trained on: b"):
        require_unseen(data_dir, experiment)
    write_table(shapes, [("x", "9")])
    assert not require_unseen(data_dir, experiment)  # the statistics are those of another training
    write_record(tmp_path / "exp" / "lid_b", "train", {"train speech_shape": digest(shapes)})
    assert require_unseen(data_dir, tmp_path / "exp" / "lid_b")
