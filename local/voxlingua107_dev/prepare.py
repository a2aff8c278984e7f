"""Stage 1 for corpus `voxlingua107_dev`: download the dev set alone, and divide it into folds by video."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from lid_toolkit.audio.reader import AudioError, audio_info
from lid_toolkit.cli import run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import Utterance, alone, option_parser, sources, write_set
from local.fetch import fetch_all, part_of, web_client
from local.voxlingua107 import layout
from local.voxlingua107.archives import is_zip
from local.voxlingua107.layout import CODES, DEV, Archive, Corpus, label, utterance_id, video
from local.voxlingua107.prepare import URL, Job, extract, verify
from local.voxlingua107_dev.folds import FOLDS, assign_folds, choose_valid, sizes_of

NAME = "voxlingua107_dev"
ALL = f"all_{NAME}"
ZIP = f"{DEV}.zip"
SUFFIXES = (".wav", ".flac")
MOST_BROKEN = 0.01


class DevCorpus(Corpus):
    """A directory with the dev set: ``dev.zip``, ``dev/LANG``, or ``LANG`` without a ``dev`` above it."""

    def archives(self) -> list[Archive]:
        """Return ``dev.zip`` if it exists; other zips are not used."""
        return [self.archive(ZIP)] if (self.path / ZIP).is_file() else []

    def speech(self) -> list[Path]:
        """Return the language folders, sorted by name."""
        return self.dev_folders() or self.folders()

    def lacks_clips(self) -> bool:
        """Return whether the clips are yet to come: there are no folders, or only some of the zip's."""
        return not self.speech() or self.half_extracted(ZIP).exists()


@dataclass(frozen=True)
class Clips:
    """The clips that can be read, and by id the reasons why the others are dropped."""

    kept: Sequence[Utterance]
    dropped: Sequence[tuple[str, str]]


def download(job: Job) -> None:
    """Download ``dev.zip`` if it is missing, or the rest of it if it is truncated."""
    path = job.corpus.path / ZIP
    if path.exists() and is_zip(path):
        return
    if path.exists():
        logging.warning("%s is truncated: resuming its download", path)
        path.replace(part_of(path))
    with web_client() as client:
        fetch_all(client, [(urljoin(job.url, ZIP), path)], f"download {NAME}")


def clips_of(folders: Sequence[Path]) -> Clips:
    """Read the header of each WAV and FLAC file of some language folders; ``utt2spk`` will have the video.

    Raises:
        LidError: more than 1 % of the files cannot be read, or a clip is there twice.
    """
    kept: dict[str, Utterance] = {}
    dropped: list[tuple[str, str]] = []
    files = [(folder.name, file) for folder in folders for file in sorted(_files(folder))]
    with Progress("read headers", len(files), "clip") as progress:
        for code, file in files:
            progress.advance()
            key = utterance_id(code, file.stem)
            if key in kept:
                raise LidError(
                    f"the clip is also in {kept[key].audio}", where=file, mend="delete one of them"
                )
            try:
                if file.suffix not in SUFFIXES:
                    raise AudioError(f"not a {' or '.join(SUFFIXES)} file")
                info = audio_info(str(file))
            except AudioError as error:
                dropped.append((key, error.what))
                continue
            seconds = info.num_samples / info.rate
            kept[key] = Utterance(key, label(code), video(file.stem), file, seconds)
    if len(dropped) > MOST_BROKEN * len(files):
        what = f"{len(dropped)} of {len(files)} files cannot be read, e.g. {dropped[0][0]}: {dropped[0][1]}"
        raise LidError(what, where=folders[0].parent, mend="delete the folder and run this again")
    return Clips(list(kept.values()), dropped)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, without hidden ones; raise LidError for a name that is no text."""
    for file in folder.iterdir():
        if not file.name.isprintable():
            what = f"the name {file.name!a} has characters that are not printable UTF-8"
            raise LidError(what, where=folder, mend="rename the file")
        if not file.name.startswith(".") and file.is_file():
            yield file


def make_sets(clips: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Return the set of all clips, and the training, validation and test set of each fold."""
    sizes = sizes_of((clip.language, clip.speaker) for clip in clips)
    fold_of = assign_folds(sizes)
    sets = {ALL: list(clips)}
    for fold in range(1, FOLDS + 1):
        valid = choose_valid(sizes, fold_of, fold)
        parts: dict[str, list[Utterance]] = {"train": [], "valid": [], "test": []}
        for clip in clips:
            inside = fold_of[clip.speaker] == fold
            parts["test" if inside else "valid" if clip.speaker in valid else "train"].append(clip)
        sets |= {f"{part}_{NAME}_fold{fold}": found for part, found in parts.items()}
    return sets


