"""Signals are remembered, obeyed when asked, and act at once the second time."""

from __future__ import annotations

import os
import signal

import pytest

from lid_toolkit.training.stop import REQUEUE, stop_request


def test_nothing_is_done_without_a_signal():
    with stop_request() as stop:
        stop.obey(before_leaving=pytest.fail)
        assert list(stop.watched("abc", before_leaving=pytest.fail)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("number", "leaves", "code"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, REQUEUE),
        (signal.SIGUSR1, SystemExit, REQUEUE),
    ],
)
def test_a_signal_waits_until_it_is_obeyed(number, leaves, code):
    saved, seen = [], []
    with stop_request() as stop:
        items = stop.watched("abc", before_leaving=lambda: saved.append(True))
        seen.append(next(items))
        os.kill(os.getpid(), number)
        with pytest.raises(leaves) as left:
            seen.append(next(items))
        assert seen == ["a"]
        assert saved == [True]
        assert getattr(left.value, "code", None) == code


def test_a_signal_inside_a_finaliser_is_not_lost():
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    with stop_request() as stop:
        Finalised()
        with pytest.raises(KeyboardInterrupt):
            stop.obey(before_leaving=lambda: None)


def test_the_second_signal_acts_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_request():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
