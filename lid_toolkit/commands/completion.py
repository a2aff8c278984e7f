"""``lid completion SHELL``: completion of subcommands, options and files, as code for a shell.

The code is complete in itself, so that pressing the tab key does not start Python.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.main import COMMANDS
from lid_toolkit.errors import LidError

SHELLS = ("bash", "zsh", "tcsh")


def main(arguments: Sequence[str]) -> None:
    """Print the code."""
    options = make_parser().parse_args(arguments)
    try:
        import shtab
    except ImportError:
        mend = 'pip install "lid_toolkit[completion]"'
        raise LidError("needs shtab", where="lid completion", mend=mend) from None

    parser = whole_parser()
    for action in all_actions(parser):
        if action.type is Path or action.dest == "inputs":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser('Print completion code for a shell: eval "$(lid completion bash)".')
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser that has the parsers of all subcommands; it imports all of them."""
    whole = argparse.ArgumentParser(prog="lid", description="Spoken language identification.")
    subparsers = whole.add_subparsers()
    for command in (command for group in COMMANDS.values() for command in group):
        module = importlib.import_module(f"lid_toolkit.commands.{command.module}")
        own = module.make_parser()
        subparsers.add_parser(
            command.name, help=command.summary, parents=[own], add_help=False, description=own.description
        )
    return whole


def all_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and arguments of a parser and of its subcommands."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += all_actions(inner)
    return found
