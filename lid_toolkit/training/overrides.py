"""Settings as text: YAML without duplicate keys, and ``--key value`` overrides of nested keys."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import yaml

from lid_toolkit.errors import LidError

FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class _KeysOnce(yaml.SafeLoader):
    """PyYAML's safe loader, but a duplicate key is an error; PyYAML would silently use the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.YAMLError(f"line {line}: duplicate key '{key}', first in line {seen[key]}")
                seen[key] = line
        return super().construct_mapping(node, deep)


def read_settings(path: Path) -> dict[str, object]:
    """Read a YAML file of ``key: value`` lines.

    Raises:
        LidError: the file does not exist, is not YAML, has a duplicate key, or is not a mapping.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_KeysOnce)
    except FileNotFoundError:
        raise LidError("does not exist", where=path, mend="check the name of the configuration") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise LidError(f"not YAML: {error}", where=path, mend="correct that line") from error
    if not isinstance(raw or {}, dict):
        raise LidError("not a mapping of keys to values", where=path, mend="write 'key: value' lines")
    return raw or {}


def override(raw: Mapping[str, object], words: Sequence[str]) -> dict[str, object]:
    """Return ``raw`` changed by ``--key value`` or ``--key=value`` words; values are read as YAML.

    Raises:
        LidError: a word is not an option, has no value, or its value is not YAML.
    """
    changed = dict(raw)
    rest = list(words)
    while rest:
        option, equals, text = rest.pop(0).partition("=")
        if not option.startswith("--"):
            raise LidError(f"'{option}' is not an option", where="overrides", mend="write --key value pairs")
        if not equals:
            if not rest:
                raise LidError(f"'{option}' has no value", where="overrides", mend="write --key value pairs")
            text = rest.pop(0)
        try:
            # YAML would read a word that ends in a colon as a mapping.
            value = text if text.endswith(":") else yaml.load(text, Loader=_KeysOnce)
        except yaml.YAMLError as error:
            raise LidError(f"'{text}' is not YAML", where=option, mend="quote it") from error
        changed = _set(changed, option[2:].split("."), value)
    return changed


def numbers(value: object) -> object:
    """Convert strings such as ``1e-4`` to numbers; YAML 1.1 requires a dot (``1.0e-4``)."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if isinstance(value, str) and FLOAT.fullmatch(value) else value


def _set(mapping: Mapping[str, object], path: Sequence[str], value: object) -> dict[str, object]:
    below = mapping.get(path[0])
    inner = below if isinstance(below, Mapping) else {}
    return {**mapping, path[0]: value if len(path) == 1 else _set(inner, path[1:], value)}