def report(sets: dict[str, list[Utterance]]) -> str:
    """Return a text table of each set's clips, videos, languages and hours."""
    lines = [f"{'set':<32}{'clips':>7}{'videos':>8}{'languages':>11}{'hours':>7}"]
    for name, clips in sets.items():
        videos, languages = {clip.speaker for clip in clips}, {clip.language for clip in clips}
        hours = sum(clip.duration for clip in clips) / 3600
        lines.append(f"{name:<32}{len(clips):>7}{len(videos):>8}{len(languages):>11}{hours:>7.2f}")
    return "\n".join(lines)


def write_all(job: Job, corpus: DevCorpus) -> list[Path]:
    """Write the data directories and return their tables."""
    clips = clips_of(corpus.speech())
    sets = make_sets(clips.kept)
    written = [path for name, found in sets.items() for path in write_set(job.datadir / name, found)]
    dropped = job.datadir / ALL / "dropped"
    dropped.unlink(missing_ok=True)
    if clips.dropped:
        write_table(dropped, clips.dropped)
        logging.warning("%d files are dropped, with the reasons in %s", len(clips.dropped), dropped)
        written.append(dropped)
    print(report(sets))
    return written


def tables_step(job: Job, corpus: DevCorpus) -> Step:
    """Return the step that writes the data directories; it is stale when a file is added, gone or changed."""
    stamps = hashlib.blake2b()
    for folder in corpus.speech():
        for file in sorted(_files(folder)):
            found = file.stat()
            stamps.update(f"{folder.name}/{file.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    options = {"corpus": str(corpus.path), "its files": stamps.hexdigest()[:16]}
    scripts = sources(__file__) | {
        f"voxlingua107/{key}": path for key, path in sources(layout.__file__).items()
    }
    return Step(f"tables of {NAME}", job.datadir / ".done" / f"{NAME}.json", scripts, options)


def prepare(job: Job, corpus: DevCorpus) -> None:
    """Download and extract what is missing, and write the tables unless they are current."""
    if corpus.lacks_clips():
        if job.dry_run:
            logging.info("download %s: to do (%s from %s, to %s)", NAME, ZIP, job.url, corpus.path)
            return
        download(job)
        verify(job)
        extract(job)
    if not corpus.speech():
        known = f"{len(CODES)} codes of VoxLingua107, such as {', '.join(CODES[:3])}"
        mend = f"check VOXLINGUA107_DEV in db.sh; the names of the folders are the {known}"
        raise LidError("contains no folder of a language", where=corpus.path, mend=mend)
    step = tables_step(job, corpus)
    if job.dry_run:
        step.due(dry_run=True)
        return
    with step.work("writing tables", lock=None) as work:
        if work is not None:
            work.finish(write_all(job, corpus))


def main(arguments: Sequence[str]) -> None:
    """Parse the options and prepare the corpus."""
    parser = option_parser(NAME, f"Prepare corpus {NAME}: real speech in 33 languages, in folds by video.")
    parser.add_argument("--url", default=URL, help=f"address of the folder that contains {ZIP}")
    options = parser.parse_args(arguments)
    url = options.url if options.url.endswith("/") else options.url + "/"
    corpus = DevCorpus(options.corpus_dir.absolute())
    job = Job(corpus, url, options.datadir, options.nj, options.dry_run, options, NAME)
    own = [corpus.path] if corpus.lacks_clips() else []
    with alone(NAME, *own, job.datadir, dry_run=job.dry_run):
        prepare(job, corpus)


if __name__ == "__main__":
    run(main)
