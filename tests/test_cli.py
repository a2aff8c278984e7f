"""Options in Kaldi's style, exit codes and one-line errors."""

import argparse
import errno
import subprocess
import sys

import pytest

from lid_toolkit.cli import OptionParser, boolean, positive_int, run
from lid_toolkit.errors import LidError


@pytest.fixture
def parser():
    parser = OptionParser("Do a thing.")
    parser.prog = "thing"
    parser.add_argument("--audio_format", default="wav", help="format")
    return parser


def test_unknown_option_names_the_nearest(parser):
    with pytest.raises(
        LidError, match=r"thing: unknown option --audio_fromat \(did you mean '--audio_format'"
    ):
        parser.parse_args(["--audio_fromat", "wav"])


def test_abbreviations_are_refused(parser):
    with pytest.raises(LidError, match="unknown option --audio"):
        parser.parse_args(["--audio", "wav"])


def test_missing_value_is_told(parser):
    with pytest.raises(LidError, match="expected one argument"):
        parser.parse_args(["--audio_format"])


def test_help_shows_defaults(parser):
    parser.add_argument("--config", required=True, help="configuration")
    shown = parser.format_help()
    assert "(default: wav)" in shown
    assert "None" not in shown


def test_values():
    assert boolean("true") is True
    assert boolean("false") is False
    assert positive_int("12") == 12
    for parse, bad in (
        (boolean, "yes"),
        (boolean, "True"),
        (positive_int, "0"),
        (positive_int, "-3"),
        (positive_int, "1.5"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=bad):
            parse(bad)


def leave(error=None):
    """Run a command that raises ``error``; return its exit code."""

    def main(_):
        if error:
            raise error

    with pytest.raises(SystemExit) as left:
        run(main, [])
    return left.value.code


def test_exit_codes(capsys):
    assert leave() == 0
    assert leave(LidError("bad", where="x", mend="y")) == 2
    assert leave(OSError(errno.ENOSPC, "No space left on device", "/big")) == 2
    assert leave(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "error: x: bad (y)\nerror: /big: No space left on device\nstopped\n"


def test_missing_torch_is_told_and_other_missing_modules_are_bugs(capsys):
    def main(_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(SystemExit) as exited:
        run(main, [])
    assert exited.value.code == 2
    assert capsys.readouterr().err == "error: torch is not installed (pip install 'lid_toolkit[torch]')\n"
    with pytest.raises(ModuleNotFoundError):
        run(lambda _: __import__("no_such_module"), [])


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda _: 1 / 0, [])


def test_the_end_of_a_command_searches_no_garbage():
    """The search takes half a second after torch was imported; what is left ends with the process anyway."""
    script = (
        "from lid_toolkit.cli import run\n"
        "class Loop:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self): print('found')\n"
        "def main(_): Loop()\n"
    )
    for end, printed in (("run(main, [])", ""), ("main([])", "found\n")):
        command = [sys.executable, "-c", script + end]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == printed
