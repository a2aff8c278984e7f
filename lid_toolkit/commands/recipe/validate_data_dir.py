"""Report all faults of data directories as file:line: what (how to fix it). Exit code 2 if there are any."""

import itertools
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.reader import Reading
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.recipe.options import add_channel, add_reading
from lid_toolkit.datadir.check import Scanned, scan_dir
from lid_toolkit.datadir.faults import Faults, counted
from lid_toolkit.datadir.overlap import shared_recordings, shared_speakers, unknown_labels
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.check_recordings import CHECKS, long_ids, read_recordings, recording_faults
from lid_toolkit.prepare.same_sounds import SCOPES, same_sound_faults


def main(arguments: Sequence[str]) -> None:
    """Parse the options and check the directories."""
    options = make_parser().parse_args(arguments)
    directories: list[Path] = options.data_dirs
    require_different(directories, options.train_dir)
    scans = [scan_dir(path) for path in directories]
    train = [] if options.train_dir is None else [training_set(options.train_dir)]
    faults = [group for scanned in scans for group in faults_of(scanned, options)]
    faults += faults_together(scans, train, options)
    for group in faults:
        for fault in group:
            print(fault)
    for scanned in scans:
        if "lang2utt" not in scanned.scans:
            path = scanned.path / "lang2utt"
            print(f"note: {path} does not exist; nothing needs it (fix_data_dir.py writes it)")
    where = " ".join(map(str, directories))
    if faults:
        mend = "pyscripts/fix_data_dir.py fixes faults that need no guessing"
        raise LidError(counted(faults), where=where, mend=mend)
    utterances = sum(len(scanned.scans[scanned.source].table) for scanned in scans)
    print(f"{where}: no faults in {utterances} utterances")


def training_set(path: Path) -> Scanned:
    """Read the training set; raise LidError if it lacks a table that the comparison needs."""
    train = scan_dir(path)
    if missing := {"wav.scp", "utt2lang"} - train.scans.keys():
        what = f"lacks {', '.join(sorted(missing))}, which the comparison needs"
        raise LidError(what, where=f"--train_dir {path}", mend="give the training set")
    return train


def faults_together(scans: Sequence[Scanned], train: Sequence[Scanned], options: Namespace) -> list[Faults]:
    """Return what directories have in common, and labels that the training set, if there is one, lacks."""
    faults = [group for known in train for scanned in scans for group in unknown_labels(scanned, known)]
    compared = [*train, *scans]
    for other, scanned in itertools.combinations(compared, 2):
        faults += [*shared_recordings(scanned, other), *shared_speakers(scanned, other)]
    if options.duplicates == "none":
        return faults
    if any(scanned.faults for scanned in compared):
        print("note: the same sounds were not looked for: mend the tables first")
        return faults
    return faults + same_sound_faults(compared, options.duplicates, reading_of(options), options.nj)


def require_different(directories: Sequence[Path], train_dir: Path | None) -> None:
    """Raise LidError if a directory is given twice."""
    found = [path.resolve() for path in directories]
    if train_dir is not None and train_dir.resolve() in found:
        raise LidError("same as the checked directory", where="--train_dir")
    if len({*found}) < len(found):
        twice = next(path for path, place in zip(directories, found, strict=True) if found.count(place) > 1)
        raise LidError("is given twice", where=twice)


def faults_of(scanned: Scanned, options: Namespace) -> list[Faults]:
    """Return the faults of one directory."""
    faults = list(scanned.faults)
    if options.check_audio != "none" and "wav.scp" in scanned.scans:
        recordings = read_recordings(
            scanned.scans["wav.scp"].table,
            options.check_audio,
            reading_of(options),
            segments=scanned.parsed[0] if scanned.parsed else None,
            num_jobs=options.nj,
            name=scanned.path.name,
        )
        faults += recording_faults(scanned, recordings)
    return faults + (long_ids(scanned) if scanned.source in scanned.scans else [])


def reading_of(options: Namespace) -> Reading:
    """Return how to read references."""
    return Reading(options.allow_pipes, options.channel, options.multi_columns_input_wav_scp)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument(
        "data_dirs",
        metavar="data_dir",
        nargs="+",
        type=Path,
        help="data directories: data/SET or dump/raw/SET; what two of them share is a fault",
    )
    parser.add_argument(
        "--train_dir",
        type=Path,
        help="if data_dir is a test set: training set to compare it with; not checked itself",
    )
    parser.add_argument(
        "--check_audio",
        choices=CHECKS,
        default="header",
        help="how much of each recording to read: the header, everything, or nothing",
    )
    parser.add_argument(
        "--duplicates",
        choices=("none", *SCOPES),
        default="none",
        help="listen for the same sound under two language labels; sets: also in two of the directories",
    )
    add_reading(parser)
    add_channel(parser)
    return parser
