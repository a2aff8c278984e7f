"""The commands on data directories, written with plain dictionaries as a baseline.

    benchmarks/directory_dicts.py load|validate|combine|split ARGUMENTS...

Messages, locks and atomic writes are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

NAMES = ("wav.scp", "utt2lang")


def main(action: str, *arguments: str) -> None:
    {"load": load, "validate": validate, "combine": combine, "split": split}[action](*arguments)


def load(path: str) -> dict[str, dict[str, str]]:
    return {name: read(Path(path) / name) for name in NAMES}


def read(path: Path) -> dict[str, str]:
    table: dict[str, str] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, value = line.rstrip().split(maxsplit=1)
            assert key not in table, key
            table[key] = value
    return table


def validate(path: str) -> None:
    wav_scp, utt2lang = load(path).values()
    assert wav_scp.keys() == utt2lang.keys()
    assert {key: value.split() for key, value in read(Path(path) / "lang2utt").items()} == inverted(utt2lang)


def combine(target: str, *sources: str) -> None:
    together: dict[str, dict[str, str]] = {name: {} for name in NAMES}
    for source in sources:
        for name, table in load(source).items():
            assert not together[name].keys() & table.keys()
            together[name] |= table
    write(Path(target), together)


def split(path: str, parts: str, target: str) -> None:
    tables = load(path)
    keys = sorted(tables["wav.scp"], key=str.encode)
    for number in range(int(parts)):
        part = keys[number * len(keys) // int(parts) : (number + 1) * len(keys) // int(parts)]
        chosen = {name: {key: table[key] for key in part} for name, table in tables.items()}
        write(Path(target) / str(number + 1), chosen)


def inverted(utt2lang: dict[str, str]) -> dict[str, list[str]]:
    languages: dict[str, list[str]] = {}
    for utterance in sorted(utt2lang, key=str.encode):
        languages.setdefault(utt2lang[utterance], []).append(utterance)
    return languages


def write(path: Path, tables: dict[str, dict[str, str]]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    languages = {key: " ".join(keys) for key, keys in inverted(tables["utt2lang"]).items()}
    for name, table in {**tables, "lang2utt": languages}.items():
        with open(path / name, "w", encoding="utf-8") as lines:
            lines.writelines(f"{key} {table[key]}\n" for key in sorted(table, key=str.encode))


if __name__ == "__main__":
    main(*sys.argv[1:])
