"""``lid stream``: lines of JSON while the audio arrives; pipes and signals end it cleanly."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from data.corpus import RATE, beeps

from lid_toolkit.cli import run
from lid_toolkit.commands.stream import PcmReader
from lid_toolkit.commands.stream import main as stream
from lid_toolkit.inference.identifier import LanguageIdentifier

WORDS = ("--device", "cpu", "--vad", "none", "--window", "1", "--hop", "0.5", "--debounce", "0")


@pytest.fixture(scope="module")
def pcm():
    pieces = [beeps(language, 2 * RATE, 1) for language in ("low", "high", "low")]
    return np.round(np.concatenate(pieces) * 32767).astype("<i2")


def lines_of(model_file, content, words, monkeypatch, capsys):
    standard_input = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content)), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", standard_input)
    with pytest.raises(SystemExit) as left:
        run(stream, ["--model", str(model_file), *WORDS, *words])
    output = capsys.readouterr()
    assert left.value.code == 0, output.err
    return [json.loads(line) for line in output.out.splitlines()]


def test_lines_are_the_updates_and_the_last_is_the_answer_of_identify(model_file, pcm, monkeypatch, capsys):
    lines = lines_of(model_file, pcm.tobytes() + b"\0", ["--rate", "16000"], monkeypatch, capsys)
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    expected = lid.identify(pcm, window=1, top_k=3, vad="none").as_dict()
    assert [line["time"] for line in lines] == [*(half / 2 for half in range(1, 13)), 6.0]
    assert [line["is_last"] for line in lines] == [False] * 12 + [True]
    assert lines[-1]["answer"].pop("scores") == pytest.approx(expected.pop("scores"), abs=1e-5)
    for name in ("language", "duration", "windows", "status"):
        assert lines[-1]["answer"][name] == expected[name]
    changes = lines_of(model_file, pcm.tobytes(), ["--changes"], monkeypatch, capsys)
    assert changes == [line for line in lines if line["changed"]] + [changes[-1]]
    assert changes[-1]["is_last"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_input(number):
    """While it waits for input, and between two reads."""
    receiver, sender = os.pipe()
    before = signal.getsignal(number)
    with open(receiver, "rb") as source:
        chunks = PcmReader(source).chunks()
        os.write(sender, b"\1\0\2")
        assert next(chunks).tolist() == [1]
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        assert list(chunks) == []
        os.write(sender, b"\3\0")
        chunks = PcmReader(source).chunks()
        assert next(chunks).tolist() == [3]
        os.kill(os.getpid(), number)
        assert list(chunks) == []
        os.close(sender)
    assert signal.getsignal(number) is before


def test_a_signal_to_the_command_and_a_reader_that_has_gone(model_file, pcm):
    words = [sys.executable, "-m", "lid_toolkit.commands", "stream", "--model", str(model_file), *WORDS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as process:
        process.stdin.write(pcm.tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        lines = [first, *map(json.loads, process.stdout)]
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert (lines[0]["time"], lines[-1]["is_last"]) == (0.5, True)
    with subprocess.Popen(words, **pipes) as process:
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(pcm.tobytes())
            process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_has_no_audio(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(SystemExit) as left:
        run(stream, ["--model", "none"])
    assert left.value.code == 2
    assert re.fullmatch(r"error: standard input: there is no audio \(pipe .*\)\n", capsys.readouterr().err)
