"""MUSAN and RIRS_NOISES, from their archives or folders to the lists that augmentation reads."""

from __future__ import annotations

import gzip
import hashlib
import io
import resource
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from local_web import serving

from lid_toolkit.audio.reader import audio_info
from lid_toolkit.augment.sounds import read_sounds
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local.noises import prepare as noises
from local.noises.prepare import MUSAN as MUSAN_CORPUS
from local.noises.prepare import RIRS_NOISES as RIRS_CORPUS
from local.noises.prepare import main, unpack


def wav(seconds=0.5):
    stream = io.BytesIO()
    soundfile.write(
        stream, np.random.default_rng(0).normal(0, 0.1, round(16000 * seconds)), 16000, format="WAV"
    )
    return stream.getvalue()


MUSAN = {
    "musan/README": b"about",
    **{
        f"musan/{kind}/part {kind}/{kind}-{n}.wav": wav()
        for kind in ("music", "noise", "speech")
        for n in "01"
    },
}
RIRS = {
    f"RIRS_NOISES/simulated_rirs/{room}room/Room001/Room001-0000{n}.wav": wav(0.1)
    for room in ("small", "medium", "large")
    for n in "01"
}


def tar_gz(path, members):
    with tarfile.open(path, "w:gz") as target:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(noises, "parallel", lambda function, tasks, *_: map(function, tasks))


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    tar_gz(folder / "musan.tar.gz", MUSAN)
    with zipfile.ZipFile(folder / "rirs_noises.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in RIRS.items():
            target.writestr(name, content)
    with serving(folder) as running:
        yield running


def prepare(server, tmp_path, *options, musan=True, rirs=True):
    chosen = ["--datadir", str(tmp_path / "data"), "--nj", "1", *options]
    if musan:
        chosen += ["--musan", str(tmp_path / "ex tra" / "musan")]
    if rirs:
        chosen += ["--rirs_noises", str(tmp_path / "ex tra" / "RIRS_NOISES")]
    chosen += [
        "--musan_url",
        f"{server.url}musan.tar.gz",
        "--rirs_noises_url",
        f"{server.url}rirs_noises.zip",
    ]
    main(chosen)


def lists(tmp_path):
    return {path.name: dict(read_table(path)) for path in (tmp_path / "data").glob("*.scp")}


def test_from_the_web_to_lists(server, tmp_path, caplog):
    caplog.set_level("INFO")
    prepare(server, tmp_path)
    made = lists(tmp_path)
    assert {name: len(table) for name, table in made.items()} == {
        "musan_music.scp": 2,
        "musan_noise.scp": 2,
        "musan_speech.scp": 2,
        "rirs.scp": 4,
    }
    assert set(made["musan_noise.scp"]) == {"noise-part_noise-noise-0", "noise-part_noise-noise-1"}
    assert all("largeroom" not in path for path in made["rirs.scp"].values())
    assert all(audio_info(path).rate == 16000 for table in made.values() for path in table.values())
    assert len(read_sounds(tmp_path / "data/rirs.scp", "")) == 4
    assert (tmp_path / "ex tra/musan/README").read_bytes() == b"about"
    asked = len(server.requests)
    prepare(server, tmp_path)
    assert len(server.requests) == asked
    assert "lists of MUSAN: current, skipped" in caplog.text


def test_without_them_it_says_what_is_missing(server, tmp_path, caplog):
    caplog.set_level("INFO")
    prepare(server, tmp_path, musan=False, rirs=False)
    assert "MUSAN: no directory set in db.sh" in caplog.text
    assert "RIRS_NOISES: no directory set in db.sh" in caplog.text
    assert lists(tmp_path) == {}


def test_a_dry_run_touches_nothing(server, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    prepare(server, tmp_path, "--dry_run", "true")
    assert sorted(tmp_path.rglob("*")) == before
    assert server.requests == []


@pytest.mark.parametrize("name", ["musan.tar.gz", "rirs_noises.zip"])
def test_a_broken_archive_is_fetched_again_and_never_half_unpacked(server, tmp_path, name, caplog):
    path = server.folder / name
    whole = path.read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 0xFF
    server.instead[name] = [bytes(spoiled)]
    prepare(server, tmp_path)
    assert f"{name} is damaged" in caplog.text
    assert server.asked().count(name) == 2
    assert len(lists(tmp_path)) == 4
    shutil.rmtree(tmp_path / "ex tra")
    path.write_bytes(bytes(spoiled))
    with pytest.raises(LidError, match="damaged archive"):
        prepare(server, tmp_path)
    assert not [p for p in (tmp_path / "ex tra").iterdir() if p.name == path.name.split(".")[0]]


def test_a_wrong_checksum_at_the_end_is_seen(server, tmp_path):
    path = server.folder / "musan.tar.gz"
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises((EOFError, gzip.BadGzipFile)), gzip.open(path) as stream:
        stream.read()
    with pytest.raises(LidError, match=r"musan\.tar\.gz: damaged archive"):
        prepare(server, tmp_path)


def test_members_that_lead_elsewhere_are_refused(server, tmp_path):
    tar_gz(server.folder / "musan.tar.gz", {**MUSAN, "../../evil.wav": wav()})
    with pytest.raises(LidError, match="damaged archive"):
        prepare(server, tmp_path)
    assert not list(tmp_path.rglob("evil.wav"))


def test_a_folder_that_is_there_is_used_and_its_broken_files_are_named(server, tmp_path, caplog):
    folder = tmp_path / "ex tra/RIRS_NOISES/simulated_rirs/smallroom"
    folder.mkdir(parents=True)
    for number in range(120):
        (folder / f"r{number}.wav").write_bytes(wav(0.01))
    (folder / "r7.wav").write_bytes(b"")
    prepare(server, tmp_path, musan=False)
    assert server.requests == []
    assert len(lists(tmp_path)["rirs.scp"]) == 119
    assert "r7.wav: dropped: empty file" in caplog.text
    (tmp_path / "data/rirs.scp").unlink()
    for number in range(3):
        (folder / f"r{number}.wav").write_bytes(b"")
    with pytest.raises(LidError, match=r"4 of 120 recordings .* cannot be read"):
        prepare(server, tmp_path, musan=False)


def test_a_wrong_folder_is_named(server, tmp_path):
    (tmp_path / "ex tra/musan").mkdir(parents=True)
    with pytest.raises(LidError, match=r"musan: 0 of 0 recordings in music.*correct db\.sh"):
        prepare(server, tmp_path, rirs=False)


def zipped(members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return made.getvalue()


def tarred(*members):
    """Return a tar of (name, content, other fields of the header)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as target:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            target.addfile(info, io.BytesIO(content))
    return made.getvalue()


def encrypted(data):
    """Set the flag of encryption in both headers of a zip's first member."""
    data = bytearray(data)
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def method(data, number):
    """Change the method of compression in both headers of a zip's first member."""
    data = bytearray(data)
    data[8] = data[data.index(b"PK\x01\x02") + 10] = number
    return bytes(data)


def hostile_archives():
    """Return malformed archives: suffix and content."""
    good = tarred(("musan/a.wav", b"x" * 600, {}))
    packed = gzip.compress(good, mtime=0)
    plain = zipped({"musan/a.wav": b"x" * 600})
    zeros = bytes(40 << 20)
    return {
        "nothing": ("tar.gz", b""),
        "text": ("tar.gz", b"<html>moved</html>"),
        "gzip of nothing": ("tar.gz", gzip.compress(b"")),
        "gzip of text": ("tar.gz", gzip.compress(b"moved" * 200)),
        "cut off": ("tar.gz", packed[:-20]),
        "wrong checksum": ("tar.gz", packed[:-8] + bytes(8)),
        "damaged header of gzip": ("tar.gz", packed[:3] + b"\xff" + packed[4:]),
        "damaged header of tar": ("tar.gz", gzip.compress(b"\xff" * 148 + good[148:])),
        "letters as a size": ("tar.gz", gzip.compress(good[:124] + b"zzzzzzzzzzz\0" + good[136:])),
        "member cut off": ("tar.gz", gzip.compress(good[:700])),
        "zeros as a member": ("tar.gz", gzip.compress(tarred(("musan/a.wav", zeros, {})), 1)),
        "zeros after the end": ("tar.gz", gzip.compress(good + zeros, 1)),
        "zeros as a name": ("tar.gz", gzip.compress(tarred(("n" * (20 << 20), b"", {})), 1)),
        "zeros in a device": ("tar.gz", gzip.compress(tarred(("d", zeros, {"type": b"9"})), 1)),
        "a name of 300 letters": ("tar.gz", gzip.compress(tarred(("musan/" + "n" * 300, b"x", {})))),
        "a path that is a file": (
            "tar.gz",
            gzip.compress(tarred(("musan/a", b"x", {}), ("musan/a/b", b"x", {}))),
        ),
        "a path upwards": ("tar.gz", gzip.compress(tarred(("musan/../../evil.wav", b"x", {})))),
        "a path from the root": ("tar.gz", gzip.compress(tarred(("/evil.wav", b"x", {})))),
        "only a link": (
            "tar.gz",
            gzip.compress(tarred(("musan", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"}))),
        ),
        "only a hard link": (
            "tar.gz",
            gzip.compress(tarred(("musan", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}))),
        ),
        "only a pipe": ("tar.gz", gzip.compress(tarred(("musan", b"", {"type": tarfile.FIFOTYPE})))),
        "zip of nothing": ("zip", b""),
        "empty zip": ("zip", zipped({})),
        "zip cut off": ("zip", plain[:-30]),
        "zip encrypted": ("zip", encrypted(plain)),
        "zip by method 99": ("zip", method(plain, 99)),
        "zip by method 14, no LZMA": ("zip", method(plain, 14)),
        "zip by method 12, no bzip2": ("zip", method(plain, 12)),
        "zip with a directory beyond its end": ("zip", plain[:-6] + b"\xff\xff\xff\x7f" + plain[-2:]),
        "zip with a member beyond its end": (
            "zip",
            plain.replace(b"PK\x01\x02", b"PK\x01\x02", 1)[: plain.index(b"PK\x01\x02") + 42]
            + b"\xff\xff\xff\x7f"
            + plain[plain.index(b"PK\x01\x02") + 46 :],
        ),
        "zip of zeros": ("zip", zipped({"musan/a.wav": zeros})),
        "zip with a path upwards": ("zip", zipped({"musan/../../evil.wav": b"x"})),
        "zip with a path from the root": ("zip", zipped({"/evil.wav": b"x"})),
        "zip with a name of 300 letters": ("zip", zipped({"musan/" + "n" * 300: b"x"})),
        "zip whose path is a file": ("zip", zipped({"musan/a": b"x", "musan/a/b": b"x"})),
        "zip of another folder": ("zip", zipped({"other/a.wav": b"x"})),
    }


@pytest.fixture(scope="module")
def hostile():
    return hostile_archives()


def test_every_malformed_archive_is_one_line(hostile, tmp_path):
    assert len(hostile) == 36
    for kind, (suffix, content) in hostile.items():
        archive, folder = tmp_path / f"a.{suffix}", tmp_path / "ex tra" / "musan"
        folder.parent.mkdir(exist_ok=True)
        archive.write_bytes(content)
        try:
            fault = unpack(archive, "musan", folder)
        except LidError as error:
            fault = str(error)
        assert fault, kind
        assert "\n" not in fault, kind
        assert not folder.exists(), kind
        assert not list(tmp_path.rglob("evil*")), kind
        written = sum(path.stat().st_size for path in folder.parent.rglob("*") if path.is_file())
        assert written <= 50 * len(content) + (1 << 20), kind


def test_a_small_archive_never_becomes_a_large_file(hostile, tmp_path):
    for kind in ("zeros as a member", "zeros after the end", "zeros as a name", "zip of zeros"):
        suffix, content = hostile[kind]
        (tmp_path / f"a.{suffix}").write_bytes(content)
        assert len(content) < 1_000_000
        assert "unpacks to more than 50 times" in unpack(
            tmp_path / f"a.{suffix}", "musan", tmp_path / "musan"
        )


def test_a_limit_of_file_sizes_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr("musan/a.wav", bytes(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(LidError, match=r"a\.wav: cannot be written: File too large .*ulimit -f"):
            unpack(tmp_path / "a.zip", "musan", tmp_path / "musan")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_archives_of_openslr_have_its_checksums(server, tmp_path):
    """``checksum.md5`` of https://www.openslr.org/17 and /28; a mirror serves the same bytes."""
    assert MUSAN_CORPUS.pinned
    assert RIRS_CORPUS.pinned
    assert replace(MUSAN_CORPUS, url="https://us.openslr.org/resources/17/musan.tar.gz").pinned
    assert not replace(MUSAN_CORPUS, url=f"{server.url}musan.tar.gz").pinned
    archive = server.folder / "musan.tar.gz"
    own = replace(MUSAN_CORPUS, digest=f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    assert noises.checked_unpack(own, archive, tmp_path / "musan") == ""
    fault = noises.checked_unpack(MUSAN_CORPUS, archive, tmp_path / "other")
    assert "not 0c472d4fc0c5141eca47ad1ffeb2a7df" in fault
    assert not (tmp_path / "other").exists()
