#!/usr/bin/env python3
"""The essential work of stage 4 with plain dictionaries, as a baseline. Arguments: TRAIN_DIR OUT."""

from __future__ import annotations

import sys
from pathlib import Path


def table(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(maxsplit=1) for line in lines)


def main(train: Path, out: Path) -> None:
    wavs, languages, lengths = (table(train / name) for name in ("wav.scp", "utt2lang", "utt2num_samples"))
    if not wavs.keys() == languages.keys() == lengths.keys():
        raise SystemExit("error: tables of different utterances")
    by_language: dict[str, list[str]] = {}
    for utterance, language in languages.items():
        by_language.setdefault(language, []).append(utterance)
    out.mkdir(parents=True, exist_ok=True)
    rows = {
        "speech_shape": (f"{key} {lengths[key]}\n" for key in sorted(lengths)),
        "category2utt": (f"{key} {' '.join(by_language[key])}\n" for key in sorted(by_language)),
        "lang2idx": (f"{key} {i}\n" for i, key in enumerate(sorted(by_language))),
    }
    for name, lines in rows.items():
        with (out / name).open("w", encoding="utf-8") as stream:
            stream.writelines(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
