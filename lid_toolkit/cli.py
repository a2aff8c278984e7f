"""Shared by all commands: options in Kaldi's style, logging, and errors in one line."""

from __future__ import annotations

import argparse
import errno
import gc
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

from lid_toolkit.errors import LidError, WorkName, nearest
from lid_toolkit.processes import stop_with_parent

TORCH = ("torch", "torchaudio")
"""PyTorch, without which exported models can be used, but nothing else that computes."""
USER_ERROR = 2
USERS_FAULTS = (
    *(errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.EFBIG),
)


class _DefaultsShown(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class OptionParser(argparse.ArgumentParser):
    """argparse without abbreviated options, with defaults in ``--help``, and with one-line errors."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=_DefaultsShown,
        )

    def error(self, message: str) -> NoReturn:
        """Raise a LidError; for an unknown option it suggests the most similar known one."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            known = [
                name for action in self._actions for name in action.option_strings if name.startswith("--")
            ]
            raise LidError(f"unknown option {unknown[1]}", where=self.prog, mend=nearest(unknown[1], known))
        raise LidError(message, where=self.prog, mend="see --help")


def boolean(text: str) -> bool:
    """Parse Kaldi's ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return text == "true"


def positive_int(text: str) -> int:
    """Parse an integer of at least 1."""
    return _whole_number(text, 1)


def natural(text: str) -> int:
    """Parse an integer of at least 0."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
    return number


def non_negative(text: str) -> float:
    """Parse a finite number that is not negative."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 0")
    return number


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    number = non_negative(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return number


def seconds_list(text: str) -> tuple[float, ...]:
    """Parse numbers above 0 that are separated by spaces; return them in ascending order, each once."""
    found = sorted({non_negative(word) for word in text.split()})
    if not found or found[0] == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers above 0")
    return tuple(found)


def fraction_list(text: str) -> tuple[float, ...]:
    """Parse numbers above 0 and at most 1 that are separated by spaces; return them as ``seconds_list``."""
    found = seconds_list(text)
    if found[-1] > 1:
        raise argparse.ArgumentTypeError(f"'{text}' has a number above 1")
    return found


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    number = non_negative(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return number


def names(text: str) -> tuple[str, ...]:
    """Parse names that are separated by commas."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError("the list is empty")
    return found


def probabilities(text: str) -> dict[str, float]:
    """Parse ``NAME=PROBABILITY,…``."""
    found = {}
    for part in names(text):
        name, mark, number = part.partition("=")
        if not mark or not name:
            raise argparse.ArgumentTypeError(f"'{part}' is not LANGUAGE=PROBABILITY")
        found[name.strip()] = fraction(number)
    return found


def run(
    main: Callable[[Sequence[str]], None],
    arguments: Sequence[str] | None = None,
    stages: Mapping[WorkName, str] = MappingProxyType({}),
) -> NoReturn:
    """Run ``main`` as a command, and exit.

    The exit code is 0 if ``main`` returns or the reader of standard output has gone (``| head``). It is 2,
    with one line on standard error, for a :class:`LidError`, a full or read-only disk, a denied permission,
    a file or file name that is too long, or PyTorch that is not installed. It is 130 on Ctrl-C. Any other
    exception is a bug and keeps its traceback. For error messages, ``stages`` gives the recipe's name for
    each kind of work. If the parent asks for it, the command gets SIGTERM when the parent ends
    (:func:`lid_toolkit.processes.stop_with_parent`).
    """
    stop_with_parent()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # or it logs a line for each request to the Hub
    try:
        main(sys.argv[1:] if arguments is None else arguments)
    except LidError as error:
        _fail(error.message(stages))
    except OSError as error:
        if error.errno == errno.EPIPE:
            os._exit(0)  # not sys.exit: Python would flush standard output and report the broken pipe
        if error.errno not in USERS_FAULTS:
            raise
        _fail(f"{error.filename or 'disk'}: {error.strerror}")
    except ModuleNotFoundError as error:
        if error.name not in TORCH:
            raise
        _fail(f"{error.name} is not installed (pip install 'lid_toolkit[torch]')")
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    finally:
        gc.freeze()  # or Python searches all objects for garbage before it ends: half a second with torch
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(USER_ERROR)
