"""Settings as text: YAML without duplicate keys, a base to start from, and overrides of nested keys."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import yaml

from lid_toolkit.errors import LidError

BASE = "base"
"""Key that names another YAML file, relative to this one, whose settings this one changes."""
NESTED = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
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


def read_settings(path: Path, above: Sequence[Path] = ()) -> dict[str, object]:
    """Read a YAML file of ``key: value`` lines, and the files that it has as ``base``.

    Args:
        path: the file.
        above: files that have this one as their base.

    Raises:
        LidError: a file does not exist, is not YAML or no mapping, has a duplicate key, or is its own base.
    """
    raw = _read_yaml(path)
    base = raw.pop(BASE, None)
    if base is None:
        return raw
    below = path.parent / str(base)
    if below.resolve() in {file.resolve() for file in (*above, path)}:
        raise LidError(f"{BASE}: {base} has this file as its own base", where=path, mend="name another file")
    return _merged(read_settings(below, (*above, path)), raw)


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_KeysOnce)
    except FileNotFoundError:
        raise LidError("does not exist", where=path, mend="check the name of the configuration") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise LidError(f"not YAML: {error}", where=path, mend="correct that line") from error
    if not isinstance(raw or {}, dict):
        raise LidError("not a mapping of keys to values", where=path, mend="write 'key: value' lines")
    return raw or {}


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of both; where both have a key, ``above`` counts, and mappings are merged."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        lower, upper = below[key], above[key]
        if isinstance(lower, Mapping) and isinstance(upper, Mapping):
            merged[key] = _merged(lower, upper)
    return merged


def override(raw: Mapping[str, object], words: Sequence[str]) -> dict[str, object]:
    """Return ``raw`` changed by ``--key value`` or ``--key=value`` words; values are read as YAML.

    Nested keys are written ``--optim_conf.lr 1e-4``, or as in ESPnet ``--optim_conf lr=1e-4``.

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
        nested = NESTED.fullmatch(text) if option.endswith("_conf") else None
        if nested:
            option, text = f"{option}.{nested[1]}", nested[2]
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
