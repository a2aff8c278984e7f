#!/usr/bin/env python3
"""Stage 6: identify the languages of a set and extract embeddings (plan, job, merge)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean, fraction, positive_int
from lid_toolkit.files import locked


def main(arguments: Sequence[str]) -> None:
    """Print how many jobs there are to run, run one of them, or merge what they left."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument(
        "action", choices=("plan", "job", "merge"), help="plan prints the number of jobs to run"
    )
    parser.add_argument("--model", type=Path, required=True, help="model file that stage 5 wrote")
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set")
    parser.add_argument("--output_dir", type=Path, required=True, help="where results go")
    parser.add_argument("--num_jobs", type=positive_int, default=1, help="number of jobs")
    parser.add_argument("--job", type=positive_int, default=1, help="number of this job")
    parser.add_argument(
        "--batch_size", type=positive_int, default=8, help="most utterances computed together"
    )
    parser.add_argument("--extract_embd", type=boolean, default=True, help="also write embeddings")
    parser.add_argument("--max_failed", type=fraction, default=0.01, help="largest share that may fail")
    parser.add_argument("--ngpu", default="0", help="GPUs of a job: 0, 1 or auto")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that read ahead")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say whether there is work")
    options = parser.parse_args(arguments)

    from lid_toolkit.inference.directory import Identification, merge, run_job
    from lid_toolkit.training.device import choose_device

    task = Identification(
        options.model,
        options.data_dir,
        options.output_dir,
        options.num_jobs,
        options.extract_embd,
        options.max_failed,
    )
    if options.action == "plan":
        print(options.num_jobs if task.step().due(options.dry_run) else 0)
        return
    lock = options.output_dir / ".shards" / (str(options.job) if options.action == "job" else "merge")
    with locked(lock, f"stage 6, {options.action}"):
        if options.action == "job":
            run_job(task, options.job, options.batch_size, choose_device(options.ngpu), options.num_workers)
        else:
            merge(task)


if __name__ == "__main__":
    run(main)
