"""Load, validate, combine, split, subset and perturb large data directories, compared to plain dictionaries.

Work that needs memory runs in separate processes, because a forked process inherits the peak memory of its
parent.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
from processes import Figures, python

from lid_toolkit import languages
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import Table

PARTS = 4
A_VIDEO = 15


def figures(work: Path, utterances: int) -> dict[str, Figures]:
    """Make a directory of 107 languages in ``work``, and return time and memory of each command on it."""
    whole, parts, plain = work / "whole", work / "parts", work / "plain"
    python(__file__, "make", whole, utterances)
    sources = [parts / str(number + 1) for number in range(PARTS)]
    dicts = "benchmarks/directory_dicts.py"
    rows = {
        "load": python(__file__, "load", whole),
        "load, in dicts": python(dicts, "load", whole),
        "validate": python("pyscripts/validate_data_dir.py", whole, "--check_audio", "none"),
        "validate, in dicts": python(dicts, "validate", whole),
        f"split in {PARTS}": python("pyscripts/split_data_dir.py", whole, PARTS, "--output_dir", parts),
        "split by utterance in 3": python(
            *("pyscripts/split_data_dir.py", whole, "--by", "utterance", "--shares", "0.8 0.1 0.1"),
            *("--output_dir", work / "by_utterance"),
        ),
        f"split in {PARTS}, in dicts": python(dicts, "split", whole, PARTS, plain / "parts"),
        f"combine {PARTS}": python("pyscripts/combine_data_dirs.py", work / "again", *sources),
        f"combine {PARTS}, in dicts": python(dicts, "combine", plain / "again", *sources),
        "choose 100 a language": python(
            "pyscripts/subset_data_dir.py", whole, work / "some", "--per_lang", 100
        ),
        "perturb speed, 3 factors": python("pyscripts/perturb_data_dir.py", whole, work / "sp"),
    }
    python(__file__, "compare", whole, work / "again", plain / "again")
    python(__file__, "shuffle", whole / "wav.scp")
    return {**rows, "load, unsorted": python(__file__, "load", whole)}


def make_directory(path: Path, utterances: int) -> None:
    """Write a directory like VoxLingua107's: segments of videos in 107 languages, without the audio."""
    labels = np.array(list(languages.languages())[:107])
    rng = np.random.default_rng(0)
    videos = -(-utterances // A_VIDEO)
    names = np.frombuffer(rng.bytes(6 * videos), dtype="u1").reshape(videos, 6)
    of_video = labels[rng.integers(len(labels), size=videos)]
    keys = sorted(
        f"{label}_{bytes(name).hex()}{number:06x}__U__S{number % 9}---{7 * i:04d}.000-{7 * i + 6:04d}.420"
        for number, (label, name) in enumerate(zip(of_video.tolist(), names, strict=True))
        for i in range(min(A_VIDEO, utterances - number * A_VIDEO))
    )
    recordings = (f"{key} /corpora/voxlingua107/{key[:3]}/{key[4:]}.wav\n".encode() for key in keys)
    utt2lang = (f"{key} {key[:3]}\n".encode() for key in keys)
    write_data_dir(path, Table.of_blocks(recordings), Table.of_blocks(utt2lang))


def compare(*paths: Path) -> None:
    for name in ("wav.scp", "utt2lang", "lang2utt"):
        if len({(path / name).read_bytes() for path in paths}) > 1:
            raise SystemExit(f"error: the {name} of {', '.join(map(str, paths))} differ")


def shuffle(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    path.write_bytes(b"".join(lines))


def main(action: str, path: str, *further: str) -> None:
    if action == "make":
        make_directory(Path(path), int(further[0]))
    elif action == "load":
        read_data_dir(path)
    elif action == "compare":
        compare(Path(path), *map(Path, further))
    else:
        shuffle(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
