"""The command ``lid``: it finds the module of a subcommand, and imports nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from lid_toolkit import __version__
from lid_toolkit.cli import run
from lid_toolkit.errors import LidError, nearest


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        name: the word after ``lid``.
        module: the module below ``lid_toolkit.commands`` that has its ``make_parser`` and ``main``.
        summary: its line in ``lid --help``.
    """

    name: str
    module: str
    summary: str


COMMANDS = {
    "Use a model": (
        Command("identify", "identify", "identify the language of recordings"),
        Command("segment", "segment", "find where the language of a recording changes"),
        Command("stream", "stream", "follow the language of audio on standard input"),
        Command("embed", "embed", "write the embeddings of recordings"),
        Command("vote", "vote", "ask several models, and answer together"),
        Command("vote_results", "vote_results", "answer a set by several systems together"),
        Command("calibrate", "calibrate", "fit the calibration of a model's scores"),
        Command("serve", "serve", "serve a page and a JSON service that identify languages"),
        Command("languages", "languages", "list the languages of a model"),
        Command("info", "info", "describe a model: languages, size, licence, results"),
    ),
    "Train and share a model": (
        Command("check_config", "recipe.check_config", "check a training configuration"),
        Command("format_audio", "recipe.format_audio", "format the audio of a data directory"),
        Command("collect_stats", "recipe.collect_stats", "collect the lengths and labels of both sets"),
        Command("collect_feature_stats", "recipe.collect_feature_stats", "collect statistics of features"),
        Command("extract_features", "recipe.extract_features", "extract features of a frozen front end"),
        Command("train", "recipe.train", "train a model"),
        Command("infer", "recipe.infer", "identify a formatted data directory"),
        Command("pool", "recipe.pool", "join the answers of folds"),
        Command("score", "recipe.score", "score the answers for a data directory"),
        Command("compare", "recipe.compare", "compare two systems on the same utterances"),
        Command("report", "recipe.report", "report on an experiment, or on several side by side"),
        Command("plot_tsne", "recipe.plot_tsne", "draw a map of embeddings"),
        Command("export", "export", "write a model for other programs: ONNX, ESPnet"),
        Command("pack", "recipe.pack", "pack a model into one zip file"),
        Command("upload_hf", "recipe.upload_hf", "upload a packed model to the Hugging Face Hub"),
        Command("import", "import_model", "import a model of another toolkit"),
    ),
    "Prepare data": (
        Command("import_data", "recipe.import_data", "import recordings into a data directory"),
        Command("validate_data_dir", "recipe.validate_data_dir", "report the faults of a data directory"),
        Command("fix_data_dir", "recipe.fix_data_dir", "fix a data directory"),
        Command("report_data_dir", "recipe.report_data_dir", "report hours, languages and durations"),
        Command("copy_data_dir", "recipe.copy_data_dir", "copy a data directory"),
        Command("combine_data_dirs", "recipe.combine_data_dirs", "combine data directories"),
        Command(
            "split_data_dir", "recipe.split_data_dir", "split a data directory into parts, sets or folds"
        ),
        Command("subset_data_dir", "recipe.subset_data_dir", "select utterances of a data directory"),
        Command("perturb_data_dir", "recipe.perturb_data_dir", "copy a data directory at other speeds"),
    ),
    "The command itself": (Command("completion", "completion", "print completion code for a shell"),),
}
"""The subcommands, by the headings of ``lid --help``."""


def find(name: str) -> Command:
    """Return a subcommand; raise LidError if there is none of this name."""
    known = {command.name: command for group in COMMANDS.values() for command in group}
    if name not in known:
        kind = "option" if name.startswith("-") else "command"
        advice = nearest(name, known, otherwise="see lid --help", least_similarity=0.6)
        raise LidError(f"unknown {kind} '{name}'", where="lid", mend=advice)
    return known[name]


def help_text() -> str:
    """Return what ``lid --help`` prints."""
    parts = ["usage: lid COMMAND [options]\n\nSpoken language identification.\n"]
    for heading, group in COMMANDS.items():
        parts.append(f"\n{heading}:\n")
        parts += [f"  {command.name:<22} {command.summary}\n" for command in group]
    return "".join([*parts, "\n`lid COMMAND --help` lists the options of a command.\n"])


def dispatch(arguments: Sequence[str]) -> None:
    """Run the subcommand that the first word names, with the others.

    Raises:
        LidError: there is no such subcommand, or it failed.
    """
    first, *others = arguments or ("--help",)
    if first in ("--help", "-h"):
        print(help_text(), end="")
    elif first == "--version":
        print(f"lid {__version__}")
    else:
        command = find(first)
        module = importlib.import_module(f"lid_toolkit.commands.{command.module}")
        sys.argv[0] = f"lid {command.name}"  # argparse and error messages name the command by it
        module.main(others)


def main() -> NoReturn:
    """Run the command line."""
    run(dispatch)
