#!/usr/bin/env python3
"""Stage 4, feats_type extracted: features of a frozen front end, computed once (plan, job, merge)."""

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
    parser.add_argument("--config", type=Path, required=True, help="training YAML with a frozen front end")
    parser.add_argument("--data_dir", type=Path, required=True, help="formatted set: dump/raw/SET")
    parser.add_argument("--output_dir", type=Path, required=True, help="the result: dump/extracted/SET")
    parser.add_argument("--copies", type=int, default=0, help="augmented copies of each utterance")
    parser.add_argument("--max_failed", type=fraction, default=0.01, help="largest share that may fail")
    parser.add_argument("--num_jobs", type=positive_int, default=1, help="number of jobs")
    parser.add_argument("--job", type=positive_int, default=1, help="number of this job")
    parser.add_argument("--ngpu", default="0", help="GPUs of a job: 0, 1 or auto")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say whether there is work")
    options, overrides = parser.parse_known_args(arguments)

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
    if options.action == "plan":
        print(plan(task, options.num_jobs, options.dry_run))
        return
    lock = options.output_dir / ".work" / (f"job.{options.job}" if options.action == "job" else "merge")
    with locked(lock, f"stage 4, {options.action}"):
        if options.action == "job":
            run_job(task, options.job, options.num_jobs, choose_device(options.ngpu))
        else:
            merge(task)


if __name__ == "__main__":
    run(main)
