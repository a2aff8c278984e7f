"""The merge of an identification: from the results of all parts to the files of the whole set."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.utterances import load_unlabelled
from lid_toolkit.datadir.ark import write_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.espnet_files import espnet_files
from lid_toolkit.inference.identification import Floats, Identification, IdentifiedPart
from lid_toolkit.parts import check_failures, check_finished, load_plan


def merge(task: Identification) -> None:
    """Write the results of the finished parts, unless they are current, and remove the parts.

    Raises:
        LidError: a part is not done, the inputs changed, or too many utterances failed.
    """
    planned = load_plan(task.work_dir)
    with task.step.work("merging", lock=task.output_dir, known=planned.inputs) as work:
        if work is None:
            return
        lengths_u = load_unlabelled(task.data_dir).lengths_u
        parts = task.parts(lengths_u, planned.inputs.digest, planned.facts["rate"])
        check_finished(parts, task.output_dir)
        languages = task.languages.read_text(encoding="utf-8").splitlines()
        work.finish(_write_answers(task, parts, languages))
        shutil.rmtree(task.work_dir, ignore_errors=True)


def _write_answers(task: Identification, parts: Sequence[IdentifiedPart], languages: list[str]) -> list[Path]:
    """Write the files of all parts together, sorted by utterance; return the files."""
    out = task.output_dir
    failed = dict(pair for part in parts for pair in part.failed())
    keys = [part.keys() for part in parts]
    places = sorted((key, number, row) for number, own in enumerate(keys) for row, key in enumerate(own))
    scores = [part.matrix("scores") for part in parts]
    outputs = [out / f"{out.name}_lids", out / "languages", out / "failed"]
    write_table(outputs[2], failed.items())
    check_failures(
        failed.items(),
        len(failed),
        len(places) + len(failed),
        task.max_failed,
        outputs[2],
        lambda: [part for part in parts if part.failed()],
    )
    best = {key: languages[int(scores[number][row].argmax())] for key, number, row in places}
    write_table(outputs[0], best.items())
    with write_whole(outputs[1]) as stream:
        stream.writelines(f"{language}\n" for language in languages)
    outputs += _write(out, "scores", ((key, scores[number][row]) for key, number, row in places))
    if task.extract_embd:
        embeddings = [part.matrix("embeddings") for part in parts]
        labels = _labels(task.data_dir / "utt2lang", best)
        outputs += _write(out, "embeddings", ((key, embeddings[number][row]) for key, number, row in places))
        means = language_means((labels[key], embeddings[number][row]) for key, number, row in places)
        outputs += _write(out, "lang_embeddings", iter(means))
    else:
        for name in ("embeddings.ark", "embeddings.scp", "lang_embeddings.ark", "lang_embeddings.scp"):
            (out / name).unlink(missing_ok=True)
    for path in espnet_files(out):  # made of earlier embeddings
        path.unlink(missing_ok=True)
    logging.info("%s: %d utterances identified, %d failed", task.step.name, len(places), len(failed))
    return outputs


def language_means(labelled: Iterator[tuple[str, Floats]]) -> list[tuple[str, Floats]]:
    """Return each language's mean embedding, L2-normalised, sorted by label."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for label, embedding in labelled:
        sums[label] = sums.get(label, 0.0) + embedding.astype(np.float64)
    return [
        (label, (total / np.linalg.norm(total)).astype(np.float32)) for label, total in sorted(sums.items())
    ]


def _labels(utt2lang: Path, predicted: dict[str, str]) -> dict[str, str]:
    """Return the true language of each identified utterance, or the predicted one if it is not known."""
    if not utt2lang.exists():
        return predicted
    truth = dict(read_table(utt2lang))
    lacking = next((key for key in predicted if key not in truth), None)
    if lacking is not None:
        raise LidError(f"utterance '{lacking}' is missing", where=utt2lang, redo="formatting")
    return truth


def _write(out: Path, name: str, vectors: Iterator[tuple[str, Floats]]) -> list[Path]:
    ark, scp = out / f"{name}.ark", out / f"{name}.scp"
    write_vectors(ark, scp, vectors)
    return [ark, scp]
