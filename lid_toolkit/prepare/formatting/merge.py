"""The last step of formatting: merge the finished parts, unless too many utterances failed."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.datadir.datadir import (
    PER_UTTERANCE_TABLES,
    SET_METADATA_FILES,
    by_language,
    lang2utt_blocks,
    table_paths,
    write_tables,
)
from lid_toolkit.datadir.tables.table import (
    Table,
    merge_tables,
    merged_blocks,
    read_table,
    table_from_pairs,
    write_table,
)
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.parts import check_failures, check_finished
from lid_toolkit.prepare.formatting.job import read_result
from lid_toolkit.prepare.formatting.plan import Plan, load_plan


@dataclass(frozen=True)
class FormattedSet:
    """The results of all utterances, in tables with utterances as keys.

    Attributes:
        wav_scp: reference to the audio of each formatted utterance, one table per part.
        num_samples: number of samples of each formatted utterance.
        clipped: number of clipped samples, of utterances that have some.
        dropped: reason, of utterances that are too short or too long.
        failed: reason, of utterances that cannot be read.
        digest: digest of all audio.
    """

    wav_scp: Sequence[Table]
    num_samples: Table
    clipped: Table
    dropped: Table
    failed: Table
    digest: str


def merge(output_dir: Path) -> None:
    """Write the tables of ``output_dir`` from its finished parts.

    ``wav.scp``, ``utt2lang``, ``lang2utt``, ``category2utt``, ``utt2num_samples``, ``audio_format``,
    ``feats_type``, ``sampling_rate``, ``audio_digest``; and ``failed``, ``dropped`` (utterance and reason)
    and ``clipped`` (utterance and number of samples), which may be empty files.

    Raises:
        LidError: a part is not done, the source changed since the plan, more utterances failed than
            ``max_failed`` allows, or no utterance is left.
    """
    plan = load_plan(output_dir)
    with plan.step.work("merging", lock=output_dir, known=plan.inputs) as work:
        if work is None:
            return
        check_finished(plan.parts, plan.output_dir)
        outcome = _gather(plan)
        for name in ("failed", "dropped", "clipped"):
            write_table(output_dir / name, getattr(outcome, name))
        _judge(plan, outcome)
        _remove_strays(plan)
        audio = [path for part in range(plan.num_parts) if (path := plan.audio(part)).exists()]
        work.finish([*audio, *_write_tables(plan, outcome)])
    _report(plan, outcome)


def _gather(plan: Plan) -> FormattedSet:
    """Read the parts' results into tables; millions of rows as Python objects would need too much memory."""
    references: list[Table] = []
    others: list[list[Table]] = [[], [], [], []]
    digest = hashlib.blake2b(digest_size=16)
    for part in range(plan.num_parts):
        result = read_result(plan.result(part))
        digest.update(result.audio.encode())
        references.append(table_from_pairs((row[0], row[1]) for row in result.written))
        rows = (
            ((row[0], str(row[2])) for row in result.written),
            ((row[0], str(row[3])) for row in result.written if row[3]),
            result.dropped,
            result.failed,
        )
        for tables, pairs in zip(others, rows, strict=True):
            tables.append(table_from_pairs(pairs))
    num_samples, clipped, dropped, failed = map(merge_tables, others)
    return FormattedSet(references, num_samples, clipped, dropped, failed, digest.hexdigest())


def _judge(plan: Plan, outcome: FormattedSet) -> None:
    """Raise LidError if too many utterances failed, or if no utterance is left."""
    failed = len(outcome.failed)
    count = len(outcome.num_samples) + len(outcome.dropped) + failed
    listed = plan.output_dir / "failed"
    check_failures(
        outcome.failed,
        failed,
        count,
        plan.options.max_failed,
        listed,
        lambda: [part for part in plan.parts if read_result(plan.result(part.index)).failed],
    )
    if not len(outcome.num_samples):
        raise LidError(
            f"no utterance is left: {len(outcome.dropped)} dropped, {failed} failed",
            where=plan.data_dir,
            mend=f"see {plan.output_dir / 'dropped'} and {listed}",
        )


def _write_tables(plan: Plan, outcome: FormattedSet) -> list[Path]:
    output = plan.output_dir
    carried = {
        name: _keep(read_table(path), outcome.num_samples)
        for name, path in table_paths(plan.data_dir).items()
        if name in ("utt2lang", *PER_UTTERANCE_TABLES) and path.exists()
    }
    options = plan.options
    values = (options.audio_format, options.feats_type, options.fs, outcome.digest)
    words = dict(zip(SET_METADATA_FILES, values, strict=True))
    for name, word in words.items():
        with write_whole(output / name) as stream:
            stream.write(f"{word}\n")
    blocks = {
        **{name: table.blocks() for name, table in carried.items()},
        "utt2num_samples": outcome.num_samples.blocks(),
        **{name: lang2utt_blocks(by_language(carried["utt2lang"])) for name in ("lang2utt", "category2utt")},
        "wav.scp": merged_blocks(outcome.wav_scp),
    }
    written = write_tables(output, blocks)
    return [
        *written,
        *(output / name for name in (*words, "failed", "dropped", "clipped")),
    ]


def _keep(table: Table, wanted: Table) -> Table:
    return table if table.same_keys(wanted) else table.select(table.rows(wanted.keys()))


def _remove_strays(plan: Plan) -> None:
    """Remove audio of earlier runs with other options, or of killed jobs."""
    current = {plan.audio(part) for part in range(plan.num_parts)}
    for path in (plan.output_dir / "data").glob("*"):
        if path in current:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _report(plan: Plan, outcome: FormattedSet) -> None:
    lengths = outcome.num_samples
    hours = lengths.integers().sum() / plan.options.fs / 3600
    parts = [f"{len(lengths)} utterances, {hours:.2f} h"]
    for name in ("dropped", "failed"):
        if len(table := getattr(outcome, name)):
            parts.append(f"{len(table)} {name} (see {plan.output_dir / name})")
    if len(outcome.clipped):
        shares = ((int(samples) / int(lengths[key]), key) for key, samples in outcome.clipped)
        share, worst = max(shares)
        parts.append(f"{len(outcome.clipped)} clipped, most {worst} ({100 * share:.2g} % of it)")
    logging.info("%s: %s", plan.step.name, "; ".join(parts))
