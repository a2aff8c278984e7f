"""Signals are remembered, obeyed when asked, and act at once the second time."""

from __future__ import annotations

import os
import signal

import pytest

from lid_toolkit.training import signals
from lid_toolkit.training.signals import caught_signals, elected, obey, stop_request


def test_nothing_is_done_without_a_signal():
    with stop_request() as request:
        obey(elected(request.votes()), before_leaving=pytest.fail)


@pytest.mark.parametrize(
    ("number", "leaves", "code"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 75),
        (signal.SIGUSR1, SystemExit, 75),
        (signal.SIGHUP, SystemExit, 75),
    ],
)
def test_a_signal_waits_until_it_is_obeyed(number, leaves, code):
    saved = []
    with stop_request() as request:
        os.kill(os.getpid(), number)
        with pytest.raises(leaves) as left:
            obey(elected(request.votes()), before_leaving=lambda: saved.append(True))
        assert saved == [True]
        assert getattr(left.value, "code", None) == code


def test_a_signal_inside_a_finaliser_is_not_lost():
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    with stop_request() as request:
        Finalised()
        assert request.signal == signal.SIGINT


def test_the_same_request_from_two_sides_is_one():
    acted = []
    before = signal.signal(signal.SIGUSR1, lambda *_: acted.append(True))
    try:
        with stop_request() as request:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGUSR1)
            assert request.signal == signal.SIGUSR1
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not acted


def test_the_second_signal_acts_at_once_and_handlers_come_back(monkeypatch):
    monkeypatch.setattr(signals, "SAME_REQUEST_S", -1.0)
    before = signal.getsignal(signal.SIGINT)
    with stop_request():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_whose_parent_was_killed_stops(monkeypatch):
    with stop_request(with_parent=True) as request:
        assert elected(request.votes()) is None
        monkeypatch.setattr(os, "getppid", lambda: request.parent + 1)  # 1 may be the parent in a container
        assert elected(request.votes()) == signal.SIGTERM


def test_a_hangup_is_caught_unless_it_is_ignored():
    assert signal.SIGHUP in caught_signals()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert set(caught_signals()) == {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    finally:
        signal.signal(signal.SIGHUP, before)
