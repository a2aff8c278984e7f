"""Vector archives both ways against kaldiio."""

import kaldiio
import numpy as np
import pytest

from lid_toolkit.datadir.ark import read_vector, read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError


@pytest.fixture
def vectors():
    rng = np.random.default_rng(1)
    return {f"utt-{i}-é": rng.standard_normal(7).astype(np.float32) for i in range(20)}


def test_kaldiio_reads_what_we_write(tmp_path, vectors):
    ark, scp = tmp_path / "a b.ark", tmp_path / "a.scp"
    write_vectors(ark, scp, vectors.items())
    for read in (dict(kaldiio.load_scp(str(scp))), dict(kaldiio.load_ark(str(ark)))):
        assert read.keys() == vectors.keys()
        for key, vector in vectors.items():
            assert read[key].dtype == np.float32
            np.testing.assert_array_equal(read[key], vector)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_we_read_what_kaldiio_writes(tmp_path, vectors, dtype):
    ark, scp = str(tmp_path / "a.ark"), tmp_path / "a.scp"
    kaldiio.save_ark(ark, {key: vector.astype(dtype) for key, vector in vectors.items()}, scp=str(scp))
    keys, matrix = read_vectors(scp)
    assert matrix.dtype == np.float32
    assert list(keys) == sorted(vectors, key=str.encode)
    for key, row in zip(keys, matrix, strict=True):
        np.testing.assert_array_equal(row, vectors[key])
        np.testing.assert_array_equal(read_vector(read_table(scp)[key]), vectors[key])


def test_the_bytes_are_those_of_kaldiio(tmp_path, vectors):
    write_vectors(tmp_path / "ours.ark", tmp_path / "ours.scp", vectors.items())
    kaldiio.save_ark(str(tmp_path / "theirs.ark"), vectors)
    assert (tmp_path / "ours.ark").read_bytes() == (tmp_path / "theirs.ark").read_bytes()


def test_table_of_several_archives(tmp_path):
    for name in ("a", "b"):
        write_vectors(tmp_path / f"{name}.ark", tmp_path / f"{name}.scp", [(name, np.full(2, ord(name)))])
    write_table(tmp_path / "all.scp", [row for name in "ab" for row in read_table(tmp_path / f"{name}.scp")])
    assert read_vectors(tmp_path / "all.scp")[1].tolist() == [[97, 97], [98, 98]]


def test_a_failure_half_way_leaves_nothing(tmp_path):
    def pairs():
        yield "a", np.zeros(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_vectors(tmp_path / "x.ark", tmp_path / "x.scp", pairs())
    assert list(tmp_path.iterdir()) == []


def test_faults_are_named(tmp_path):
    ark, scp = tmp_path / "x.ark", tmp_path / "x.scp"
    with pytest.raises(LidError, match="duplicate key 'a'"):
        write_vectors(ark, scp, [("a", np.zeros(2)), ("a", np.zeros(2))])
    write_vectors(ark, scp, [("a", np.zeros(2)), ("b", np.zeros(3))])
    with pytest.raises(LidError, match="3 values where others have 2"):
        read_vectors(scp)
    for ref, message in {
        f"{ark}": "not of the form ark:offset",
        f"{ark}:1": "no whole binary Kaldi vector",
        f"{ark}:9999": "no whole binary Kaldi vector",
        f"{tmp_path}/none.ark:2": "No such file",
    }.items():
        with pytest.raises(LidError, match=message):
            read_vector(ref)
    ark.write_bytes(ark.read_bytes()[:-1])
    with pytest.raises(LidError, match="no whole binary Kaldi vector"):
        read_vectors(scp)
