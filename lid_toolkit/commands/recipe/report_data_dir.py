"""Report the utterances, hours, languages and durations of a data directory, with a bar chart of hours."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.audio.reader import Reading
from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.commands.recipe.options import add_reading
from lid_toolkit.datadir.datadir import LENGTHS, read_data_dir
from lid_toolkit.prepare.durations import utterance_seconds
from lid_toolkit.steps import Step


def main(arguments: Sequence[str]) -> None:
    """Parse the options, and write and print the report."""
    options = make_parser().parse_args(arguments)
    out = options.output_dir or options.data_dir / "report"
    step = Step(
        f"report {options.data_dir.name}",
        out / ".done" / "report.json",
        {name: options.data_dir / name for name in ("utt2lang", LENGTHS, "sampling_rate")},
        {},
        check=lambda: "" if (options.data_dir / LENGTHS).exists() else "recordings may have changed",
    )
    if not step.due(options.dry_run):
        return
    data = read_data_dir(options.data_dir)

    # After the return: it takes longer to import matplotlib than to see that the report is current.
    from lid_toolkit.evaluation.data_report import describe, text_of, write_report

    with step.work("writing a report", lock=out) as work:
        if work is None:
            return
        reading = Reading(allow_pipes=options.allow_pipes, multi_columns=options.multi_columns_input_wav_scp)
        report = describe(options.data_dir.name, data.utt2lang, utterance_seconds(data, reading, options.nj))
        work.finish(write_report(report, out))
    print(text_of(report), end="")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory: data/SET or dump/raw/SET")
    parser.add_argument(
        "--output_dir", type=Path, help="directory for the report; by default, DATA_DIR/report"
    )
    add_reading(parser)
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser
