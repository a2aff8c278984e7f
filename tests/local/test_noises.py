"""MUSAN and RIRS_NOISES, from their archives or folders to the lists that augmentation reads."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile
from local_web import serving

from lid_toolkit.audio.reader import audio_info
from lid_toolkit.augment.sounds import read_sounds
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local.noises import prepare as noises
from local.noises.prepare import main


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
