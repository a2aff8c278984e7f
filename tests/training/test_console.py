"""What is shown while a training runs: a bar on a terminal, nothing twice elsewhere."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from lid_toolkit.training.console import clock, shown_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_bar_with_the_measures(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown_progress("epoch 3", total=10, done=4) as show:
        show(6, "loss 1.25, accuracy 0.9")
        logging.getLogger().warning("between")
    text = terminal.getvalue()
    assert "epoch 3" in text
    assert "10/10" in text
    assert "loss 1.25, accuracy 0.9" in text


def test_a_log_is_left_to_the_log_lines(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_progress("epoch 3", total=10, done=0) as show:
        show(10, "loss 1.25")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (4e5, "111:06:40")]
)
def test_a_duration(seconds, text):
    assert clock(seconds) == text
