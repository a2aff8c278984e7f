"""Read and check the true languages of a test set and the answers of a system, and turn them into arrays."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import vector_blocks
from lid_toolkit.datadir.crops import crop_samples
from lid_toolkit.datadir.datadir import SAMPLING_RATE, read_sampling_rate
from lid_toolkit.datadir.tables.table import Table, parse_table, read_table, table_from_pairs
from lid_toolkit.errors import LidError, WorkName, nearest
from lid_toolkit.files import require_directory
from lid_toolkit.languages import merged

FAILED = -1
NAMED_AT_MOST = 5
BLOCK = 1 << 14

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """True languages and answers of one set. Row i of every array belongs to utterance i of ``truth``.

    Attributes:
        name: name of the set.
        truth: utterance -> language, sorted by utterance.
        languages: the labels of the system in index order, then the labels that only the truth has.
        known: number of ``languages`` that the system knows.
        columns: (labels of the system,) index in ``languages`` of each column of its scores. If
            macrolanguages are merged, several columns can have the same index.
        merged: whether macrolanguages are merged.
        true: (utterances,) index of the true language.
        predicted: (utterances,) index of the answered language; FAILED if there is no answer.
        seconds: (utterances,) duration.
        rate: samples per second, of which durations are multiples; 0 if it is not known.
        failed: utterance -> reason why it could not be identified.
        dropped: number of utterances that formatting left out because of their duration; they are not in
            ``truth``.
        broken: number of utterances that formatting left out because it could not read them.
        policy: the settings of the policy that gave the answers; None for the most probable language.
        skipped: utterances of unknown languages that :func:`known_only` left out; None if it was not used.
    """

    name: str
    truth: Table
    languages: tuple[str, ...]
    known: int
    columns: npt.NDArray[np.int64]
    merged: bool
    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    failed: Table
    dropped: int
    broken: int
    policy: Mapping[str, object] | None = None
    skipped: Skipped | None = None
    rate: int = 0

    @property
    def abstained(self) -> int:
        """Number of utterances that a policy or a vote left without an answer."""
        failed = self.truth.rows(self.failed.keys())
        return int(np.count_nonzero(self.predicted == FAILED) - np.count_nonzero(failed >= 0))


@dataclass(frozen=True)
class Skipped:
    """Numbers of utterances and languages that are not scored, because the system does not know them."""

    utterances: int
    languages: int


def input_files(data_dir: Path, inference_dir: Path) -> dict[str, Path]:
    """Return the files that :func:`read_answers` reads, by name."""
    return {
        "utt2lang": data_dir / "utt2lang",
        "utt2num_samples": data_dir / "utt2num_samples",
        "answers": answer_file(inference_dir),
        "languages": inference_dir / "languages",
        "failures": inference_dir / "failed",
        "abstentions": inference_dir / "abstained",
        SAMPLING_RATE: data_dir / SAMPLING_RATE,
        "dropped": data_dir / "dropped",
        "broken": data_dir / "failed",
    }


def check_directories(data_dir: Path, inference_dir: Path) -> None:
    """Raise LidError if either directory does not exist."""
    works: tuple[tuple[Path, WorkName], ...] = ((data_dir, "formatting"), (inference_dir, "identification"))
    for path, work in works:
        require_directory(path, redo=work)


def answer_file(inference_dir: Path) -> Path:
    """Return the path of ``SET_lids`` in ``.../MODEL/SET``."""
    return inference_dir / f"{inference_dir.name}_lids"


def read_answers(
    data_dir: Path, inference_dir: Path, *, merge: bool = False, crop_seconds: float | None = None
) -> Answers:
    """Read the true languages of a formatted set and the answers of a system.

    Args:
        data_dir: the formatted set, with ``utt2lang``, ``utt2num_samples`` and ``sampling_rate``;
            ``dropped`` and ``failed`` are optional.
        inference_dir: ``.../MODEL/SET``: ``SET_lids``, ``languages``, optionally ``failed``, ``abstained``.
        merge: count a macrolanguage and its members as one language, in truth and answers; see
            :func:`lid_toolkit.languages.merged`.
        crop_seconds: duration of the crops that were identified, of the utterances that are long enough;
            None if these were whole.

    Raises:
        LidError: a file is missing or malformed; an utterance has neither an answer nor a recorded reason
            why it has none, or has both; an answer belongs to an utterance that is not in the set, or is not
            a label of the system; the system knows no language of the set.
    """
    files = input_files(data_dir, inference_dir)
    truth, rate = read_table(files["utt2lang"]), read_sampling_rate(data_dir)
    samples = _samples(truth, files["utt2num_samples"])
    if crop_seconds is not None:
        truth, samples = _cropped(truth, samples, crop_samples(crop_seconds, rate))
    answered = read_optional_table(files["answers"])
    failed, abstained = (read_optional_table(files[name]) for name in ("failures", "abstentions"))
    answered_rows = _rows_of_answers(truth, answered, (failed, abstained), files["answers"])
    system = read_languages(files["languages"])
    labels, codes = answered.codes()
    _check_labels(labels, system, files["answers"])
    true_labels, true_codes = truth.codes()
    counted = merged if merge else str
    known = tuple(dict.fromkeys(map(counted, system)))
    present = tuple(dict.fromkeys(map(counted, true_labels)))
    unknown = tuple(sorted(set(present) - set(known)))
    if crop_seconds is None:
        _check_unknown(unknown, present, known, files["utt2lang"])
    languages = known + unknown
    index = {label: number for number, label in enumerate(languages)}

    def numbers(names: tuple[str, ...]) -> npt.NDArray[np.int64]:
        return np.array([index[counted(name)] for name in names], np.int64)

    predicted = np.full(len(truth), FAILED, np.int64)
    predicted[answered_rows] = numbers(labels)[codes]
    return Answers(
        name=inference_dir.name,
        truth=truth,
        languages=languages,
        known=len(known),
        columns=numbers(system),
        merged=merge,
        true=numbers(true_labels)[true_codes],
        predicted=predicted,
        seconds=samples / rate,
        failed=failed,
        dropped=len(read_optional_table(files["dropped"])),
        broken=len(read_optional_table(files["broken"])),
        rate=rate,
    )


def answers_of_tables(predicted: Path, target: Path) -> Answers:
    """Read answers and true languages from two tables ``utterance language``, as of any system.

    The languages are those of both tables. An utterance without an answer counts as failed.

    Raises:
        LidError: a table is missing or malformed, or an answer belongs to an utterance not in the set.
    """
    truth, answered = read_table(target), read_table(predicted)
    rows = truth.rows(answered.keys())
    if len(extra := np.flatnonzero(rows < 0)):
        names = some([answered.key(row) for row in extra.tolist()])
        raise LidError(f"answers for utterances that are not in the set: {names}", where=predicted)
    true_labels, true_codes = truth.codes()
    labels, codes = answered.codes()
    languages = tuple(sorted({*true_labels, *labels}))
    index = {label: number for number, label in enumerate(languages)}
    found = np.full(len(truth), FAILED, np.int64)
    found[rows] = np.array([index[label] for label in labels], np.int64)[codes]
    without = np.flatnonzero(found == FAILED)
    return Answers(
        name=target.name,
        truth=truth,
        languages=languages,
        known=len(languages),
        columns=np.arange(len(languages)),
        merged=False,
        true=np.array([index[label] for label in true_labels], np.int64)[true_codes],
        predicted=found,
        seconds=np.full(len(truth), np.nan),
        failed=table_from_pairs([(truth.key(row), "no answer") for row in without.tolist()]),
        dropped=0,
        broken=0,
    )


def lasting(answers: Answers, seconds: float) -> npt.NDArray[np.int64]:
    """Return the rows of the utterances that are long enough for a crop of this duration."""
    samples = np.rint(answers.seconds * answers.rate)
    return np.flatnonzero(samples >= crop_samples(seconds, answers.rate))


def read_scores(inference_dir: Path, answers: Answers) -> Scores:
    """Return (utterances, known languages) log posteriors; utterances without an answer are rows of NaN.

    If several labels are merged into one language, its posterior is the sum of theirs.

    Raises:
        LidError: scores and answers belong to different utterances, or a vector has the wrong length.
    """
    return merge_columns(answers, read_columns(inference_dir, answers))


def read_columns(inference_dir: Path, answers: Answers) -> Scores:
    """Return (utterances, labels of the system) log posteriors; see :func:`read_scores`."""
    path = inference_dir / "scores.scp"
    scores = np.full((len(answers.truth), len(answers.columns)), np.nan, np.float32)
    answered = np.flatnonzero(answers.predicted != FAILED)
    if not len(answered):
        return scores
    table = read_table(path)
    if not np.array_equal(answers.truth.rows(table.keys()), answered):
        raise LidError("scores and answers belong to different utterances", where=path, redo="identification")
    first = 0
    for block in vector_blocks(table):
        if block.shape[1] != scores.shape[1]:
            raise LidError(
                f"{block.shape[1]} scores per utterance, but {scores.shape[1]} languages",
                where=path,
                redo="identification",
            )
        scores[answered[first : first + len(block)]] = block
        first += len(block)
    return scores


def merge_columns(answers: Answers, scores: Scores) -> Scores:
    """Return (utterances, known languages) log posteriors from those of the system's labels."""
    if not answers.merged:
        return scores
    together = np.full((len(scores), answers.known), -np.inf, np.float32)
    for first in range(0, len(scores), BLOCK):
        rows = slice(first, first + BLOCK)
        np.logaddexp.at(together[rows].T, answers.columns, scores[rows].T)
    return together


