"""VoxLingua107 from a loopback server to checked data directories, through every fault on the way."""

from __future__ import annotations

import shutil
import socket
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from local_voxlingua107 import (
    SEGMENTS,
    SHARED,
    content,
    recordings,
    spoiled,
    stem,
    videos_of,
    write_zip,
)

from lid_toolkit import languages
from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local import fetch as fetching
from local.voxlingua107 import archives, listing
from local.voxlingua107.layout import CODES, Archive, label, utterance_id, video
from local.voxlingua107.prepare import main, zip_names

SETS = ("train_voxlingua107", "selection_voxlingua107", "dev_voxlingua107")


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Spare the tests that call Python the start of processes; those that call the script have it."""

    def here(function, tasks, *_, **__):
        return map(function, tasks)

    for module in (archives, listing):
        monkeypatch.setattr(module, "parallel", here)


@pytest.fixture
def places(tmp_path):
    """Where the corpus and the data directories go, in a path with blanks and letters beyond ASCII."""
    return tmp_path / "a corpus 語", tmp_path / "data"


def prepare(server, places, *options):
    corpus, data = places
    address = server.url if server else "http://nowhere.invalid/"
    main(["--corpus_dir", str(corpus), "--datadir", str(data), "--url", address, "--nj", "1", *options])


def table(places, name, file="utt2lang"):
    return dict(read_table(places[1] / name / file))


def videos(places, name):
    return set(table(places, name, "utt2spk").values())


# The names


def test_the_codes_are_those_of_the_corpus():
    labels = {code: label(code) for code in CODES}
    assert len(CODES) == 107
    assert len(set(labels.values())) == 107
    assert set(labels.values()) <= set(languages.languages())
    some = {
        "iw": "heb",
        "jw": "jav",
        "zh": "cmn",
        "no": "nor",
        "nn": "nno",
        "sw": "swa",
        "ceb": "ceb",
        "fa": "fas",
    }
    assert {code: labels[code] for code in some} == some


@pytest.mark.parametrize("name", [*videos_of("en"), "----__U__--"])
def test_a_video_is_what_stands_before_the_last_mark(name):
    assert video(stem(name, 553.26, 562.85)) == name
    assert video("_-_-_-_-_-_---0553.260-0562.850") == "_-_-_-_-_-_"


def test_ids_have_no_blanks():
    assert utterance_id("iw", "a b\u3000c") == "heb_a_b_c"


def test_the_list_names_zips_wherever_they_are():
    text = "http://a.b/c/en.zip\nhttps://x.y/iw.zip?z=1\ndev.zip\nen.zip\nhttp://a.b/README\n"
    assert zip_names(text, "list") == ["en.zip", "iw.zip", "dev.zip"]
    with pytest.raises(LidError, match=r"list: lists no zip.*VOXLINGUA107_URL"):
        zip_names("<html>moved</html>", "list")


# From the web to the data directories


def test_from_the_web_to_data_directories(server, places, capsys):
    prepare(server, places)
    labels = {name: table(places, name) for name in SETS}
    every = [key for name in SETS for key in labels[name]]
    assert len(every) == len(set(every)) == 3 * 12 - 5 + 3
    assert set(labels[SETS[0]].values()) == set(labels[SETS[1]].values()) == {"eng", "heb", "nor"}
    assert set(labels[SETS[2]].values()) == {"eng"}
    assert list(table(places, SETS[2], "dropped").values()) == ["language not in train"]
    assert not videos(places, SETS[1]) & (videos(places, SETS[0]) | videos(places, SETS[2]))
    for name in SETS:
        for key, ref in read_table(places[1] / name / "wav.scp"):
            assert read_audio(ref)[1] == 16000
            code = Path(ref).parent.name
            assert key == f"{languages.code(code)}_{Path(ref).stem}"
            assert ("/dev/" in ref) == (name == SETS[2])
    dropped = table(places, SETS[0], "dropped")
    assert set(dropped.values()) == {"in dev"}
    assert {key for key in dropped if SHARED in key} == {
        f"{code}_{stem(SHARED, *SEGMENTS[0])}" for code in ("eng", "heb", "nor")
    }
    assert not set(dropped) & set(labels[SETS[0]])
    out = capsys.readouterr().out
    assert "dropped: 5 (in dev)" in out
    assert "train_voxlingua107      all" in out


def test_a_rerun_asks_nobody_and_changes_nothing(server, places, caplog):
    caplog.set_level("INFO")
    prepare(server, places)
    before, asked = content(places[1]), len(server.requests)
    prepare(server, places)
    assert content(places[1]) == before
    assert len(server.requests) == asked
    assert "current, sub-stages 1 to 5 skipped" in caplog.text


def test_a_dry_run_touches_nothing_and_tells_each_sub_stage(server, places, caplog):
    caplog.set_level("INFO")
    prepare(server, places, "--dry_run", "true")
    assert not places[0].exists()
    assert not places[1].exists()
    assert server.requests == []
    for number, name in enumerate(("download", "verify", "extract", "tables", "validate", "noises"), start=1):
        assert f"Sub-stage 1.{number}: voxlingua107: {name}" in caplog.text
    assert "extract voxlingua107: to do (waits for the download)" in caplog.text


def test_sub_stages_run_one_by_one(server, places):
    for number in range(1, 7):
        prepare(server, places, "--stage", str(number), "--stop_stage", str(number))
        assert (places[0] / "en.zip").exists()
        assert (places[0] / "en").exists() == (number >= 3)
        assert (places[1] / SETS[0]).exists() == (number >= 4)
    assert table(places, SETS[2])


# Faults of the network and of zips


def test_a_dropped_connection_is_taken_up(server, places):
    server.drops["iw.zip"] = [1000, 50]
    prepare(server, places)
    assert ("GET", "iw.zip", "1050") in server.requests
    assert len(table(places, SETS[0])) + len(table(places, SETS[1])) == 31


def test_a_zip_that_wget_left_cut_off_is_gone_on_with(server, places, caplog):
    whole = (server.folder / "en.zip").read_bytes()
    places[0].mkdir()
    shutil.copy(server.folder / "zip_urls.txt", places[0])
    (places[0] / "en.zip").write_bytes(whole[:2000])
    prepare(server, places)
    assert ("GET", "en.zip", "2000") in server.requests
    assert (places[0] / "en.zip").read_bytes() == whole
    assert "en.zip is truncated: resuming its download" in caplog.text


def test_a_corrupt_member_is_named_and_the_zip_fetched_again(server, places, caplog):
    bad, member = spoiled(server.folder / "iw.zip")
    server.instead["iw.zip"] = [bad]
    prepare(server, places)
    assert "iw.zip is damaged" in caplog.text
    assert member in caplog.text
    assert server.asked().count("iw.zip") == 2
    assert len(table(places, SETS[0])) + len(table(places, SETS[1])) == 31


def test_a_zip_that_stays_corrupt_ends_with_its_name(server, places):
    bad, member = spoiled(server.folder / "iw.zip")
    (server.folder / "iw.zip").write_bytes(bad)
    with pytest.raises(LidError) as fault:
        prepare(server, places)
    assert str(fault.value).startswith(f"{places[0] / 'iw.zip'}: still damaged after downloading it again: ")
    assert member in str(fault.value)
    assert not (places[1] / SETS[0]).exists()
    assert (places[0] / "iw.zip").exists()


def test_a_broken_zip_stays_until_another_is_there(zips, places):
    places[0].mkdir()
    for name in ("en.zip", "dev.zip"):
        shutil.copy(zips / name, places[0])
    bad, _ = spoiled(zips / "en.zip")
    (places[0] / "en.zip").write_bytes(bad)
    with pytest.raises(LidError, match="cannot be reached"):
        prepare(None, places)
    assert (places[0] / "en.zip").read_bytes() == bad


def test_a_truncated_zip_on_the_server_is_not_taken_for_whole(server, places):
    path = server.folder / "no.zip"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(LidError, match=r"no\.zip: still damaged after downloading it again"):
        prepare(server, places)
    assert not (places[0] / "no").exists()


def test_an_address_that_is_not_there(server, places):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        server.url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(LidError, match=r"zip_urls\.txt: cannot be reached: .*address in db\.sh"):
        prepare(server, places)


def test_no_room_to_extract(server, places, monkeypatch):
    prepare(server, places, "--stop_stage", "2")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    with pytest.raises(LidError, match=r"extracting .*en\.zip.* needs 1\.0 GiB, but only 0\.0 GiB is free"):
        prepare(server, places)
    assert not (places[0] / "en").exists()


def test_members_that_lead_elsewhere_are_left_alone(server, places, caplog):
    outside = {
        "../evil.wav": b"x",
        "/etc/evil.wav": b"x",
        "en/../../evil.wav": b"x",
        "iw/a.wav": b"x",
        "en/x.txt": b"x",
        "en/deep/evil.wav": b"x",
        "en/a/../../../evil.wav": b"x",
        "en/a\\evil.wav": b"x",
    }
    write_zip(server.folder / "en.zip", {**recordings("en"), **outside})
    prepare(server, places)
    assert "members not extracted" in caplog.text
    assert all(name in caplog.text for name in outside)
    assert not list(places[0].parent.rglob("*evil.wav"))
    assert not (places[0] / "iw" / "a.wav").exists()


@pytest.mark.parametrize(
    "name",
    ["en/deeper/a.wav", "en//a.wav", "en/a\\b.wav", "en/a\nb.wav", "en/a\rb.wav", "en/.a.wav", "en/a.WAV"],
)
def test_recordings_lie_directly_in_the_folder_of_a_language(tmp_path, name):
    write_zip(tmp_path / "en.zip", {"en/right.wav": b"x", name: b"x"})
    archive = Archive(tmp_path / "en.zip", tmp_path)
    with zipfile.ZipFile(archive.path) as source:
        found = [path for _, path in archives.recordings(source, archive)]
    assert found == [tmp_path / "en" / "right.wav"]


def test_a_zip_that_would_become_huge_is_not_unpacked(server, places):
    """Each recording of zeros shrinks to a thousandth."""
    write_zip(server.folder / "en.zip", {**recordings("en"), "en/zeros.wav": bytes(60 << 20)})
    with pytest.raises(
        LidError, match=r"en\.zip: still damaged .*it unpacks to .* more than 50 times its size"
    ):
        prepare(server, places)
    assert not (places[0] / "en").exists()


# Corpora that are already there


def test_zips_that_are_there_are_used_as_they_are(zips, places):
    places[0].mkdir()
    for name in ("en.zip", "dev.zip"):
        shutil.copy(zips / name, places[0])
    prepare(None, places)
    assert set(table(places, SETS[0]).values()) == {"eng"}


def test_an_extracted_corpus_is_used_as_it_is_even_read_only(zips, places, caplog):
    caplog.set_level("INFO")
    for name, folder in (("en.zip", places[0]), ("iw.zip", places[0]), ("dev.zip", places[0] / "dev")):
        shutil.unpack_archive(zips / name, folder)
    (places[0] / "musan").mkdir()
    before = sorted(places[0].rglob("*"))
    places[0].chmod(0o555)
    prepare(None, places)
    places[0].chmod(0o755)
    assert set(table(places, SETS[0]).values()) == {"eng", "heb"}
    assert [path for path in sorted(places[0].rglob("*")) if path.name != ".lock"] == before
    assert "used as it is" in caplog.text
    assert "ignored folders that are not part of the corpus: musan" in caplog.text


def test_what_is_half_extracted_is_completed(server, places):
    prepare(server, places, "--stop_stage", "3")
    whole = {path: path.read_bytes() for path in places[0].rglob("*.wav")}
    short, gone = sorted((places[0] / "en").iterdir())[:2]
    short.write_bytes(b"RIFF")
    gone.unlink()
    with pytest.raises(LidError, match=r"2 of 12 files are not extracted .*sub-stages 2 and 3"):
        prepare(server, places, "--stage", "4")
    prepare(server, places)
    assert {path: path.read_bytes() for path in places[0].rglob("*.wav")} == whole


def test_a_zip_deleted_before_it_was_all_extracted_is_missed(server, places):
    prepare(server, places, "--stop_stage", "3")
    (places[0] / "en.zip").unlink()
    (places[0] / ".done" / "extracting_en.zip").touch()
    with pytest.raises(LidError, match=r"en\.zip: was deleted before it was completely extracted"):
        prepare(server, places, "--stage", "4")
    prepare(server, places)
    assert server.asked().count("en.zip") == 2


def test_zips_may_be_deleted_once_extracted(server, places):
    prepare(server, places)
    before = content(places[1])
    for path in places[0].glob("*.zip"):
        path.unlink()
    asked = len(server.requests)
    prepare(server, places)
    assert content(places[1]) == before
    assert len(server.requests) == asked


def test_empty_and_broken_files_are_named_and_dropped_and_many_are_refused(zips, places):
    for name, folder in (("en.zip", places[0]), ("dev.zip", places[0] / "dev")):
        shutil.unpack_archive(zips / name, folder)
    good = next((places[0] / "en").glob("abc*"))
    for number in range(500):
        shutil.copy(good, places[0] / "en" / f"v{number}__U__S1---0001.000-0002.000.wav")
    faults = {
        "empty": b"",
        "short": good.read_bytes()[:-100],
        "text": b"no audio at all" * 10,
        "silent": good.read_bytes()[:44],
    }
    for name, data in faults.items():
        (places[0] / "en" / f"{name}__U__S1---0001.000-0002.000.wav").write_bytes(data)
    (places[0] / "en" / "notes.txt").write_text("x")
    prepare(None, places)
    why = {key: reason for key, reason in table(places, SETS[0], "dropped").items() if reason != "in dev"}
    assert {key.split("__U__")[0] for key in why} == {f"eng_{name}" for name in faults} | {"eng_notes.txt"}
    assert why["eng_empty__U__S1---0001.000-0002.000"] == "empty file"
    assert not set(why) & {*table(places, SETS[0]), *table(places, SETS[1])}
    for path in list((places[0] / "en").glob("v1*")):
        path.unlink()
        path.touch()
    with pytest.raises(LidError, match=r"en: \d+ of \d+ files cannot be read, e\.g\."):
        prepare(None, places)


def test_a_corpus_without_dev_says_so(zips, places):
    shutil.unpack_archive(zips / "en.zip", places[0])
    with pytest.raises(LidError, match="contains no dev/LANG folder"):
        prepare(None, places)
