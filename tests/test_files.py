"""Whole files and locks, with processes that are really killed."""

import multiprocessing
import os
import signal
import stat
import time

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, remove_leftovers, require_directory, temporary_beside, write_whole


def test_replaces_the_old_file_and_makes_directories(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("one\n", "two: é\n"):
        with write_whole(path) as stream:
            stream.write(text)
        assert path.read_bytes() == text.encode()
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_an_exception_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way():
        with write_whole(path, "wb") as stream:
            stream.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_nothing_before_the_end(tmp_path):
    path = tmp_path / "file"
    with write_whole(path) as stream:
        stream.write("x")
        stream.flush()
        assert not path.exists()
    assert path.exists()


def test_content_then_name_reach_the_disk(tmp_path, monkeypatch):
    """An fsync of the whole content before the rename, and of the directory after it."""
    path = tmp_path / "file"
    path.write_text("old")
    reached = []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        size = None if stat.S_ISDIR(status.st_mode) else status.st_size
        reached.append((status.st_ino, size, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    with write_whole(path) as stream:
        stream.write("new")
    assert reached == [(path.stat().st_ino, 3, "old"), (tmp_path.stat().st_ino, None, "new")]


def test_temporary_name_keeps_directory_and_suffix(tmp_path):
    name = temporary_beside(tmp_path / "a.flac")
    assert name.parent == tmp_path
    assert name.suffix == ".flac"


def hold(directory, ready):
    with locked(directory, "formatting"):
        ready.set()
        time.sleep(60)


def test_the_second_is_told_and_a_killed_holder_frees(tmp_path):
    ready = multiprocessing.Event()
    holder = multiprocessing.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(20)
    with (
        pytest.raises(LidError, match=rf"in use: formatting \(process {holder.pid} on"),
        locked(tmp_path, "b"),
    ):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with locked(tmp_path, "second"):
        assert (tmp_path / ".lock").read_text().startswith(f"second (process {os.getpid()} on ")


@pytest.mark.parametrize("below", ["", "new", "new/deep"])
def test_a_file_in_the_place_of_a_directory_is_named(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(LidError) as error, locked(file / below, "planning"):
        pass
    assert str(error.value) == f"{file}: is a file, not a directory"
    assert file.read_text() == "kept"


def hold_with_a_child(directory, ready):
    with locked(directory, "training"):
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,)).start()
        ready.set()
        time.sleep(60)


def test_a_child_that_outlives_a_killed_holder_keeps_nobody_out(tmp_path):
    ready = multiprocessing.Event()
    holder = multiprocessing.Process(target=hold_with_a_child, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(20)
    time.sleep(0.5)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with locked(tmp_path, "second"):
        pass


def test_a_directory_that_is_missing_or_a_file_is_named(tmp_path):
    require_directory(tmp_path)
    (tmp_path / "file").touch()
    for name, what in (("file", "is a file, not a directory"), ("none", "does not exist")):
        with pytest.raises(LidError) as error:
            require_directory(tmp_path / name, redo="formatting")
        assert str(error.value) == f"{tmp_path / name}: {what} (run formatting again)"


def test_leftovers_of_killed_writers_go(tmp_path):
    temporary_beside(tmp_path / "a-b.txt").write_text("half")
    temporary_beside(tmp_path / "folder").mkdir()
    other = temporary_beside(tmp_path / "other.txt")
    other.write_text("half")
    (tmp_path / "a-b.txt").write_text("whole")
    remove_leftovers(tmp_path, {"a-b.txt", "folder"})
    assert {path.name for path in tmp_path.iterdir()} == {"a-b.txt", other.name}
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a-b.txt"]
