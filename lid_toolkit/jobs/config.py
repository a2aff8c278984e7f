"""Configuration of a job backend, in the format of Kaldi's ``conf/queue.conf``.

Lines are (https://kaldi-asr.org/doc/queue.html)::

    command sbatch                    the submit command, with options that it always gets
    option mem=* --mem $0             the words for --mem VALUE; $0 is replaced by the value
    option mem=0                      the words for one value, which has priority; here none
    default gpu=0                     the value of an option that is not given
    machine node1 16 2                for ssh only: host, cores, and GPUs if there are any
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.errors import LidError

ANY = "*"


@dataclass(frozen=True)
class Machine:
    """A machine that runs jobs over ssh.

    Attributes:
        host: its name for ssh.
        cores: number of threads that may run on it.
        gpus: number of GPUs.
    """

    host: str
    cores: int
    gpus: int


@dataclass(frozen=True)
class Config:
    """Content of a configuration file.

    Attributes:
        path: the file.
        command: words of the submit command.
        rules: words for each ``(option, value)``; the value ``*`` matches any value.
        defaults: values of options that are not given.
        machines: the machines of backend ``ssh``.
    """

    path: Path
    command: tuple[str, ...]
    rules: Mapping[tuple[str, str], tuple[str, ...]]
    defaults: Mapping[str, str]
    machines: tuple[Machine, ...]

    @property
    def options(self) -> list[str]:
        """Names of the options that the file defines."""
        return sorted({name for name, _ in self.rules})

    def words_for(self, values: Mapping[str, str]) -> list[str]:
        """Return the submit command's words for options, in the order of the file.

        Raises:
            LidError: the file does not define one of them.
        """
        words: dict[str, list[str]] = {}
        for name, value in values.items():
            rule = self.rules.get((name, value), self.rules.get((name, ANY)))
            if rule is None:
                raise LidError(
                    f"--{name.replace('_', '-')} {value} is not defined",
                    where=self.path,
                    mend=f"add: option {name}=* WORDS-WITH-$0",
                )
            words[name] = [word.replace("$0", value) for word in rule]
        return [
            word for name in dict.fromkeys(name for name, _ in self.rules) for word in words.get(name, ())
        ]


def read_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        LidError: the file cannot be read, a line is not valid, or there is no command.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LidError(
            f"cannot be read: {error}", where=path, mend="give another file by --config"
        ) from error
    command: tuple[str, ...] = ()
    rules: dict[tuple[str, str], tuple[str, ...]] = {}
    defaults: dict[str, str] = {}
    machines: list[Machine] = []
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        kind, *words = _split(line, where) or [""]
        name, equals, value = words[0].partition("=") if words else ("", "", "")
        name = name.replace("-", "_")
        if kind == "command" and words:
            command = tuple(words)
        elif kind == "option" and name and equals:
            rules[name, value] = tuple(words[1:])
        elif kind == "default" and name and equals and len(words) == 1:
            defaults[name] = value
        elif kind == "machine" and re.fullmatch(r"\S+ [1-9]\d*( \d+)?", " ".join(words)):
            machines.append(Machine(words[0], int(words[1]), int(words[2]) if len(words) > 2 else 0))
        elif kind:
            raise LidError(f"'{line.strip()}' is not valid", where=where, mend=_FORMS)
    if not command:
        raise LidError("the submit command is missing", where=path, mend="add: command SUBMIT-COMMAND")
    return Config(path, command, rules, defaults, tuple(machines))


_FORMS = "lines are: command WORDS, option NAME=VALUE WORDS, default NAME=VALUE, machine HOST CORES [GPUS]"


def _split(line: str, where: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise LidError(f"cannot be parsed: {error}", where=where) from error
