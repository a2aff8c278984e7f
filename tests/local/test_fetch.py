"""Downloads against a loopback server: resumed, refused, and never taken for whole before they are."""

from __future__ import annotations

import socket
from collections import namedtuple

import pytest
from local_web import serving

from lid_toolkit.errors import LidError
from local import fetch as fetching
from local.fetch import fetch, fetch_all, fetch_text, part_of, require_space, web_client

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "WAITS_S", (0.01, 0.01))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.zip").write_bytes(CONTENT)
    with serving(folder) as running:
        yield running


def get(server, path):
    with web_client() as client:
        fetch(client, server.url + "a.zip", path)


def test_a_file_comes_whole(server, tmp_path):
    with web_client() as client:
        fetch_all(client, [(server.url + "a.zip", tmp_path / "new" / "a.zip")], "download")
    assert (tmp_path / "new" / "a.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.zip"]


def test_a_connection_that_drops_is_taken_up_where_it_broke(server, tmp_path, caplog):
    server.drops["a.zip"] = [300_000, 0, 500_000]
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [start for *_, start in server.requests] == ["", "300000", "300000", "800000"]
    assert "at byte 300000: resuming" in caplog.text


def test_a_later_run_goes_on_from_the_part(server, tmp_path):
    part_of(tmp_path / "a.zip").write_bytes(CONTENT[:1000])
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests == [("GET", "a.zip", "1000")]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    part_of(tmp_path / "a.zip").write_bytes(b"something else")
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"], ids=["whole", "too long"])
def test_a_part_that_has_it_all_or_too_much(server, tmp_path, part):
    part_of(tmp_path / "a.zip").write_bytes(part)
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_but_not_for_ever(server, tmp_path):
    server.busy["a.zip"] = 2
    get(server, tmp_path / "a.zip")
    server.busy["a.zip"] = 3
    with pytest.raises(LidError, match=r"returned 503.*run this again to resume"):
        get(server, tmp_path / "b.zip")


def test_a_connection_that_never_brings_anything_ends_in_one_error(server, tmp_path):
    server.drops["a.zip"] = [400, 0, 0, 0]
    with pytest.raises(LidError, match="the connection was lost"):
        get(server, tmp_path / "a.zip")
    assert part_of(tmp_path / "a.zip").stat().st_size == 400
    assert not (tmp_path / "a.zip").exists()


def test_what_is_not_there_is_named_at_once(server, tmp_path):
    with web_client() as client, pytest.raises(LidError, match=r"b\.zip: the server returned 404"):
        fetch_all(client, [(server.url + "b.zip", tmp_path / "b.zip")], "download")
    assert list(tmp_path.glob("b.zip*")) == []


def test_an_address_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/x", "http://nowhere.invalid/x", "bark.phon.ioc.ee", "ftp://a/b"):
        with web_client() as client, pytest.raises(LidError) as fault:
            fetch_text(client, url)
        assert str(fault.value).startswith(f"{url}: cannot be reached: ")


def test_no_room_is_told_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage(0, 0, (1 << 30) + 1_000_000))
    with web_client() as client, pytest.raises(LidError, match=r"needs 1\.0 GiB, but only 1\.0 GiB is free"):
        fetch_all(client, [(server.url + "a.zip", tmp_path / "a.zip")], "download")
    assert server.asked("GET") == []
    part_of(tmp_path / "a.zip").write_bytes(CONTENT[:500_000])
    with web_client() as client:
        fetch_all(client, [(server.url + "a.zip", tmp_path / "a.zip")], "download")
    require_space(tmp_path, 0, "nothing")
