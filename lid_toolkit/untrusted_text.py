"""YAML and JSON of a stranger: plain values only, and neither nesting nor aliases can make them large."""

from __future__ import annotations

import json
from typing import Any

import yaml

LARGEST_YAML = 2 * 2**20
"""Bytes of a YAML or JSON text. The labels of 4,000 languages take a tenth of it."""
DEEPEST = 20
"""Levels of a YAML text. The deepest one, a pretrained encoder inside fused front ends, has eight."""
MOST_VALUES = 1_000_000
"""Values in a YAML text after its aliases are replaced by what they stand for."""
YAML = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
BAD_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""Exceptions of PyYAML, its own and those for values that do not match their tags."""


def parse_yaml(text: str, loader: Any = YAML) -> Any:
    """Return the plain values of a YAML text.

    Nesting is limited before anything is composed, since it overflows the stack. Aliases are limited before
    anything is constructed: nine lines of ``b: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]``, each using the
    line before, describe a list of a billion values.

    Raises:
        yaml.YAMLError: more than DEEPEST levels or MOST_VALUES values, a value inside itself, or not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels")
    root = yaml.compose(text, Loader=loader)
    if root is not None and _values(root, {}) > MOST_VALUES:
        raise yaml.YAMLError(f"more than {MOST_VALUES:,} values")
    return yaml.load(text, Loader=loader)  # a safe loader, given by the caller


def parse_json(text: str) -> dict[str, Any]:
    """Return the content of a JSON text with one object.

    Raises:
        ValueError: more than LARGEST_YAML characters, not JSON, too deep, or not an object.
    """
    if len(text) > LARGEST_YAML:
        raise ValueError(f"more than {LARGEST_YAML:,} characters")
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("too many levels") from error
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values in a node and its parts, with aliases replaced."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("a value that contains itself")
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]
