"""Progress in a log and on a terminal."""

import io

import pytest

from lid_toolkit import progress
from lid_toolkit.progress import Progress, write_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests turn: ``clock[0]`` is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_lines_at_growing_intervals_and_a_last_one(clock):
    log = io.StringIO()
    with Progress("format", 1000, stream=log) as shown:
        for _ in range(200):
            clock[0] += 1.0
            shown.advance(5, audio_s=20.0)
    lines = log.getvalue().splitlines()
    assert lines[0] == "format: 25/1000 utt, 5.0 utt/s, 20 audio-s/s, 195 s left"
    assert lines[-1] == "format: 1000/1000 utt, 5.0 utt/s, 20 audio-s/s, 200.0 s"
    assert len(lines) == 7  # at 5, 15, 35, 75, 135 and 195 s, and the end


def test_items_done_in_an_earlier_run_do_not_count_for_the_rate(clock):
    log = io.StringIO()
    with Progress("train", 1000, "batch", stream=log, done=900) as shown:
        clock[0] += 10.0
        shown.advance(0)
        clock[0] += 10.0
        shown.advance(40)
    first, second, _ = log.getvalue().splitlines()
    assert first == "train: 900/1000 batch, 0.0 batch/s, 10.0 s"
    assert second == "train: 940/1000 batch, 2.0 batch/s, 30 s left"


def test_short_work_says_one_line(clock):
    log = io.StringIO()
    with Progress("score", None, unit="set", stream=log) as shown:
        clock[0] += 0.5
        shown.advance()
    assert log.getvalue() == "score: 1 set, 2.0 set/s, 0.5 s\n"


def test_a_failure_is_not_reported_as_the_end():
    log = io.StringIO()
    with pytest.raises(ZeroDivisionError), Progress("x", 2, stream=log):
        raise ZeroDivisionError
    assert log.getvalue() == ""


def test_a_terminal_gets_a_bar():
    terminal = Terminal()
    with Progress("train", 4, stream=terminal) as shown:
        shown.advance(4, audio_s=8.0)
    assert "train: 100%" in terminal.getvalue()
    assert "audio-s/s" in terminal.getvalue()


def test_the_total_may_be_known_later():
    terminal, log = Terminal(), io.StringIO()
    with Progress("identify", None, stream=terminal) as bar, Progress("identify", None, stream=log) as lines:
        for progress in (bar, lines):
            progress.advance(2)
            progress.expect(4)
            progress.advance(1)
    assert "3/4" in terminal.getvalue()
    assert log.getvalue().startswith("identify: 3/4 utt")


def test_a_line_beside_a_bar_goes_to_standard_error(capsys):
    write_line("error: a.wav: is broken")
    assert capsys.readouterr().err == "error: a.wav: is broken\n"
