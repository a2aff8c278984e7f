"""Vector archives: their bytes, what kaldiio makes of them, and that reading them runs nothing."""

import contextlib
import os
import pickle

import kaldiio
import numpy as np
import pytest
from datadir.vectors import write_pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir import ark
from lid_toolkit.datadir.ark import read_vector, read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError


@pytest.fixture
def vectors():
    rng = np.random.default_rng(1)
    return {f"utt-{i:02d}-é": rng.standard_normal(7).astype(np.float32) for i in range(20)}


def test_kaldiio_reads_what_we_write(tmp_path, vectors):
    ark, scp = tmp_path / "a b.ark", tmp_path / "a.scp"
    write_pairs(ark, scp, vectors.items())
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


def test_the_bytes_are_those_of_the_format(tmp_path, vectors):
    """https://kaldi-asr.org/doc/io.html: key, space, binary mark, type, and the length as a marked int32."""
    ark, scp = tmp_path / "a.ark", tmp_path / "a.scp"
    write_pairs(ark, scp, vectors.items())
    data, places = b"", {}
    for key, vector in vectors.items():
        data += key.encode() + b" "
        places[key] = f"{ark}:{len(data)}"
        data += b"\0BFV \4" + len(vector).to_bytes(4, "little") + vector.astype("<f4").tobytes()
    assert ark.read_bytes() == data
    lines = sorted((f"{key} {place}" for key, place in places.items()), key=str.encode)
    assert scp.read_text() == "\n".join(lines) + "\n"


def test_values_of_any_type_are_stored_as_float32(tmp_path):
    ark, scp = tmp_path / "a.ark", tmp_path / "a.scp"
    write_pairs(ark, scp, [("a", np.arange(6)[::2] / 3), ("b", np.zeros(0))])
    expected = np.array([0, 2, 4], np.float64) / 3
    assert ark.read_bytes() == b"".join(
        (b"a \0BFV \4\3\0\0\0", expected.astype("<f4").tobytes(), b"b \0BFV \4\0\0\0\0")
    )


@pytest.mark.parametrize("ref", ["touch {ran} |", "touch {ran} |:0", "| touch {ran}", "{pickle}:2"])
def test_a_table_runs_nothing(tmp_path, ref):
    """Kaldiio itself runs commands and unpickles entries."""
    ran, pickled = tmp_path / "ran", tmp_path / "p.ark"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {ran}",)

    pickled.write_bytes(b"k PKL" + pickle.dumps(Evil()))
    (tmp_path / "x.scp").write_text(f"k {ref.format(ran=ran, pickle=pickled)}\n")
    with pytest.raises(LidError):
        read_vectors(tmp_path / "x.scp")
    assert not ran.exists()


@settings(deadline=None, max_examples=300, derandomize=True)
@given(place=st.integers(0, 60), value=st.binary(min_size=1, max_size=8), cut=st.integers(0, 80))
def test_damage_is_named_or_harmless(tmp_path_factory, place, value, cut):
    ark = tmp_path_factory.mktemp("ark") / "x.ark"
    write_pairs(ark, ark.with_suffix(".scp"), [("a", np.arange(5.0)), ("b", np.arange(5.0))])
    data = ark.read_bytes()
    ark.write_bytes((data[:place] + value + data[place + len(value) :])[: len(data) - cut % len(data)])
    for offset in (0, 2, 34):
        with contextlib.suppress(LidError):
            assert read_vector(f"{ark}:{offset}").ndim == 1


def test_table_of_several_archives(tmp_path):
    for name in ("a", "b"):
        write_pairs(tmp_path / f"{name}.ark", tmp_path / f"{name}.scp", [(name, np.full(2, ord(name)))])
    write_table(tmp_path / "all.scp", [row for name in "ab" for row in read_table(tmp_path / f"{name}.scp")])
    assert read_vectors(tmp_path / "all.scp")[1].tolist() == [[97, 97], [98, 98]]


def test_a_failure_half_way_leaves_nothing(tmp_path):
    def blocks():
        yield ("a",), np.zeros((1, 3))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_vectors(tmp_path / "x.ark", tmp_path / "x.scp", blocks())
    assert list(tmp_path.iterdir()) == []


