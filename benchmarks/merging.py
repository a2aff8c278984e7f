"""The merge of stage 6, and stage 7, for many utterances; used by data.py.

The results of the jobs are random log posteriors and embeddings. The last row copies the bytes of all parts
to one file, which the merge must do at least.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from planning import LANGUAGES, make_set
from processes import Figures, python

from lid_toolkit.evaluation.answers import answer_file
from lid_toolkit.files import write_whole
from lid_toolkit.inference.identification import Identification, plan
from lid_toolkit.parts import load_plan

DIMENSIONS, RATE = 192, 16000
SECONDS = 10
TEN_TOGETHER = "^l[0-9]+_([0-9]{7})"
"""Takes utterances whose numbers differ in the last digit as one cluster."""


def figures(work: Path, utterances: int) -> dict[str, Figures]:
    """Make a set and finished parts, and return time and memory of the commands and of a copy of the parts.

    The set is made in another process: what this one uses would count as memory of the commands it starts.
    """
    task = identification(work)
    python(__file__, "make", work, utterances)
    copied = python(__file__, "copy", work)
    (work / "copy").unlink()
    where = ("--model", task.model, "--data_dir", task.data_dir, "--output_dir", task.output_dir)
    merged = python("pyscripts/infer.py", "merge", *where)
    scoring = ("pyscripts/score.py", "--data_dir", task.data_dir, "--inference_dir", task.output_dir)
    scored = python(*scoring)
    clustered = python(*scoring, "--cluster_from", TEN_TOGETHER)
    answers = ("--pred_lids", answer_file(task.output_dir), "--target_lids", task.data_dir / "utt2lang")
    counted = python("pyscripts/score.py", *answers, "--results", work / "counted")
    return {
        "stage 6: merge": merged,
        "stage 7: score": scored,
        "score with clusters": clustered,
        "score without scores": counted,
        "copy of the parts": copied,
    }


def identification(work: Path) -> Identification:
    return Identification(work / "model.pth", work / "set", work / "results")


def make(work: Path, utterances: int) -> None:
    """Make a set, and the plan and the results of its identification."""
    task = identification(work)
    task.model.touch()
    make_set(task.data_dir, utterances)
    keys = [line.split(" ", 1)[0] for line in (task.data_dir / "wav.scp").read_text().splitlines()]
    (task.data_dir / "utt2num_samples").write_text("".join(f"{key} {SECONDS * RATE}\n" for key in keys))
    (task.data_dir / "sampling_rate").write_text(f"{RATE}\n")
    plan(task, 1)
    make_up_results(task, utterances)


def make_up_results(task: Identification, utterances: int) -> None:
    """Write results as the jobs do, but without a model, and finish the parts."""
    planned, rng = load_plan(task.work_dir), np.random.default_rng(0)
    with write_whole(task.languages) as stream:
        stream.writelines(f"l{number:03d}\n" for number in range(LANGUAGES))
    lengths_u = np.full(utterances, SECONDS * RATE)
    for part in task.parts(lengths_u, planned.inputs.digest, planned.facts["rate"]):
        scores, embeddings = (
            rng.standard_normal((part.size, size), dtype=np.float32) for size in (LANGUAGES, DIMENSIONS)
        )
        with part.step.work("making up results", lock=None, quiet=True) as work:
            if work is not None:
                part.write(scores, embeddings, {})
                work.finish(part.files)


def copy(work: Path) -> None:
    """Copy the bytes of all parts to one file."""
    with open(work / "copy", "wb") as target:
        for path in sorted(identification(work).work_dir.glob("*.npy")):
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target)


if __name__ == "__main__":
    action, folder, *size = sys.argv[1:]
    make(Path(folder), int(size[0])) if action == "make" else copy(Path(folder))
