"""Embeddings in ESPnet's files, read with NumPy as its users' scripts read them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datadir.vectors import write_pairs

from lid_toolkit.datadir.ark import read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference.espnet_files import espnet_files, write_espnet_files
from lid_toolkit.inference.merge import language_means

KEYS = ("a/1", "b", "file", "ü")
TRUTH = dict(zip(KEYS, ("nld", "deu", "nld", "deu"), strict=True))


@pytest.fixture
def identified(tmp_path: Path) -> tuple[Path, Path]:
    """Return a set of four utterances in two languages and its results by a system of three languages."""
    data, out = tmp_path / "data", tmp_path / "model" / "test_x"
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = list(zip(KEYS, vectors, strict=True))
    write_pairs(out / "embeddings.ark", out / "embeddings.scp", pairs)
    means = language_means(("deu", "nld"), np.array([1, 0, 1, 0]), [(KEYS, vectors)])
    write_vectors(out / "lang_embeddings.ark", out / "lang_embeddings.scp", [means])
    write_table(data / "utt2lang", [*TRUTH.items(), ("without_embedding", "fra")])
    write_table(out / "test_x_lids", dict.fromkeys(KEYS, "fra").items())
    (out / "languages").write_text("deu\nfra\nnld\n")
    return data, out


def load(out: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(out / f"test_x_{name}.npz") as archive:
        return dict(archive)


def test_utterances_languages_and_means(identified):
    data, out = identified
    write_espnet_files(data, out)
    keys, vectors = read_vectors(out / "embeddings.scp")
    utterances = load(out, "utt_embds")
    assert tuple(utterances) == keys == KEYS
    for key, vector in zip(keys, vectors, strict=True):
        assert utterances[key].dtype == np.float32
        np.testing.assert_array_equal(utterances[key], vector)
    by_language = load(out, "lang_to_embds")
    assert sorted(by_language) == ["deu", "fra", "nld"]
    np.testing.assert_array_equal(by_language["deu"], vectors[[1, 3]])
    np.testing.assert_array_equal(by_language["nld"], vectors[[0, 2]])
    assert by_language["nld"].dtype == np.float32
    means = load(out, "lang_to_avg_embd")
    assert sorted(means) == ["deu", "nld"]
    for language, mean in means.items():
        expected = np.mean(by_language[language], axis=0)
        np.testing.assert_allclose(mean, expected / np.linalg.norm(expected), atol=1e-6)
        assert (mean.dtype, mean.shape) == (np.float32, (6,))


def test_keys_types_and_shapes_are_those_of_savez(identified, tmp_path):
    """ESPnet gives ``numpy.savez`` a dictionary of lists; a language without utterances has an empty one."""
    data, out = identified
    write_espnet_files(data, out)
    keys, vectors = read_vectors(out / "embeddings.scp")
    lists: dict[str, list[np.ndarray]] = {"deu": [], "fra": [], "nld": []}
    for key, vector in zip(keys, vectors, strict=True):
        lists[TRUTH[key]].append(vector)
    np.savez(tmp_path / "espnet.npz", **lists)
    ours, theirs = load(out, "lang_to_embds"), dict(np.load(tmp_path / "espnet.npz"))
    assert {*ours} == {*theirs}
    for language, expected in theirs.items():
        assert (ours[language].dtype, ours[language].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(ours[language], expected)


def test_without_labels_the_answers_are_the_languages(identified):
    data, out = identified
    (data / "utt2lang").unlink()
    write_espnet_files(data, out)
    assert {language: len(rows) for language, rows in load(out, "lang_to_embds").items()} == {
        "deu": 0,
        "fra": 4,
        "nld": 0,
    }


def test_they_are_written_once_and_again_when_embeddings_change(identified, caplog):
    data, out = identified
    caplog.set_level(logging.INFO)
    write_espnet_files(data, out, dry_run=True)
    assert "to do (not done yet)" in caplog.text
    assert not any(path.exists() for path in espnet_files(out))
    write_espnet_files(data, out)
    stamps = [path.stat().st_mtime_ns for path in espnet_files(out)]
    write_espnet_files(data, out)
    assert "current, skipped" in caplog.text
    assert [path.stat().st_mtime_ns for path in espnet_files(out)] == stamps
    write_pairs(out / "embeddings.ark", out / "embeddings.scp", [(key, np.ones(6)) for key in KEYS])
    write_espnet_files(data, out)
    assert load(out, "utt_embds")["b"].tolist() == [1] * 6


def test_a_fault_leaves_no_file(identified):
    data, out = identified
    write_table(data / "utt2lang", [("b", "deu")])
    with pytest.raises(LidError, match="utterance 'a/1' is missing"):
        write_espnet_files(data, out)
    write_table(data / "utt2lang", TRUTH.items())
    (out / "embeddings.ark").write_bytes((out / "embeddings.ark").read_bytes()[:-4])
    with pytest.raises(LidError, match="no complete Kaldi vector"):
        write_espnet_files(data, out)
    assert not [path for path in out.iterdir() if "npz" in path.name]
