#!/usr/bin/env python3
"""Print what becomes of ESPnet's options, training keys and files as Markdown tables, for docs/espnet.md.

ESPnet's names are in tests/fixtures/espnet/names.yaml, and what differs is in utils/espnet_differences.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel

from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.espnet_yaml import FIXED, IGNORED_GROUPS, RENAMED

ROOT = Path(__file__).resolve().parents[1]
NAMES = "tests/fixtures/espnet/names.yaml"
DIFFERENCES = "utils/espnet_differences.yaml"
DECLARATION = re.compile(r"^(\w+)=(.*?) +# \S+: (.*)$", re.MULTILINE)


def option_rows(names: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """Return a row for each option of ESPnet's ``lid.sh``."""
    ours = declared("lid.sh")
    without_effect = declared("utils/espnet_options.sh")
    former = sorted(without_effect.keys() - names.keys())
    result = []
    for name, default in [*names.items(), *((name, "") for name in former)]:
        if name in ours:
            here = [default_here(default, ours[name][0]), texts.get(name, "")]
        else:
            here = [f"no effect: {without_effect[name][1]}"]
        result.append(row(f"`--{name}`", default, here))
    return result


def key_rows(names: Mapping[str, object], texts: Mapping[str, str]) -> list[str]:
    """Return a row for each key of ESPnet's training YAMLs."""
    topics = {key: topic for topic, keys in IGNORED_GROUPS.items() for key in keys}
    result = []
    for name, default in [*names.items(), *((name, None) for name in RENAMED)]:
        field = TrainConfig.model_fields.get(name)
        if field:
            here = [default_here(shown(default), shown(field.default)), texts.get(name, "")]
        elif name in RENAMED:
            here = [f"former name of `{RENAMED[name]}`"]
        elif name in FIXED:
            here = [f"other values are refused: {FIXED[name][1]}"]
        else:
            here = [texts[name] if name in texts else f"no effect ({topics[name]})"]
        result.append(row(f"`{name}`", shown(default), here))
    return result


def declared(script: str) -> dict[str, tuple[str, str]]:
    """Return the options that a script declares: name to default and help."""
    text = (ROOT / script).read_text(encoding="utf-8").partition("# end of options")[0]
    return {name: (default.strip('"'), words) for name, default, words in DECLARATION.findall(text)}


def default_here(theirs: str, ours: str) -> str:
    """Return this toolkit's default if it is another."""
    same = theirs == ours or theirs == ours.removesuffix("0") or ours.startswith("${")  # 60. and 60.0
    return "" if same else f"default `{ours or 'null'}`"


def shown(value: object) -> str:
    """Return a default as YAML on one line; empty for none, and for a configuration of its own."""
    if value in (None, (), [], {}, "") or isinstance(value, BaseModel):
        return ""
    plain = json.loads(json.dumps(value))  # without tuples
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def row(name: str, default: str, here: Iterable[str]) -> str:
    """Return a row of three columns."""
    return f"| {name} | {f'`{default}`' if default else ''} | {'; '.join(filter(None, here)) or 'same'} |"


def table(title: str, head: Iterable[str], lines: Iterable[str]) -> str:
    """Return a section with one table."""
    cells = list(head)
    return "\n".join([f"## {title}", "", f"| {' | '.join(cells)} |", "|---" * len(cells) + "|", *lines, ""])


def tables() -> str:
    """Return all tables."""
    names, texts = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in (NAMES, DIFFERENCES)
    )
    options, keys = option_rows(names["options"], texts["options"]), key_rows(names["keys"], texts["keys"])
    sections = (
        table("Options of `lid.sh`", ("option", "default in ESPnet", "here"), options),
        table("Keys of training configurations", ("key", "default in ESPnet", "here"), keys),
        table(
            "Files", ("in ESPnet", "here"), (f"| {name} | {here} |" for name, here in texts["files"].items())
        ),
    )
    return "\n".join(sections)


if __name__ == "__main__":
    print(tables(), end="")