def known_only(answers: Answers, scores: Scores) -> tuple[Answers, Scores]:
    """Return answers and scores without the utterances of languages that the system does not know.

    So do ESPnet's recipe and the published results on other corpora count.
    """
    kept = np.flatnonzero(answers.true < answers.known)
    if len(kept) == len(answers.true):
        return replace(answers, skipped=Skipped(0, 0)), scores
    unknown = len(np.unique(answers.true[answers.true >= answers.known]))
    restricted = replace(
        answers,
        truth=answers.truth.select(kept),
        languages=answers.languages[: answers.known],
        true=answers.true[kept],
        predicted=answers.predicted[kept],
        seconds=answers.seconds[kept],
        skipped=Skipped(len(answers.true) - len(kept), unknown),
    )
    return restricted, scores[kept]


def read_optional_table(path: Path) -> Table:
    """Read a table that may be empty or missing."""
    return read_table(path, allow_empty=True) if path.exists() else parse_table(b"", path, allow_empty=True)


def read_languages(path: Path) -> tuple[str, ...]:
    """Read the labels of a system, one per line, in index order.

    Raises:
        LidError: the file is missing, empty or not UTF-8, or contains a label twice.
    """
    try:
        labels = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise LidError("does not exist", where=path, redo="identification") from None
    except UnicodeDecodeError:
        raise LidError("not UTF-8 text", where=path) from None
    if not labels:
        raise LidError("contains no languages", where=path, redo="identification")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise LidError(f"contains '{twice}' twice", where=path, redo="identification")
    return tuple(labels)


