"""Fix a data directory where no guessing is needed. Keep a backup, and list what was removed and why."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.reader import Reading
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.recipe.options import add_channel, add_reading
from lid_toolkit.datadir.fix import fix_data_dir
from lid_toolkit.prepare.check_recordings import CHECKS, broken_utterances


def main(arguments: Sequence[str]) -> None:
    """Parse the options and fix the directory."""
    options = make_parser().parse_args(arguments)
    reading = Reading(options.allow_pipes, options.channel, options.multi_columns_input_wav_scp)
    check = options.check_audio
    backup = fix_data_dir(
        options.data_dir,
        None if check == "none" else lambda scanned: broken_utterances(scanned, check, reading, options.nj),
    )
    if backup is not None:
        print((backup / "removed").read_text(encoding="utf-8"), end="")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory: data/SET")
    parser.add_argument(
        "--check_audio",
        choices=CHECKS,
        default="none",
        help="also remove recordings whose header (or whose samples) cannot be read",
    )
    add_reading(parser)
    add_channel(parser)
    return parser
