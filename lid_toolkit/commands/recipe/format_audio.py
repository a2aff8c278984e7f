"""Format the audio of a data directory. Run plan, then all jobs, then merge."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.writer import AUDIO_FORMATS
from lid_toolkit.cli import OptionParser, boolean, fraction, non_negative
from lid_toolkit.commands.recipe.actions import act, add_actions
from lid_toolkit.commands.recipe.options import channel, rate
from lid_toolkit.prepare.formatting.job import run_job
from lid_toolkit.prepare.formatting.merge import merge
from lid_toolkit.prepare.formatting.plan import FEATS_TYPES, FormatOptions, make_plan
from lid_toolkit.prepare.formatting.verify import verify_audio


def main(arguments: Sequence[str]) -> None:
    """Parse the options and run the sub-command."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.action == "plan" and options.data_dir is None:
        parser.error("the following arguments are required: --data_dir")
    wanted = FormatOptions(
        options.audio_format,
        options.feats_type,
        options.fs,
        options.min_wav_duration,
        options.max_wav_duration,
        options.max_failed,
        options.allow_pipes,
        options.channel,
        options.multi_columns_input_wav_scp,
    )
    out = options.output_dir

    def plan(jobs: int, dry_run: bool) -> int:
        if options.verify:
            verify_audio(out, jobs, dry_run)
        return make_plan(options.data_dir, out, wanted, jobs, dry_run)

    act(options, plan, lambda number: run_job(out, number), lambda: merge(out))


def make_parser() -> OptionParser:
    """Return the parser of the sub-commands' options."""
    parser = OptionParser(__doc__)
    add_actions(parser)
    parser.add_argument("--output_dir", type=Path, required=True, help="output directory: dump/raw/SET")
    parser.add_argument("--data_dir", type=Path, help="plan: data directory to format: data/SET")
    parser.add_argument(
        "--audio_format", choices=AUDIO_FORMATS, default="flac.ark", help="plan: audio format to write"
    )
    parser.add_argument(
        "--feats_type", choices=FEATS_TYPES, default="raw", help="plan: raw_copy refers to the original audio"
    )
    parser.add_argument("--fs", type=rate, default="16k", help="plan: sampling rate, e.g. 16000 or 16k")
    parser.add_argument(
        "--min_wav_duration",
        type=non_negative,
        default=0.0,
        help="plan: drop utterances shorter than this, in seconds",
    )
    parser.add_argument(
        "--max_wav_duration",
        type=non_negative,
        default=0.0,
        help="plan: drop utterances longer than this, in seconds; 0: no limit",
    )
    parser.add_argument(
        "--max_failed", type=fraction, default=0.01, help="plan: fraction of utterances that may fail"
    )
    parser.add_argument(
        "--allow_pipes", type=boolean, default=False, help="plan: run the commands in wav.scp"
    )
    parser.add_argument(
        "--channel",
        type=channel,
        default="mean",
        help="plan: channel to use, counted from 0, or the mean of all channels",
    )
    parser.add_argument(
        "--multi_columns_input_wav_scp",
        type=boolean,
        default=False,
        help="plan: lines of wav.scp list several files, the channels of one recording",
    )
    parser.add_argument(
        "--verify",
        type=boolean,
        default=False,
        help="plan: also read the formatted audio and compare it with the digests taken when it was written",
    )
    return parser
