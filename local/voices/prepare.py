"""Stage 1 for corpus `voices`: sets that share no voice, from the speech in Debian packages."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lid_toolkit import languages
from lid_toolkit.cli import run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import require_directory
from lid_toolkit.prepare.manifest import read_folder
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import Utterance, alone, option_parser, report, sources, write_set
from local.debs import fetch, find, unpack
from local.prompts import packages as prompts
from local.prompts.prepare import take as prompt
from local.takes import REFUSED, Heard, Take, choose, listen_to_all
from local.voices.packages import PACKAGES, Found, recordings
from local.voices.split import split

SHORTEST_S = 0.5
OWN = "own"
SPECIAL = re.compile(r"\W+")
"""Characters of file names that ids do not have."""


def takes(debs: Mapping[str, Path], corpus_dir: Path, own_folder: Path | None) -> list[Take]:
    """Unpack the packages and list their recordings, and those of the user's folder.

    Raises:
        LidError: a package contains no recordings, or a folder's name is not a language.
    """
    found: list[Take] = []
    with Progress("unpack voices", len(debs), "package") as progress:
        for package in (*prompts.PACKAGES, *PACKAGES):
            deb = debs[package.name]
            tree, wav = unpack(deb, corpus_dir / "unpacked"), corpus_dir / "wav" / deb.stem
            if isinstance(package, prompts.Package):
                source = f"{package.language}-{package.voice}"
                of_prompts = (prompt(package, n, p, wav) for n, p in prompts.recordings(package, tree))
                items = [replace(item, source=source) for item in of_prompts]
            else:
                items = [_take(item, wav) for item in recordings(package, tree)]
            if not items:
                raise LidError(f"contains no recordings in {package.root}", where=deb)
            found += items
            progress.advance()
    if own_folder is not None:
        found += [_take(item, corpus_dir / "wav" / OWN) for item in own_recordings(own_folder)]
    return list(_with_unique_keys(found))


def own_recordings(folder: Path) -> Iterator[Found]:
    """Yield the recordings below ``folder/LANGUAGE/``, each language as one source."""
    for item in read_folder(folder, speakers=False):
        try:
            language = languages.code(item.language)
        except LidError as error:
            raise LidError(error.what, where=folder / item.language, mend=error.mend) from None
        name = str(Path(item.name).with_suffix(""))
        yield Found(language, f"{language}-{OWN}", name, Path(item.path))


def _take(item: Found, wav: Path) -> Take:
    key = f"{item.source}-{SPECIAL.sub('-', item.name)}"
    return Take(key, item.language, item.source, item.source, item.path, wav / f"{key}.wav")


def _with_unique_keys(found: Sequence[Take]) -> Iterator[Take]:
    """Yield the takes; a number is added to an id that occurred before, as with ``a.b`` and ``a-b``."""
    counts: Counter[str] = Counter()
    for item in found:
        counts[item.key] += 1
        number = counts[item.key]
        yield item if number == 1 else replace(item, key=f"{item.key}--{number}")


def packages_in(corpus_dir: Path, prompts_dir: Path) -> dict[str, Path]:
    """Return the folder for the ``.deb`` of each package. Those of corpus `prompts` are shared with it."""
    of_prompts = {package.name: prompts_dir / "debs" for package in prompts.PACKAGES}
    return of_prompts | {package.name: corpus_dir / "debs" for package in PACKAGES}


def make(
    debs: Mapping[str, Path], datadir: Path, corpus_dir: Path, own_folder: Path | None, jobs: int
) -> list[Path]:
    """Unpack and check the recordings, write the data directories, and return all files written."""
    found = takes(debs, corpus_dir, own_folder)
    heard = listen_to_all(found, SHORTEST_S, jobs, corpus_dir)
    utterances, dropped = choose(heard)
    write_table(corpus_dir / "dropped", dropped.items())
    sets = split(utterances, {h.utterance.key: h.source for h in heard})
    tables = [path for name, members in sets.items() for path in write_set(datadir / name, members)]
    print(report(sets))
    print(table_of_sources(heard, sets))
    reasons = Counter(reason.split(" (")[0] for reason in dropped.values())
    print(f"dropped {len(dropped)} of {len(heard)}:", ", ".join(f"{r} {n}" for r, n in reasons.most_common()))
    refused = {
        (h.source, reason) for h in heard if (reason := dropped.get(h.utterance.key, "")).startswith(REFUSED)
    }
    for source, reason in sorted(refused):
        logging.warning("%s: %s", source, reason)
    logging.info("dropped recordings with reasons: %s", corpus_dir / "dropped")
    return [*tables, *(u.audio for u in utterances)]


def table_of_sources(heard: Sequence[Heard], sets: Mapping[str, Sequence[Utterance]]) -> str:
    """Return a text table: the sets that each source is in, and its utterances and minutes there."""
    source_of = {h.utterance.key: h.source for h in heard}
    rows: dict[tuple[str, str, str], list[float]] = {}
    for name, members in sets.items():
        for utterance in members:
            row = (utterance.language, source_of[utterance.key], name)
            rows.setdefault(row, []).append(utterance.duration)
    lines = [f"{'language':<10}{'source':<28}{'set':<14}{'utts':>6}{'minutes':>9}"]
    for (language, source, name), seconds in sorted(rows.items()):
        lines.append(f"{language:<10}{source:<28}{name:<14}{len(seconds):>6}{sum(seconds) / 60:>9.1f}")
    return "\n".join(lines)


def prepare(
    datadir: Path, corpus_dir: Path, prompts_dir: Path, own_folder: Path | None, jobs: int, dry_run: bool
) -> None:
    """Make the three data directories unless they are current, and print a summary."""
    folders = packages_in(corpus_dir, prompts_dir)
    debs = {
        name: (find(name, folder) or folder / name) if dry_run else fetch(name, folder)
        for name, folder in folders.items()
    }
    own = {} if own_folder is None else {item.name: item.path for item in own_recordings(own_folder)}
    step = Step(
        "prepare voices",
        datadir / ".done" / "voices.json",
        {
            **sources(__file__, "speech", "takes"),
            **{f"prompts/{path.name}": path for path in sources(prompts.__file__).values()},
            **debs,
            **{f"{OWN}/{name}": path for name, path in own.items()},
        },
        {"corpus_dir": str(corpus_dir), "own_folder": str(own_folder or "")},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("preparing voices", lock=None) as work:
        if work is not None:
            work.finish(make(debs, datadir, corpus_dir, own_folder, jobs))


def main(arguments: Sequence[str]) -> None:
    """Parse the options and prepare the corpus."""
    parser = option_parser("voices", "Prepare corpus voices: real speech from Debian packages.")
    parser.add_argument(
        "--prompts_dir",
        type=Path,
        default=Path("downloads/prompts"),
        help="directory of corpus prompts, whose packages are used too",
    )
    parser.add_argument("--own_folder", default="", help="folder of your own with LANGUAGE/… recordings")
    options = parser.parse_args(arguments)
    corpus_dir, prompts_dir = options.corpus_dir.absolute(), options.prompts_dir.absolute()
    own_folder = Path(options.own_folder).absolute() if options.own_folder else None
    if own_folder is not None:
        require_directory(own_folder)
    with alone("voices", corpus_dir, prompts_dir, options.datadir, dry_run=options.dry_run):
        prepare(options.datadir, corpus_dir, prompts_dir, own_folder, options.nj, options.dry_run)


if __name__ == "__main__":
    run(main)
