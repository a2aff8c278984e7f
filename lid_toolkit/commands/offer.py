"""Offer a pretrained model to somebody who has none: asked for once, and never downloaded silently.

The answer is remembered in ``$XDG_CONFIG_HOME/lid_toolkit/model`` (``~/.config/lid_toolkit/model``): the name
of the model, or ``none``. Remove the file to be asked again.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

OFFERED = "openai/whisper-base"
LICENCE = "Apache 2.0"
SIZE = "290 MB"
WEIGHTS = "model.safetensors"
NONE = "none"
NO_MODEL = "no model is named, and exp/ has no experiment"


def offered_model() -> str:
    """Return the model that the user agrees, or has agreed, to use.

    Raises:
        LidError: there is nobody to ask, or the user has declined.
    """
    path = answer_path()
    answer = remembered(path)
    if answer == OFFERED and (is_here() or is_terminal()):
        return OFFERED
    if answer is None and is_terminal():
        answer = asked()
        if answer is not None:
            remember(path, answer)
        if answer == OFFERED:
            return OFFERED
    declined = f"; {path} says not to ask" if answer == NONE else ""
    raise LidError(
        f"{NO_MODEL}{declined}",
        where="--model",
        mend=f"train one, or download {OFFERED}, {SIZE}, licence {LICENCE}: {command()}",
    )


def asked() -> str | None:
    """Ask on the terminal; return the model, ``none``, or None if the input ended without an answer."""
    sys.stderr.write(
        f"{NO_MODEL}.\n{OFFERED} identifies 99 languages without training. It is downloaded from the Hugging "
        f"Face Hub ({SIZE}, licence {LICENCE}).\nThe same without this question: {command()}\n"
    )
    while True:
        sys.stderr.write("Download it and use it from now on? [y/n] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return None
        word = line.strip().lower()
        if word in ("y", "yes", "n", "no"):
            return OFFERED if word.startswith("y") else NONE


def command() -> str:
    """Return the command that was given, with the offered model named in it."""
    first, _, name = sys.argv[0].rpartition("lid ")
    rest = sys.argv[2:] if not first and name else ["RECORDING"]
    return shlex.join(["lid", name if not first and name else "identify", "--model", OFFERED, *rest])


def is_terminal() -> bool:
    """Return whether somebody can be asked: questions go to standard error."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def is_here() -> bool:
    """Return whether the model is in the cache of the Hub, so that nothing has to be downloaded."""
    from huggingface_hub import try_to_load_from_cache  # takes a while, which other models do not need

    return isinstance(try_to_load_from_cache(OFFERED, WEIGHTS), str)


def answer_path() -> Path:
    """Return the file in which the answer is remembered."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "lid_toolkit" / "model"


def remembered(path: Path) -> str | None:
    """Return the remembered answer; None if there is none that is understood."""
    try:
        answer = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return answer if answer in (OFFERED, NONE) else None


def remember(path: Path, answer: str) -> None:
    """Write the answer; a warning says so if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as stream:
            stream.write(f"{answer}\n")
    except (OSError, LidError) as error:
        logging.warning("%s: the answer is not remembered: %s", path, error)
