"""The model that is offered to somebody who has none: asked for once on a terminal, never without asking."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lid_toolkit.commands import main as command_line
from lid_toolkit.commands import offer
from lid_toolkit.errors import LidError

COMMAND = "lid identify --model openai/whisper-base 'my recording.wav' --top_k 2"


class Terminal(io.StringIO):
    """Standard input that somebody types in."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty directory, with no model, configuration or cache; return the file of the answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LID_MODEL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["lid identify", "identify", "my recording.wav", "--top_k", "2"])
    return tmp_path / "config/lid_toolkit/model"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(text))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_in_a_pipe_the_command_is_said_and_nothing_is_downloaded(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    monkeypatch.setattr(sys, "argv", ["lid", "identify", "my recording.wav", "--top_k", "2"])
    with pytest.raises(LidError) as refused:
        command_line.dispatch(sys.argv[1:])
    assert str(refused.value) == (
        "--model: no model is named, and exp/ has no experiment (train one, or download openai/whisper-base, "
        f"290 MB, licence Apache 2.0: {COMMAND})"
    )
    assert not nowhere.exists()


def test_the_question_says_size_licence_and_command_and_is_asked_once(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    typed(monkeypatch, "what?\nYes\n")
    assert offer.offered_model() == "openai/whisper-base"
    said = capsys.readouterr().err
    assert "290 MB" in said
    assert "Apache 2.0" in said
    assert COMMAND in said
    assert said.count("[y/n]") == 2
    assert nowhere.read_text() == "openai/whisper-base\n"
    typed(monkeypatch, "")
    assert offer.offered_model() == "openai/whisper-base"
    assert capsys.readouterr().err == ""


def test_no_is_remembered_too(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    typed(monkeypatch, "n\n")
    with pytest.raises(LidError, match="no model is named"):
        offer.offered_model()
    typed(monkeypatch, "y\n")
    with pytest.raises(LidError, match=f"{nowhere} says not to ask"):
        offer.offered_model()


def test_an_input_that_ends_is_no_answer(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    typed(monkeypatch, "")
    with pytest.raises(LidError, match="no model is named"):
        offer.offered_model()
    assert not nowhere.exists()


def test_after_yes_a_pipe_uses_what_is_in_the_cache_and_downloads_nothing(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
):
    nowhere.parent.mkdir(parents=True)
    nowhere.write_text("openai/whisper-base\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(offer, "is_here", lambda: False)
    with pytest.raises(LidError, match="download openai/whisper-base"):
        offer.offered_model()
    monkeypatch.setattr(offer, "is_here", lambda: True)
    assert offer.offered_model() == "openai/whisper-base"


def test_an_answer_that_cannot_be_written_still_counts(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    nowhere.parent.parent.write_text("a file")
    typed(monkeypatch, "y\n")
    assert offer.offered_model() == "openai/whisper-base"
    assert "the answer is not remembered" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff", b"somebody/else\n"])
def test_a_damaged_answer_is_asked_for_again(nowhere: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    nowhere.parent.mkdir(parents=True)
    nowhere.write_bytes(content)
    typed(monkeypatch, "y\n")
    assert offer.offered_model() == "openai/whisper-base"


def test_what_is_said_of_the_licence_is_what_a_model_card_would_say():
    from lid_toolkit.package.licences import licence_of

    assert licence_of(offer.OFFERED) == offer.LICENCE.lower().replace(" ", "-")