def some(names: Collection[str]) -> str:
    """Return the first few names and the number of the others."""
    shown = ", ".join(sorted(names)[:NAMED_AT_MOST])
    more = len(names) - NAMED_AT_MOST
    return f"{shown} and {more} more" if more > 0 else shown


def _rows_of_answers(
    truth: Table, answered: Table, unanswered: Sequence[Table], path: Path
) -> npt.NDArray[np.int64]:
    """Return the row of each answer in ``truth``; check that each utterance is in one of the tables."""
    tables = (answered, *unanswered)
    rows_of = [truth.rows(table.keys()) for table in tables]
    extra = [
        table.key(row)
        for table, rows in zip(tables, rows_of, strict=True)
        for row in np.flatnonzero(rows < 0).tolist()
    ]
    if extra:
        raise LidError(
            f"answers for utterances that are not in the set: {some(extra)}",
            where=path,
            mend="score the set that was identified",
        )
    answers = np.bincount(np.concatenate(rows_of), minlength=len(truth))
    if both := [truth.key(row) for row in np.flatnonzero(answers > 1).tolist()]:
        raise LidError(
            f"utterances with both an answer and a failure: {some(both)}", where=path, redo="identification"
        )
    if missing := [truth.key(row) for row in np.flatnonzero(answers == 0).tolist()]:
        raise LidError(
            f"{len(missing)} of {len(truth)} utterances have neither an answer nor a recorded failure: "
            f"{some(missing)}",
            where=path,
            redo="identification",
        )
    return rows_of[0]


def _check_labels(labels: Collection[str], known: tuple[str, ...], path: Path) -> None:
    for label in labels:
        if label not in known:
            raise LidError(
                f"answer '{label}' is not a label of this system", where=path, mend=nearest(label, known)
            )


def _check_unknown(
    unknown: tuple[str, ...], present: tuple[str, ...], known: tuple[str, ...], path: Path
) -> None:
    if len(unknown) == len(present):
        raise LidError(
            f"the system knows none of the languages of the set: {some(unknown)}",
            where=path,
            mend=f"the system's labels: {some(known)}",
        )
    if unknown:
        logging.warning("the system does not know %s, so their utterances count as wrong", some(unknown))


def _cropped(truth: Table, samples: npt.NDArray[np.int64], size: int) -> tuple[Table, npt.NDArray[np.int64]]:
    """Return the utterances of at least ``size`` samples, and that number for each."""
    long = np.flatnonzero(samples >= size)
    return truth.select(long), np.full(len(long), size)


def _samples(truth: Table, path: Path) -> npt.NDArray[np.int64]:
    samples = read_table(path)
    rows = samples.rows(truth.keys())
    if len(missing := np.flatnonzero(rows < 0)):
        raise LidError(f"utterance '{truth.key(int(missing[0]))}' is missing", where=path, redo="formatting")
    return samples.integers()[rows]
