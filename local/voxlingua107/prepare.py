"""Stage 1 for corpus `voxlingua107`: sub-stages from the download to checked data directories."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from lid_toolkit.cli import positive_int, run
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.faults import counted
from lid_toolkit.datadir.overlap import shared_recordings, unknown_labels
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step
from local.corpus import alone, option_parser, sources
from local.fetch import fetch_all, fetch_text, part_of, require_space, web_client
from local.noises.prepare import add_options, prepare_all
from local.voxlingua107.archives import Survey, faults, is_zip, surveys
from local.voxlingua107.layout import CODES, DEV, ZIP_LIST, Archive, Corpus
from local.voxlingua107.listing import list_folders
from local.voxlingua107.tables import DEV as DEV_SET
from local.voxlingua107.tables import SELECTION, TRAIN, make_sets, report, write_sets

URL = "https://bark.phon.ioc.ee/voxlingua107/"


@dataclass(frozen=True)
class Job:
    """The settings of all sub-stages.

    Attributes:
        corpus: the directory of the corpus.
        url: address of the folder with the zips.
        datadir: directory for the data directories.
        jobs: number of processes.
        dry_run: whether to only report what would be done.
        options: all parsed options, including those for the noises.
        name: name of the corpus for messages.
    """

    corpus: Corpus
    url: str
    datadir: Path
    jobs: int
    dry_run: bool
    options: Namespace
    name: str = "voxlingua107"

    def say(self, stage: str, what: str) -> None:
        """Log a line about a sub-stage."""
        logging.info("%s %s: %s", stage, self.name, what)


def download(job: Job) -> None:
    """Download the zips that are missing and not extracted. A copy without ``zip_urls.txt`` is used as it is.

    The download of a truncated zip, for example from an interrupted ``wget``, is resumed.
    """
    path, list_path = job.corpus.path, job.corpus.path / ZIP_LIST
    if not list_path.exists() and (job.corpus.folders() or job.corpus.archives()):
        job.say("download", f"nothing to do, {path} is used as it is (it has no {ZIP_LIST})")
        return
    if job.dry_run and not list_path.exists():
        job.say("download", f"to do (the zips listed in {job.url}{ZIP_LIST}, to {path})")
        return
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(web_client()) if not list_path.exists() else None
        if client is not None:
            text = fetch_text(client, urljoin(job.url, ZIP_LIST))
            zip_names(text, job.url)
            with write_whole(list_path) as stream:
                stream.write(text)
        names = zip_names(list_path.read_text(encoding="utf-8"), str(list_path))
        cut = [a for a in job.corpus.archives() if a.path.name in names and not is_zip(a.path)]
        missing = [name for name in names if not job.corpus.has(name)] + [a.path.name for a in cut]
        if not missing:
            job.say("download", "nothing to do")
        elif job.dry_run:
            job.say("download", f"to do ({', '.join(missing)} from {job.url})")
        else:
            for archive in cut:
                logging.warning("%s is truncated: resuming its download", archive.path)
                archive.path.replace(part_of(archive.path))
            client = client or stack.enter_context(web_client())
            wanted = [(urljoin(job.url, name), path / name) for name in missing]
            fetch_all(client, wanted, "download voxlingua107")


def zip_names(text: str, name: str) -> list[str]:
    """Return the names of the zips listed in ``zip_urls.txt``, plus ``dev.zip``.

    Raises:
        LidError: no zip of the corpus is listed.
    """
    found = [Path(urlsplit(line).path).name for line in text.split()]
    known = {f"{stem}.zip" for stem in (*CODES, DEV)}
    strange = [entry for entry in found if entry not in known]
    if len(strange) == len(found):
        raise LidError(
            f"lists no zip of the corpus ('{text[:40]}')", where=name, mend="check VOXLINGUA107_URL in db.sh"
        )
    if strange:
        logging.warning("%s: ignored, because they are not zips of the corpus: %s", name, ", ".join(strange))
    return list(dict.fromkeys([*(entry for entry in found if entry in known), f"{DEV}.zip"]))


def verify(job: Job) -> None:
    """Verify the checksums of all zips that are not extracted yet. Damaged zips are downloaded again.

    Raises:
        LidError: a zip cannot be downloaded, or is still damaged after the second download.
    """
    todo = [item for item in to_extract(job) if _verification(item.archive).reason()]
    if not todo or job.dry_run:
        names = ", ".join(item.archive.path.name for item in todo)
        job.say("verify", f"to do ({names})" if todo else nothing_to_do(job))
        return
    broken = faults("check", todo, job.jobs)
    for archive, fault in broken.items():
        logging.warning("%s is damaged (%s): downloading it again", archive.path, fault)
        part_of(archive.path).unlink(missing_ok=True)
    again = list(broken)
    if again:
        with web_client() as client:
            wanted = [(urljoin(job.url, archive.path.name), archive.path) for archive in again]
            fetch_all(client, wanted, "download again")
        for archive, fault in faults("check", surveys(again, job.jobs), job.jobs).items():
            raise LidError(
                f"still damaged after downloading it again: {fault}",
                where=archive.path,
                mend=f"delete it and run this again later, or remove it from {job.corpus.path / ZIP_LIST}",
            )
    for item in todo:
        with _verification(item.archive).work("verifying", lock=None, quiet=True) as work:
            if work is not None:
                work.finish([item.archive.path])


def extract(job: Job) -> None:
    """Extract the files that are not on disk yet, after checking the free space.

    Raises:
        LidError: there is too little space, or a zip is damaged.
    """
    todo = to_extract(job)
    names = ", ".join(item.archive.path.name for item in todo)
    if not todo or job.dry_run:
        job.say("extract", f"to do ({names})" if todo else nothing_to_do(job))
        return
    for item in todo:
        if item.strange:
            logging.warning("%s: members not extracted: %s", item.archive.path, ", ".join(item.strange))
    require_space(job.corpus.path, sum(item.missing_bytes for item in todo), f"extracting {names}")
    marks = [job.corpus.half_extracted(item.archive.path.name) for item in todo]
    for mark in marks:
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    for archive, fault in faults("extract", todo, job.jobs).items():
        raise LidError(
            f"damaged archive: {fault}",
            where=archive.path,
            mend="run sub-stage 2 (verify), which downloads it again",
        )
    os.sync()
    for mark in marks:
        mark.unlink()


def tables(job: Job) -> None:
    """Write the data directories and print a report. All zips must have been extracted.

    Raises:
        LidError: some files are not extracted, or there is no data for training or for testing.
    """
    step = tables_step(job)
    if job.dry_run:
        step.due(dry_run=True)
        return
    with step.work("writing tables", lock=None) as work:
        if work is not None:
            work.finish(make_tables(job))


def make_tables(job: Job) -> list[Path]:
    """Write the data directories and return their files; see :func:`tables`."""
    for item in to_extract(job):
        raise LidError(
            item.fault or f"{item.missing} of {item.files} files are not extracted",
            where=item.archive.path,
            mend="run sub-stages 2 and 3 (verify, extract)",
        )
    refuse_half_extracted(job.corpus)
    path, train, dev = job.corpus.path, job.corpus.folders(), job.corpus.dev_folders()
    for folders, what in ((train, "LANG folder"), (dev, "dev/LANG folder")):
        if not folders:
            raise LidError(
                f"contains no {what}",
                where=path,
                mend="check VOXLINGUA107 in db.sh; see docs/voxlingua107.md",
            )
    others = list(job.corpus.others())
    if others:
        logging.info("%s: ignored folders that are not part of the corpus: %s", path, ", ".join(others))
    listings = list_folders([*train, *dev], job.jobs)
    sets = make_sets(listings[: len(train)], listings[len(train) :])
    files = write_sets(job.datadir, sets)
    print(report(sets))
    return files


def refuse_half_extracted(corpus: Corpus) -> None:
    """Raise LidError if a zip was deleted before it was completely extracted."""
    for mark in sorted(corpus.half_extracted("").parent.glob(corpus.half_extracted("*").name)):
        name = mark.name.removeprefix(corpus.half_extracted("").name)
        if not corpus.has(name):
            raise LidError(
                "was deleted before it was completely extracted",
                where=corpus.path / name,
                mend="run sub-stages 1 to 3 (download, verify, extract)",
            )


def validate(job: Job) -> None:
    """Check the tables completely.

    Dev must share no recording with train, and the selection set no video with either.

    Raises:
        LidError: a check failed.
    """
    step = validate_step(job)
    if job.dry_run:
        step.due(dry_run=True)
        return
    with step.work("validating", lock=None) as work:
        if work is not None:
            work.finish(check_tables(job))


def check_tables(job: Job) -> list[Path]:
    """Check the data directories and return the tables that were checked; see :func:`validate`."""
    train, selection, dev = (scan_dir(job.datadir / name) for name in (TRAIN, SELECTION, DEV_SET))
    found = [group for scanned in (train, selection, dev) for group in scanned.faults]
    for scanned in (selection, dev):
        found += [*unknown_labels(scanned, train), *shared_recordings(scanned, train)]
    for group in found:
        logging.error("%s", group.error(0))
    if found:
        raise LidError(counted(found), where=job.datadir, mend="run sub-stage 4 (tables) again")
    held_out = set(selection.scans["utt2spk"].table.codes()[0])
    for other in (train, dev):
        shared = sorted(held_out.intersection(other.scans["utt2spk"].table.codes()[0]))
        if shared:
            raise LidError(f"contains video {shared[0]}, which is also in {other.path}", where=selection.path)
    for scanned in (train, selection, dev):
        table = scanned.scans["utt2lang"].table
        logging.info(
            "%s: %d utterances, %d languages, no faults", scanned.path, len(table), len(table.codes()[0])
        )
    return [s.path / name for s in (train, selection, dev) for name in ("wav.scp", "utt2lang", "utt2spk")]


STAGES: tuple[tuple[str, Callable[[Job], None]], ...] = (
    ("download", download),
    ("verify", verify),
    ("extract", extract),
    ("tables", tables),
    ("validate", validate),
    ("noises", lambda job: prepare_all(job.options)),
)


def nothing_to_do(job: Job) -> str:
    """Return "nothing to do", or, before the download, "to do (waits for the download)"."""
    is_here = job.corpus.archives() or job.corpus.folders()
    return "nothing to do" if is_here else "to do (waits for the download)"


def to_extract(job: Job) -> list[Survey]:
    """Return the zips that are not completely extracted or cannot be read."""
    return [item for item in surveys(job.corpus.archives(), job.jobs) if item.missing or item.fault]


def tables_step(job: Job) -> Step:
    """Return the step that makes the tables. Folder times show whether files were added or removed."""
    places = [*job.corpus.folders(), *job.corpus.dev_folders(), *(a.path for a in job.corpus.archives())]
    stamps = "\n".join(f"{place} {place.stat().st_mtime_ns}" for place in places)
    return Step(
        "tables of voxlingua107",
        job.datadir / ".done" / "voxlingua107.json",
        sources(__file__),
        {"corpus": str(job.corpus.path), "its files": hashlib.blake2b(stamps.encode()).hexdigest()[:16]},
    )


def validate_step(job: Job) -> Step:
    """Return the step that checks the current tables."""
    return Step("validate voxlingua107", job.datadir / ".done" / "voxlingua107_valid.json", {}, {})


def _verification(archive: Archive) -> Step:
    """Return the step that records that a zip, in its current state, was verified."""
    name = archive.path.name
    return Step(f"verify {name}", archive.path.parent / ".done" / f"verify_{name}.json", {}, {})


def main(arguments: Sequence[str]) -> None:
    """Parse the options and run the selected sub-stages."""
    parser = option_parser("voxlingua107", "Prepare corpus voxlingua107: YouTube speech in 107 languages.")
    add_options(parser)
    parser.add_argument("--url", default=URL, help=f"address of the folder that contains {ZIP_LIST}")
    names = ", ".join(f"{number} {name}" for number, (name, _) in enumerate(STAGES, start=1))
    parser.add_argument("--stage", type=positive_int, default=1, help=f"first sub-stage: {names}")
    parser.add_argument("--stop_stage", type=positive_int, default=len(STAGES), help="last sub-stage")
    options = parser.parse_args(arguments)
    url = options.url if options.url.endswith("/") else options.url + "/"
    job = Job(
        Corpus(options.corpus_dir.absolute()), url, options.datadir, options.nj, options.dry_run, options
    )
    writable = not job.corpus.path.exists() or os.access(job.corpus.path, os.W_OK)
    with alone("voxlingua107", *([job.corpus.path] if writable else []), job.datadir, dry_run=job.dry_run):
        current = options.stage == 1 and not tables_step(job).reason() and not validate_step(job).reason()
        if current:
            job.say("prepare", "current, sub-stages 1 to 5 skipped")
        for number, (name, work) in enumerate(STAGES, start=1):
            if options.stage <= number <= options.stop_stage and not (current and number <= 5):
                job.say(f"Sub-stage 1.{number}:", name)
                work(job)


if __name__ == "__main__":
    run(main)
