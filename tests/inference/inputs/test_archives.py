"""Recordings in tar shards and parquet files, also hostile and damaged ones."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from lid_toolkit.audio.references import AudioError
from lid_toolkit.errors import LidError
from lid_toolkit.inference.inputs import parquet, tar
from lid_toolkit.inference.inputs.count import count_inputs
from lid_toolkit.inference.inputs.read import read_inputs


def found(path):
    """Return the id, without the path of the archive, and the content of each input, or what is wrong."""
    items = read_inputs([str(path)], io.BytesIO())
    return [
        (
            item.id.removeprefix(str(path)),
            item.speech.what if isinstance(item.speech, AudioError) else item.speech,
        )
        for item in items
    ]


def member(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


def write_tar(path: Path, *members, mode="w") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            archive.addfile(info, content)
    return path


def recordings():
    return (
        member("a/1.wav", b"one"),
        member("a/1.json", b"{}"),
        member("a", type=tarfile.DIRTYPE),
        member("._1.wav", b"of a Mac"),
        member("2.FLAC", b"two" * 1000),
        member("é" * 150 + ".mp3", b"three"),
    )


CONTENTS = [("/a/1.wav", b"one"), ("/2.FLAC", b"two" * 1000), ("/" + "é" * 150 + ".mp3", b"three")]


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")]
)
def test_recordings_of_a_shard(tmp_path, name, mode):
    path = write_tar(tmp_path / name, *recordings(), mode=mode)
    assert found(path) == CONTENTS
    assert count_inputs([str(path)]) is None
    assert found(tmp_path) == [(f"/{name}{key}", content) for key, content in CONTENTS]


def test_names_links_and_devices_lead_nowhere(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        member("../../up.wav", b"up"),
        member("/etc/passwd.wav", b"root"),
        member("link.wav", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.wav", type=tarfile.LNKTYPE, linkname="../../up.wav"),
        member("device.wav", type=tarfile.CHRTYPE),
        member("pipe.wav", type=tarfile.FIFOTYPE),
        member("last.wav", b"last"),
    )
    before = sorted(os.listdir(tmp_path))
    plain = "is not a plain file"
    assert found(path) == [
        ("/../../up.wav", b"up"),
        ("//etc/passwd.wav", b"root"),
        *((f"/{name}.wav", plain) for name in ("link", "hard", "device", "pipe")),
        ("/last.wav", b"last"),
    ]
    assert sorted(os.listdir(tmp_path)) == before


def test_a_member_too_large_is_passed_over_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "LARGEST_STREAM", 1 << 20)
    path = write_tar(tmp_path / "a.tar", member("big.wav", bytes(8 << 20)), member("small.wav", b"small"))
    tracemalloc.start()
    assert found(path) == [("/big.wav", "has more than 1 MiB"), ("/small.wav", b"small")]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_too_large_is_not_read(tmp_path, kind):
    """A small compressed file may have a header of gigabytes, which tarfile reads whole."""
    path = write_tar(
        tmp_path / "a.tar.gz",
        member("a.wav", b"a"),
        member("x", bytes(32 << 20), type=kind),
        mode="w:gz",
    )
    tracemalloc.start()
    assert found(path)[1] == ("", f"broken archive: a header has {32 << 20} bytes, after 1 recordings")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 1024, 1536 + 100, 3000, 5000])
def test_a_shard_cut_anywhere_says_so(tmp_path, keep):
    whole = write_tar(tmp_path / "whole.tar", *recordings()).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:keep])
    *before, (key, last) = found(cut)
    assert before == CONTENTS[: len(before)]
    assert key == ""
    assert last.startswith("broken archive: ")
    assert last.endswith(f", after {len(before)} recordings")


def test_a_damaged_header_does_not_hide_what_follows(tmp_path):
    """Tarfile takes a header with a wrong checksum for the end of the archive."""
    content = bytearray(
        write_tar(tmp_path / "a.tar", member("1.wav", b"1"), member("2.wav", b"2")).read_bytes()
    )
    content[1024 + 5] ^= 255
    (tmp_path / "a.tar").write_bytes(content)
    assert found(tmp_path / "a.tar") == [
        ("/1.wav", b"1"),
        ("", "broken archive: a header is damaged, after 1 recordings"),
    ]


def test_damaged_compression_says_so(tmp_path):
    content = gzip.compress(write_tar(tmp_path / "a.tar", *recordings()).read_bytes())
    (tmp_path / "b.tar.gz").write_bytes(content[: len(content) // 2])
    assert found(tmp_path / "b.tar.gz")[-1][1].startswith("broken archive: ")
    (tmp_path / "c.tar").write_text("not an archive")
    assert found(tmp_path / "c.tar")[-1][1].startswith("broken archive: ")
    assert found(tmp_path / "none.tar")[-1][1] == "broken archive: does not exist, after 0 recordings"


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=20)
    return path


def test_rows_of_a_parquet_file(tmp_path):
    rows = [{"bytes": f"{n}".encode(), "path": f"{n}.wav"} for n in range(50)]
    rows += [{"bytes": None, "path": "x.wav"}, {"bytes": None, "path": None}, None]
    path = write_parquet(
        tmp_path / "a.parquet", label=pa.array(range(53)), audio=pa.array(rows, STRUCT), text=["x"] * 53
    )
    assert found(path) == [
        *((f"/{n}", f"{n}".encode()) for n in range(50)),
        ("/50", f"{tmp_path}/x.wav"),
        ("/51", "the row has neither bytes nor a path"),
        ("/52", "the row has neither bytes nor a path"),
    ]
    assert count_inputs([str(path)]) == 53


def test_other_columns_of_audio(tmp_path):
    other = write_parquet(tmp_path / "b.parquet", speech=pa.array([{"bytes": b"1", "path": None}], STRUCT))
    assert found(other) == [("/0", b"1")]
    assert found(write_parquet(tmp_path / "c.parquet", audio=["a.wav"])) == [("/0", f"{tmp_path}/a.wav")]
    assert found(write_parquet(tmp_path / "d.parquet", audio=[b"1"])) == [("/0", b"1")]
    assert found(write_parquet(tmp_path / "e.parquet", text=["a"])) == [("", "has no column of audio")]


def test_a_damaged_parquet_file_says_so(tmp_path):
    rows = pa.array([{"bytes": os.urandom(1000), "path": None} for _ in range(60)], STRUCT)
    path = write_parquet(tmp_path / "a.parquet", audio=rows)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    assert found(path)[0][1].startswith("broken parquet file: ")
    path.write_text("no parquet")
    assert found(path)[0][1].startswith("broken parquet file: ")
    assert found(tmp_path / "none.parquet")[0][1].startswith("broken parquet file: does not exist")


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(LidError, match=r"a\.parquet: parquet files need pyarrow \(pip install"):
        next(parquet.read_parquet(Path("a.parquet")))
