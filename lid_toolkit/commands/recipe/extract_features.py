"""Extract the features of a frozen front end once. Run plan, then all jobs, then merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, fraction, natural
from lid_toolkit.commands.recipe.actions import act, add_actions


def main(arguments: Sequence[str]) -> None:
    """Parse the options and run the sub-command."""
    options, overrides = make_parser().parse_known_args(arguments)

    from lid_toolkit.prepare.extraction import Extraction, merge, plan, run_job
    from lid_toolkit.training.config import load_config
    from lid_toolkit.training.device import choose_device

    task = Extraction(
        load_config(options.config, overrides),
        options.data_dir,
        options.output_dir,
        options.copies,
        options.max_failed,
    )
    act(
        options,
        lambda jobs, dry_run: plan(task, jobs, dry_run),
        lambda number: run_job(task, number, choose_device(options.ngpu)),
        lambda: merge(task),
    )


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    add_actions(parser)
    parser.add_argument(
        "--config", type=Path, required=True, help="training configuration (YAML) with a frozen front end"
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set: dump/raw/SET")
    parser.add_argument("--output_dir", type=Path, required=True, help="output directory: dump/extracted/SET")
    parser.add_argument(
        "--copies", type=natural, default=0, help="number of augmented copies of each utterance"
    )
    parser.add_argument(
        "--max_failed", type=fraction, default=0.01, help="fraction of utterances that may fail"
    )
    parser.add_argument("--ngpu", default="0", help="job: number of GPUs: 0, 1 or auto")
    return parser
