"""``lid``: its subcommands are found, described and the same as the scripts."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lid_toolkit import __version__
from lid_toolkit.cli import OptionParser, run
from lid_toolkit.commands import embed, info, languages
from lid_toolkit.commands.completion import main as completion
from lid_toolkit.commands.completion import whole_parser
from lid_toolkit.commands.main import COMMANDS, dispatch, help_text
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier

ROOT = Path(__file__).resolve().parents[2]
ALL = [command for group in COMMANDS.values() for command in group]
NO_COMMANDS = {"check_environment", "check_options", "stages"}
ALSO_ALONE = {"calibrate", "import_model"}
"""Commands that are useful without the recipe, too."""
"""What finds the environment, checks the options of lid.sh, and names the stages."""


def printed(arguments, capsys):
    dispatch(arguments)
    return capsys.readouterr().out


def test_help_and_version(capsys):
    assert printed([], capsys) == printed(["--help"], capsys) == help_text()
    assert all(f"  {command.name} " in help_text() for command in ALL)
    assert printed(["--version"], capsys) == f"lid {__version__}\n"


def test_help_imports_nothing_large():
    script = "import sys; from lid_toolkit.commands.main import dispatch; dispatch(['--help']); "
    script += (
        "print(len(sys.modules), [n for n in ('torch', 'numpy', 'pydantic', 'yaml') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1].endswith(" []")


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_every_command_has_a_parser_with_a_description(command):
    module = importlib.import_module(f"lid_toolkit.commands.{command.module}")
    parser = module.make_parser()
    assert isinstance(parser, OptionParser)
    assert parser.description
    assert callable(module.main)
    undocumented = [action.dest for action in parser._actions if not action.help]
    assert undocumented == []


def test_every_script_is_a_command():
    scripts = {path.stem for path in (ROOT / "pyscripts").glob("*.py")} - NO_COMMANDS - ALSO_ALONE
    recipe = {command.name for command in ALL if command.module.startswith("recipe.")}
    assert recipe == scripts
    for name in scripts:
        text = (ROOT / f"pyscripts/{name}.py").read_text()
        assert f"lid_toolkit.commands.recipe import {name}" in text or f"recipe.{name} import main" in text
        assert (ROOT / f"pyscripts/{name}.py").stat().st_mode & 0o111


def test_a_command_of_the_recipe_runs_and_names_itself(tmp_path, capsys):
    (tmp_path / "wav.scp").write_text("u1 a.wav\nu2 b.wav\n")
    (tmp_path / "utt2lang").write_text("u1 eng\nu2 fra\n")
    (tmp_path / "lang2utt").write_text("eng u1\nfra u2\n")
    copy = tmp_path / "copy"
    assert printed(["copy_data_dir", str(tmp_path), str(copy)], capsys) == f"{copy}: 2 utterances\n"
    with pytest.raises(SystemExit):
        run(dispatch, ["copy_data_dir", "--prefix", "a"])
    assert capsys.readouterr().err.startswith("error: lid copy_data_dir: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("identity", "lid: unknown command 'identity' (did you mean 'identify'?)"),
        ("--model", "lid: unknown option '--model' (see lid --help)"),
        ("", "lid: unknown command '' (see lid --help)"),
    ],
)
def test_an_unknown_command_is_one_line(name, message):
    with pytest.raises(LidError) as raised:
        dispatch([name])
    assert str(raised.value) == message


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    completion([shell])
    code = capsys.readouterr().out
    assert "--min_margin" in code
    assert "validate_data_dir" in code


def test_completed_words_in_bash(tmp_path, capsys):
    """Bash itself is asked what it would offer."""
    completion(["bash"])
    code = tmp_path / "completion"
    code.write_text(capsys.readouterr().out)
    script = """
        . "$1"
        offer() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _shtab_lid
            echo "${COMPREPLY[@]}"
        }
        compopt() { :; }
        offer lid ide
        offer lid identify --min_s
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(code)], capture_output=True, text=True, timeout=60, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.split() == ["identify"]
    assert set(second.split()) == {"--min_seconds", "--min_speech_seconds", "--min_score"}


def test_without_shtab_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(LidError, match=r"needs shtab \(pip install"):
        completion(["bash"])


def test_one_parser_has_all_commands():
    (commands,) = (action for action in whole_parser()._actions if action.dest == "==SUPPRESS==")
    assert set(commands.choices) == {command.name for command in ALL}


def test_languages(model_file, capsys):
    languages.main(["--model", str(model_file)])
    assert capsys.readouterr().out == "high\thigh\nlow\tlow\nmiddle\tmiddle\n"


def test_info_of_an_experiment(model_file, tmp_path, capsys):
    experiment = tmp_path / "lid_x"
    scored = experiment / "inference/valid.accuracy.best/test"
    scored.mkdir(parents=True)
    (experiment / model_file.name).write_bytes(model_file.read_bytes())
    (experiment / "config.yaml").write_text("max_epoch: 7\noptim: adam\nbatch_bins: 5\n")
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    result = {"accuracy": estimate, "macro_accuracy": estimate, "utterances": 50, "languages": 3}
    (scored / "results.json").write_text(json.dumps(result))
    info.main([str(experiment), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["languages"] == ["high", "low", "middle"]
    assert facts["rate"] == 16000
    assert facts["licence"] == "apache-2.0"
    assert facts["components"]["encoder"] == "ecapa_tdnn"
    assert facts["training"] == {"max_epoch": 7, "optim": "adam", "batch_bins": 5}
    assert facts["results"] == {"inference/valid.accuracy.best/test": result}
    info.main([str(experiment)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "languages: 3: high (high), low (low), middle (middle)"
    assert lines[-1].endswith("test: accuracy 90.00 % [80.00, 95.00] of 50 utterances")


def test_embeddings_are_those_of_the_interface(model_file, recordings, tmp_path, capsys):
    output = tmp_path / "a.npz"
    words = [recordings[0], str(tmp_path / "none.wav"), recordings[1]]
    with pytest.raises(SystemExit) as left:
        embed.main([*words, "--model", str(model_file), "--device", "cpu", "--output", str(output)])
    assert left.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == f"error: {tmp_path}/none.wav: does not exist (check the path)"
    assert errors[1] == "error: 1 of 3 recordings could not be read"
    with np.load(output) as content:
        assert content["ids"].tolist() == recordings[:2]
        embeddings = content["embeddings"]
    expected = LanguageIdentifier.from_pretrained(model_file, "cpu").embed(recordings[:2])
    assert embeddings == pytest.approx(expected, abs=1e-5)
    assert embeddings.dtype == np.float32
    with pytest.raises(LidError, match=r"must end with \.npz"):
        embed.main([*words, "--model", str(model_file), "--output", "a.txt"])


@pytest.mark.parametrize("command", COMMANDS["Use a model"], ids=lambda command: command.name)
def test_a_command_reads_each_of_its_options(command):
    """In its module, or in what it imports from other commands: ``options.NAME``, or NAME in a tuple."""
    own = importlib.import_module(f"lid_toolkit.commands.{command.module}")
    tree = ast.parse(Path(own.__file__).read_text())
    read = options_in(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lid_toolkit.commands."):
            path = Path(own.__file__).with_name(f"{node.module.rpartition('.')[2]}.py")
            read |= options_in(*used_by({alias.name for alias in node.names}, ast.parse(path.read_text())))
    assert {action.dest for action in own.make_parser()._actions} - {"help"} <= read


def used_by(names, tree):
    """Return the functions and constants of a module with these names, and those that they use."""
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    nodes |= {ast.unparse(node.targets[0]): node for node in tree.body if isinstance(node, ast.Assign)}
    done = set()
    while todo := names & set(nodes) - done:
        done |= todo
        used = itertools.chain.from_iterable(ast.walk(nodes[name]) for name in todo)
        names = names | {node.id for node in used if isinstance(node, ast.Name)}
    return [nodes[name] for name in done]


def options_in(*trees):
    """Return the names of the options that code reads."""
    found = set()
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "options":
            found.add(node.attr)
        elif isinstance(node, ast.Tuple):
            found |= {item.value for item in node.elts if isinstance(item, ast.Constant)}
    return found
