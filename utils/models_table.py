#!/usr/bin/env python3
"""Print every component of a model, with its arguments, as Markdown, from the code's own docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from config_table import shown

from lid_toolkit.models.arguments import fixed_arguments
from lid_toolkit.models.build import arguments_model
from lid_toolkit.models.registry import COMPONENTS, find

ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
SECTION = re.compile(r"^(Args|Raises|Returns|Attributes):$", re.MULTILINE)


def section(component: str, name: str, make: Callable[..., Any]) -> str:
    """Return one component: what it is, and a row for each argument."""
    text, meanings = documented(make)
    rows = []
    for argument, field in arguments_model(make).model_fields.items():
        default = "required" if field.is_required() else shown(field.default)
        meaning = meanings[argument] + choices(field.annotation, meanings[argument])
        meaning = meaning.replace("|", r"\|")
        rows.append(f"| `{argument}` | {default} | {meaning} |")
    rows += [
        f"| `{argument}` | {shown(value)} | The only value. |"
        for argument, value in fixed_arguments(make).items()
    ]
    table = ["| argument | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"#### `{component}: {name}`", "", text, "", *table])


def documented(make: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return a docstring's text before its sections, and the line of each of its ``Args``."""
    doc = inspect.getdoc(make) or ""
    parts = SECTION.split(doc)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    meanings = {}
    for entry in re.split(r"\n(?= {4}\S)", sections.get("Args", "")):
        name, colon, meaning = entry.strip().partition(":")
        if colon:
            said = plain(meaning)
            meanings[name] = said[:1].upper() + said[1:]
    return "\n\n".join(plain(paragraph) for paragraph in parts[0].strip().split("\n\n")), meanings


def choices(annotation: Any, meaning: str) -> str:
    """Return the names that an argument may have, as a sentence, unless its meaning tells them."""
    parts = [annotation, *get_args(annotation)]
    names = [name for part in parts if get_origin(part) is Literal for name in get_args(part)]
    quoted = [f"`{name}`" for name in names]
    explained = len(names) < 2 or all(name in meaning for name in quoted)
    return "" if explained else f" One of {', '.join(quoted)}."


def plain(text: str) -> str:
    """Return docstring text as one line of Markdown."""
    return " ".join(ROLE.sub(r"`\1`", text).replace("``", "`").split())


if __name__ == "__main__":
    pages = [
        "\n".join(section(component, name, find(component, name)) for name in known)
        for component, known in COMPONENTS.items()
    ]
    titled = zip(COMPONENTS, pages, strict=True)
    print("\n".join(f"### {component.capitalize()}\n\n{page}" for component, page in titled).rstrip())
