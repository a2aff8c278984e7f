"""The merge of stage 6 for many utterances; used by data.py.

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

from lid_toolkit.files import write_whole
from lid_toolkit.inference.identification import Identification, plan
from lid_toolkit.parts import load_plan

DIMENSIONS, RATE = 192, 16000
SECONDS = 10


def figures(work: Path, utterances: int) -> dict[str, Figures]:
    """Make a set and finished parts, and return time and memory of the merge and of a copy of the parts."""
    task = Identification(work / "model.pth", work / "set", work / "results")
    task.model.touch()
    make_set(task.data_dir, utterances)
    keys = [line.split(" ", 1)[0] for line in (task.data_dir / "wav.scp").read_text().splitlines()]
    (task.data_dir / "utt2num_samples").write_text("".join(f"{key} {SECONDS * RATE}\n" for key in keys))
    (task.data_dir / "sampling_rate").write_text(f"{RATE}\n")
    plan(task, 1)
    make_up_results(task, utterances)
    copy = python(__file__, task.work_dir, work / "copy")
    (work / "copy").unlink()
    where = ("--model", task.model, "--data_dir", task.data_dir, "--output_dir", task.output_dir)
    return {"stage 6: merge": python("pyscripts/infer.py", "merge", *where), "copy of the parts": copy}


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


if __name__ == "__main__":  # the copy, in a process of its own
    with open(sys.argv[2], "wb") as target:
        for path in sorted(Path(sys.argv[1]).glob("*.npy")):
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target)
