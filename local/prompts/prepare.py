"""Stage 1 for corpus `prompts`: make train, dev and test directories from Debian's voice-prompt packages."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import Utterance, alone, option_parser, report, share, sources, write_set
from local.debs import fetch, find, unpack
from local.prompts.packages import PACKAGES, Package, recordings
from local.takes import Take, choose, listen_to_all

SHORTEST_S = 1.0
DEV_SHARE = 0.1
NOT_SPEECH = ("silence/*", "beep", "beeperr", "*-2tone", "confbridge-join", "confbridge-leave", "tt-monkeys")


def take(package: Package, name: str, path: Path, wav: Path) -> Take:
    """Return what is known of a recording of a package.

    The id is the speaker and the name, with ``-`` instead of ``/`` and other special characters.

    Args:
        package: its package.
        name: its path relative to the package's root, without suffix.
        path: the file.
        wav: the folder for a WAV copy.
    """
    who = speaker(package, name)
    is_speech = not any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_SPEECH)
    return Take(
        f"{who}-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}",
        package.language,
        who,
        package.name,
        path,
        wav / f"{name}.wav",
        "" if is_speech else "not speech (by name)",
    )


def speaker(package: Package, name: str) -> str:
    """Return the speaker id: the package's voice, or, in the game, the character given by the file name."""
    if package.voice != "fillets":
        return f"{package.language}-{package.voice}"
    parts = re.split(r"[-_]", Path(name).name)
    fish = next((part for part in parts[:-1] if part in ("m", "v")), "others")
    return f"{package.language}-{package.voice}-{fish}"


def split(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Split into sets: held-out speakers to test, a tenth of the others to dev, by a hash of the id."""
    held_out = {f"{p.language}-{p.voice}" for p in PACKAGES if p.held_out}
    sets: dict[str, list[Utterance]] = {"train_prompts": [], "dev_prompts": [], "test_prompts": []}
    for utterance in utterances:
        if utterance.speaker in held_out:
            sets["test_prompts"].append(utterance)
        elif share(utterance.key) < DEV_SHARE:
            sets["dev_prompts"].append(utterance)
        else:
            sets["train_prompts"].append(utterance)
    return sets


def gather(debs: Sequence[Path], corpus_dir: Path) -> list[Take]:
    """Unpack the packages, in the order of ``PACKAGES``, and list their recordings."""
    found = []
    with Progress("unpack prompts", len(debs), "package") as progress:
        for package, deb in zip(PACKAGES, debs, strict=True):
            tree = unpack(deb, corpus_dir / "unpacked")
            wav = corpus_dir / "wav" / deb.stem
            items = [take(package, name, path, wav) for name, path in recordings(package, tree)]
            if not items:
                raise LidError(f"contains no recordings in {package.root}", where=deb)
            found += items
            progress.advance()
    return found


def prepare(datadir: Path, corpus_dir: Path, jobs: int, dry_run: bool) -> None:
    """Make the three data directories unless they are current, and print a summary."""
    folder = corpus_dir / "debs"
    debs = [(find(p.name, folder) or folder / p.name) if dry_run else fetch(p.name, folder) for p in PACKAGES]
    step = Step(
        "prepare prompts",
        datadir / ".done" / "prompts.json",
        {
            **sources(__file__, "speech", "takes"),
            **{package.name: deb for package, deb in zip(PACKAGES, debs, strict=True)},
        },
        {"corpus_dir": str(corpus_dir)},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("preparing prompts", lock=None) as work:
        if work is not None:
            work.finish(make(debs, datadir, corpus_dir, jobs))


def make(debs: Sequence[Path], datadir: Path, corpus_dir: Path, jobs: int) -> list[Path]:
    """Unpack and check the recordings, write the data directories, and return all files written."""
    heard = listen_to_all(gather(debs, corpus_dir), SHORTEST_S, jobs, corpus_dir)
    utterances, dropped = choose(heard)
    write_table(corpus_dir / "dropped", dropped.items())
    sets = split(utterances)
    tables = [path for name, members in sets.items() for path in write_set(datadir / name, members)]
    reasons = Counter(reason.split(" (")[0] for reason in dropped.values())
    print(report(sets))
    print(f"dropped {len(dropped)} of {len(heard)}:", ", ".join(f"{r} {n}" for r, n in reasons.most_common()))
    logging.info("dropped recordings with reasons: %s", corpus_dir / "dropped")
    return [*tables, *(u.audio for u in utterances)]


def main(arguments: Sequence[str]) -> None:
    """Parse the options and prepare the corpus."""
    parser = option_parser(
        "prompts", "Prepare corpus prompts: real speech from Debian's voice-prompt packages."
    )
    options = parser.parse_args(arguments)
    corpus_dir = options.corpus_dir.absolute()
    with alone("prompts", corpus_dir, options.datadir, dry_run=options.dry_run):
        prepare(options.datadir, corpus_dir, options.nj, options.dry_run)


if __name__ == "__main__":
    run(main)
