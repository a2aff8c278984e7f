"""Lengths and labels of the training and validation sets, without decoding audio.

OUT/{train,valid}/speech_shape  utterance and its number of samples
OUT/{train,valid}/batch_keys    names of a batch's entries, one per line
OUT/{train,valid}/stats_keys    names of the entries with global statistics; empty until they are collected
OUT/{train,valid}/category2utt  label and its utterances
OUT/lang2idx                    label and class index, which later steps do not change
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from lid_toolkit.audio.reader import audio_info
from lid_toolkit.datadir.datadir import (
    LENGTHS,
    DataDir,
    by_language,
    lang2utt_blocks,
    read_data_dir,
    read_lengths,
)
from lid_toolkit.datadir.tables.table import Table, read_table, table_from_pairs, write_blocks, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import require_directory, write_whole
from lid_toolkit.languages import UNLABELLED, case_variants
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step

BATCH_KEYS = ("speech", "lid_labels")
SHOWN_LABELS = 5


def collect_stats(train_dir: Path, valid_dir: Path, out: Path, dry_run: bool = False) -> None:
    """Write the statistics of two formatted sets to ``out``.

    Raises:
        LidError: a set is not valid, the training set has only one language or lacks a language of the
            validation set, or ``out`` was made for other languages. A training set with unlabelled utterances
            (``und``) is for a training with a teacher, which checks the languages.
    """
    sets = {"train": train_dir, "valid": valid_dir}
    names = ("wav.scp", "utt2lang", LENGTHS)
    inputs = {f"{part}/{name}": path / name for part, path in sets.items() for name in names}
    step = Step("collect statistics", out / ".done" / "collect_stats.json", inputs, {})
    if dry_run:
        step.due(dry_run=True)
        return
    for path in sets.values():
        require_directory(path)  # before the lock creates ``out``
    with step.work("collecting statistics", lock=out) as work:
        if work is None:
            return
        data = {part: read_data_dir(path) for part, path in sets.items()}
        labels = _labels(data["train"], data["valid"])
        _check_unchanged(out / "lang2idx", labels)
        outputs = [file for part in sets for file in _write_part(out / part, data[part])]
        write_table(out / "lang2idx", [(label, str(index)) for index, label in enumerate(labels)])
        work.finish([*outputs, out / "lang2idx"])
    counts = ", ".join(f"{len(data[part].utt2lang)} utterances to {part}" for part in sets)
    logging.info("%s: %d languages, %s", step.name, len(labels), counts)


def lengths(data: DataDir) -> Table:
    """Return each utterance's number of samples, from ``utt2num_samples`` or else from the audio's headers.

    Raises:
        LidError: ``utt2num_samples`` has other utterances, or a header cannot be read.
    """
    if data.segments is not None:
        raise LidError("has segments", where=data.path, redo="formatting")
    if not (data.path / LENGTHS).exists():
        return table_from_pairs(_header_lengths(data))
    return read_lengths(data.path, data.utt2lang)


def _header_lengths(data: DataDir) -> Iterator[tuple[str, str]]:
    with Progress(f"read headers of {data.path.name}", len(data.wav_scp)) as progress:
        for key, ref in data.wav_scp:
            yield key, str(audio_info(ref).num_samples)
            progress.advance()


def _labels(train: DataDir, valid: DataDir) -> tuple[str, ...]:
    """Return the labels of the training set in byte order; the position of a label is its class index.

    That of unlabelled utterances is not among them.
    """
    found, tested = (set(part.utt2lang.codes()[0]) for part in (train, valid))
    labels = tuple(sorted(found - {UNLABELLED}, key=str.encode))
    if UNLABELLED in tested:
        what = f"has unlabelled utterances ('{UNLABELLED}'), which cannot be checked"
        raise LidError(what, where=valid.path / "utt2lang", mend="label them, or leave them out")
    if len(labels) < 2 and labels == tuple(found):
        raise LidError(
            f"has only one language, '{labels[0]}'", where=train.path, mend="training needs at least two"
        )
    for variants in case_variants(labels):
        raise LidError(
            f"{', '.join(variants)} are the same language, written in different case",
            where=train.path / "utt2lang",
            mend=f"write one of them everywhere, for example {variants[-1].lower()}",
        )
    unknown = sorted(tested - found)
    if unknown and UNLABELLED not in found:
        more = f" and {len(unknown) - SHOWN_LABELS} more" if len(unknown) > SHOWN_LABELS else ""
        raise LidError(
            f"languages that are not in the training set: {', '.join(unknown[:SHOWN_LABELS])}{more}",
            where=valid.path / "utt2lang",
            mend=f"add them to {train.path}, or remove their utterances",
        )
    return labels


def _check_unchanged(lang2idx: Path, labels: tuple[str, ...]) -> None:
    """Raise LidError if the languages changed since class indices were assigned: models depend on these."""
    if not lang2idx.exists():
        return
    before = set(read_table(lang2idx).keys())
    changes = [
        f"{what} {' '.join(sorted(which))}"
        for what, which in (("new:", set(labels) - before), ("gone:", before - set(labels)))
        if which
    ]
    if changes:
        raise LidError(
            f"the languages of the training set changed ({'; '.join(changes)})",
            where=lang2idx,
            mend=f"restore them, use another directory, or remove {lang2idx.parent} and its models",
        )


def _write_part(out: Path, data: DataDir) -> list[Path]:
    """Write the tables of one set; return those that later steps do not change."""
    write_table(out / "speech_shape", lengths(data))
    # This toolkit does not read the other three. ESPnet's samplers, its aggregation of statistics, and
    # scripts of its users do.
    write_blocks(out / "category2utt", lang2utt_blocks(by_language(data.utt2lang)))
    for name, keys in (("batch_keys", BATCH_KEYS), ("stats_keys", ())):
        with write_whole(out / name) as stream:
            stream.writelines(f"{key}\n" for key in keys)
    return [out / "speech_shape", out / "category2utt", out / "batch_keys"]