def test_faults_are_named(tmp_path):
    ark, scp = tmp_path / "x.ark", tmp_path / "x.scp"
    with pytest.raises(LidError, match="key 'a' is not after 'a'"):
        write_pairs(ark, scp, [("a", np.zeros(2)), ("a", np.zeros(2))])
    write_pairs(ark, scp, [("a", np.zeros(2)), ("b", np.zeros(3))])
    with pytest.raises(LidError, match="3 values where others have 2"):
        read_vectors(scp)
    for ref, message in {
        f"{ark}": "not of the form ark:offset",
        f"{ark}:1": "no complete Kaldi vector",
        f"{ark}:9999": "no complete Kaldi vector",
        f"{tmp_path}/none.ark:2": "does not exist",
    }.items():
        with pytest.raises(LidError, match=message):
            read_vector(ref)
    ark.write_bytes(ark.read_bytes()[:-1])
    with pytest.raises(LidError, match="no complete Kaldi vector"):
        read_vectors(scp)


def test_blocks_of_any_size_write_the_same_bytes(tmp_path, vectors):
    matrix, keys = np.stack(list(vectors.values())), list(vectors)
    written = []
    for size in (1, 3, 20):
        blocks = [(keys[i : i + size], matrix[i : i + size]) for i in range(0, 20, size)]
        write_vectors(tmp_path / "a.ark", tmp_path / "a.scp", blocks)
        written.append(((tmp_path / "a.ark").read_bytes(), (tmp_path / "a.scp").read_bytes()))
    assert written[0] == written[1] == written[2]


def alike(scp):
    return ark.read_alike([*read_table(scp).values()])


def test_vectors_that_are_alike_are_read_together_and_others_one_by_one(tmp_path, vectors, monkeypatch):
    """Both ways give the same; a length of its own, float64 or a second archive is read one by one."""
    write_pairs(tmp_path / "a.ark", tmp_path / "a.scp", vectors.items())
    table = read_table(tmp_path / "a.scp")
    expected = np.stack([vectors[key] for key, _ in table])
    together = ark.read_alike([*table.values()])
    assert together is not None
    np.testing.assert_array_equal(together, expected)
    backwards = ark.read_alike([*table.values()][::-1])
    np.testing.assert_array_equal(backwards, expected[::-1])
    monkeypatch.setattr(ark, "ROWS_AT_ONCE", 7)
    assert [len(block) for block in ark.vector_blocks(table)] == [7, 7, 6]
    np.testing.assert_array_equal(read_vectors(tmp_path / "a.scp")[1], expected)
    monkeypatch.setattr(ark, "LARGEST_SPAN", 100)
    assert ark.read_alike([*table.values()]) is None
    np.testing.assert_array_equal(read_vectors(tmp_path / "a.scp")[1], expected)
    monkeypatch.undo()

    longer = {**vectors, "z": np.zeros(8, np.float32)}
    write_pairs(tmp_path / "b.ark", tmp_path / "b.scp", longer.items())
    assert alike(tmp_path / "b.scp") is None
    kaldiio.save_ark(str(tmp_path / "c.ark"), {"a": np.zeros(3)}, scp=str(tmp_path / "c.scp"))
    assert alike(tmp_path / "c.scp") is None
    write_table(tmp_path / "d.scp", [*table, ("z", f"{tmp_path / 'c.ark'}:2")])
    assert alike(tmp_path / "d.scp") is None


@pytest.mark.parametrize("offset", ["", "x", "10000000", "1", "9" * 18, "9" * 30])
def test_references_that_are_wrong_are_left_to_the_careful_way(tmp_path, vectors, offset):
    write_pairs(tmp_path / "a.ark", tmp_path / "a.scp", vectors.items())
    write_table(tmp_path / "x.scp", [("a", f"{tmp_path / 'a.ark'}:{offset}")])
    assert alike(tmp_path / "x.scp") is None
    with pytest.raises(LidError, match=r"a\.ark|offset"):
        read_vectors(tmp_path / "x.scp")


def test_an_archive_that_was_cut_is_not_read_beyond_its_end(tmp_path, vectors):
    write_pairs(tmp_path / "a.ark", tmp_path / "a.scp", vectors.items())
    data = (tmp_path / "a.ark").read_bytes()
    (tmp_path / "a.ark").write_bytes(data[:-1])
    assert alike(tmp_path / "a.scp") is None
    with pytest.raises(LidError, match="no complete Kaldi vector at this offset"):
        read_vectors(tmp_path / "a.scp")
