"""Embeddings as ESPnet's recipe writes them, for scripts that read them with ``numpy.load``.

    SET_utt_embds.npz         utterance: its embedding (D,), float32, L2-normalised
    SET_lang_to_embds.npz     language: the embeddings (n, D) of its n utterances, sorted by utterance
    SET_lang_to_avg_embd.npz  language: the mean of its embeddings (D,), L2-normalised

A language of the model without utterances is an empty float64 array (0,) in the second file, and missing in
the third, as in ESPnet. The language of an utterance is the one in ``utt2lang``, or the answer if there is
none. Archives are written entry by entry, so that the embeddings need not fit into memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.ark import vectors_at
from lid_toolkit.datadir.datadir import by_language
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import answer_file, read_languages
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step


def espnet_files(inference_dir: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the three archives: of utterances, of languages, and of their means."""
    name = inference_dir.name
    utterances, languages, means = "utt_embds", "lang_to_embds", "lang_to_avg_embd"
    return (
        inference_dir / f"{name}_{utterances}.npz",
        inference_dir / f"{name}_{languages}.npz",
        inference_dir / f"{name}_{means}.npz",
    )


def write_espnet_files(data_dir: Path, inference_dir: Path, dry_run: bool = False) -> None:
    """Write the three archives from ``embeddings.scp`` and ``lang_embeddings.scp``, unless current.

    Args:
        data_dir: the identified set, with ``utt2lang`` if the languages are known.
        inference_dir: directory of the results, ``.../MODEL/SET``; the archives are written there.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: there are no embeddings, or an utterance is missing in ``utt2lang``.
    """
    names = ("embeddings.scp", "embeddings.ark", "lang_embeddings.scp", "lang_embeddings.ark", "languages")
    answers, utt2lang = answer_file(inference_dir), data_dir / "utt2lang"
    step = Step(
        f"ESPnet's embeddings of {inference_dir.name}",
        inference_dir / ".done" / "espnet_embeddings.json",
        {**{name: inference_dir / name for name in names}, "answers": answers, "utt2lang": utt2lang},
        {},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("writing ESPnet's embeddings", lock=inference_dir) as work:
        if work is None:
            return
        refs = read_table(inference_dir / "embeddings.scp")
        labels = _labels_of(refs, utt2lang if utt2lang.exists() else answers)
        languages = read_languages(inference_dir / "languages")
        means = read_table(inference_dir / "lang_embeddings.scp")
        outputs = espnet_files(inference_dir)
        _write_npz(outputs[0], _vectors(refs))
        _write_npz(outputs[1], _by_language(refs, labels, languages))
        _write_npz(outputs[2], _vectors(means))
        work.finish(outputs)


def _labels_of(refs: Table, path: Path) -> Table:
    """Return the languages of the utterances of ``refs``."""
    labels = read_table(path)
    rows = labels.rows(refs.keys())
    if len(missing := np.flatnonzero(rows < 0)):
        what = f"utterance '{refs.key(int(missing[0]))}' is missing"
        raise LidError(what, where=path, redo="identification")
    return labels.select(rows)


def _vectors(refs: Table) -> Iterator[tuple[str, NDArray[np.float32]]]:
    return zip(refs.keys(), vectors_at(refs.values()), strict=True)


def _by_language(
    refs: Table, labels: Table, languages: Iterable[str]
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield each language with the matrix of its embeddings, then the languages without utterances."""
    present = set()
    for label, rows in by_language(labels):
        present.add(label)
        yield label, np.stack([*vectors_at(refs.select(refs.rows(rows.keys())).values())])
    for label in languages:
        if label not in present:
            yield label, np.empty(0)


def _write_npz(path: Path, arrays: Iterable[tuple[str, NDArray[np.floating]]]) -> None:
    """Write an uncompressed archive as ``numpy.savez`` does, one array at a time; it appears whole."""
    with write_whole(path, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for key, array in arrays:
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
