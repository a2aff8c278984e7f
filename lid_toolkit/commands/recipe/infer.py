"""Identify the languages of a set and extract embeddings. Run plan, then all jobs, then merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, fraction, non_negative, positive, positive_int
from lid_toolkit.commands.recipe.actions import act, add_actions
from lid_toolkit.datadir.crops import crop_dir
from lid_toolkit.inference.espnet_files import write_espnet_files
from lid_toolkit.inference.identification import Identification, plan
from lid_toolkit.inference.merge import merge
from lid_toolkit.training.config import DTYPES

GPU_WORKERS = 2


def main(arguments: Sequence[str]) -> None:
    """Parse the options and run the sub-command."""
    options = make_parser().parse_args(arguments)
    crop = options.crop_seconds
    task = Identification(
        options.model,
        options.data_dir,
        options.output_dir if crop is None else crop_dir(options.output_dir, crop),
        options.extract_embd and crop is None,
        options.max_failed,
        options.max_duration,
        options.dtype,
        crop,
    )

    def job(number: int) -> None:
        from lid_toolkit.inference.job import run_job  # imports torch
        from lid_toolkit.training.device import choose_device

        device = choose_device(options.ngpu)
        workers = options.num_workers
        if workers is None:
            workers = GPU_WORKERS if device.type == "cuda" else 0
        run_job(task, number, options.batch_size, device, workers, options.torch_compile)

    def export() -> None:
        if options.espnet_files and task.extract_embd:
            write_espnet_files(options.data_dir, options.output_dir, options.dry_run)

    def plan_or_export(jobs: int, dry_run: bool) -> int:
        planned = plan(task, jobs, dry_run)
        if not planned:  # there will be no merge
            export()
        return planned

    def merge_and_export() -> None:
        merge(task)
        export()

    act(options, plan_or_export, job, merge_and_export)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    add_actions(parser)
    parser.add_argument(
        "--model", type=Path, required=True, help="model file of a training, or another model"
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set: dump/raw/SET")
    parser.add_argument("--output_dir", type=Path, required=True, help="output directory: .../MODEL/SET")
    parser.add_argument("--batch_size", type=positive_int, default=8, help="job: batch size")
    parser.add_argument("--extract_embd", type=boolean, default=True, help="also write embeddings")
    parser.add_argument(
        "--espnet_files", type=boolean, default=False, help="also write the embeddings as ESPnet's npz files"
    )
    parser.add_argument(
        "--max_failed", type=fraction, default=0.01, help="fraction of utterances that may fail"
    )
    parser.add_argument(
        "--max_duration",
        type=non_negative,
        default=600.0,
        help="longest utterance to identify, in seconds; longer ones fail; 0: no limit",
    )
    parser.add_argument(
        "--crop_seconds",
        type=positive,
        help="identify a crop of this duration of each utterance, in OUTPUT_DIR/crops, without embeddings; "
        "lid score draws accuracy against duration",
    )
    parser.add_argument("--ngpu", default="0", help="job: number of GPUs: 0, 1 or auto")
    parser.add_argument(
        "--num_workers",
        type=int,
        help="job: number of data-loading workers; default: 2 with a GPU, which would wait for audio; else 0",
    )
    parser.add_argument("--torch_compile", type=boolean, default=False, help="job: compile the model")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="number format")
    return parser
