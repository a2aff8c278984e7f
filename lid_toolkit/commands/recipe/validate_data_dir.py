"""Report all faults of a data directory as file:line: what (how to fix it). Exit code 2 if there are any."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.reader import Reading
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.recipe.options import add_channel, add_reading
from lid_toolkit.datadir.check import compare_dirs, scan_dir
from lid_toolkit.datadir.faults import counted
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.check_recordings import CHECKS, long_ids, read_recordings, recording_faults


def main(arguments: Sequence[str]) -> None:
    """Parse the options and check the directory."""
    options = make_parser().parse_args(arguments)
    scanned = scan_dir(options.data_dir)
    faults = list(scanned.faults)
    if options.train_dir is not None:
        if options.train_dir.resolve() == options.data_dir.resolve():
            raise LidError("same as the checked directory", where="--train_dir")
        train = scan_dir(options.train_dir)
        if missing := {"wav.scp", "utt2lang"} - train.scans.keys():
            what = f"lacks {', '.join(sorted(missing))}, which the comparison needs"
            raise LidError(what, where=f"--train_dir {options.train_dir}", mend="give the training set")
        faults += compare_dirs(scanned, train)
    if options.check_audio != "none" and "wav.scp" in scanned.scans:
        recordings = read_recordings(
            scanned.scans["wav.scp"].table,
            options.check_audio,
            Reading(options.allow_pipes, options.channel, options.multi_columns_input_wav_scp),
            segments=scanned.parsed[0] if scanned.parsed else None,
            num_jobs=options.nj,
            name=options.data_dir.name,
        )
        faults += recording_faults(scanned, recordings)
    if scanned.source in scanned.scans:
        faults += long_ids(scanned)
    for group in faults:
        for fault in group:
            print(fault)
    if "lang2utt" not in scanned.scans:
        path = options.data_dir / "lang2utt"
        print(f"note: {path} does not exist; nothing needs it (fix_data_dir.py writes it)")
    if faults:
        mend = "pyscripts/fix_data_dir.py fixes faults that need no guessing"
        raise LidError(counted(faults), where=options.data_dir, mend=mend)
    utterances = len(scanned.scans[scanned.source].table)
    print(f"{options.data_dir}: no faults in {utterances} utterances")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory: data/SET or dump/raw/SET")
    parser.add_argument(
        "--train_dir", type=Path, help="if data_dir is a test set: training set to compare it with"
    )
    parser.add_argument(
        "--check_audio",
        choices=CHECKS,
        default="header",
        help="how much of each recording to read: the header, everything, or nothing",
    )
    add_reading(parser)
    add_channel(parser)
    return parser
