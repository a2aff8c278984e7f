"""The end of stage 3: what the jobs made becomes one directory, if few enough utterances failed."""

from __future__ import annotations

import itertools
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.audio.formatting.job import read_result
from lid_toolkit.audio.formatting.plan import Plan, load_plan
from lid_toolkit.datadir.datadir import CARRIED, lang2utt, read_data_dir, write_data_dir
from lid_toolkit.datadir.tables import Table, merge_tables, table_from_pairs, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import locked, write_whole

SHOWN_FAILURES = 3


@dataclass(frozen=True)
class Outcome:
    """What became of all utterances, each a table with utterances as keys.

    Attributes:
        wav_scp: reference of each that is left.
        num_samples: its length.
        clipped: samples beyond full scale, where there are any.
        dropped: reason, of those outside the limits of duration.
        failed: reason, of the broken.
    """

    wav_scp: Table
    num_samples: Table
    clipped: Table
    dropped: Table
    failed: Table


def merge(output_dir: Path) -> None:
    """Write the tables of ``output_dir`` from its finished parts.

    ``wav.scp``, ``utt2lang``, ``lang2utt``, ``category2utt``, ``utt2num_samples``, ``audio_format``,
    ``feats_type``; and ``failed``, ``dropped`` (utterance and reason) and ``clipped`` (utterance and
    number of samples), which are empty files when there is nothing to tell.

    Raises:
        LidError: a part is not done; the source changed since the plan; more utterances failed than
            ``--max_failed`` allows; none is left.
    """
    plan = load_plan(output_dir)
    with locked(output_dir, "merging"):
        step = plan.step
        if not step.reason():
            return
        if step.digests != plan.inputs:
            raise LidError("changed while it was formatted", where=plan.data_dir, mend="run the stage again")
        outcome = _gather(plan)
        for name in ("failed", "dropped", "clipped"):
            write_table(output_dir / name, getattr(outcome, name))
        _judge(plan, outcome)
        _remove_strays(plan)
        audio = [path for part in range(plan.num_parts) if (path := plan.audio(part)).exists()]
        step.finish([*audio, *_write_tables(plan, outcome)])
    _report(plan, outcome)


def _gather(plan: Plan) -> Outcome:
    """Read the parts' results, each at once a table: millions of rows as objects would not fit."""
    tables: list[list[Table]] = []
    for part in range(plan.num_parts):
        step = plan.part_step(part)
        if reason := step.reason():
            raise LidError(
                f"{step.name} is not done: {reason}", where=plan.output_dir, mend="run the jobs again"
            )
        result = read_result(plan.result(part))
        tables.append(
            [
                table_from_pairs((row[0], row[1]) for row in result.written),
                table_from_pairs((row[0], str(row[2])) for row in result.written),
                table_from_pairs((row[0], str(row[3])) for row in result.written if row[3]),
                table_from_pairs(result.dropped),
                table_from_pairs(result.failed),
            ]
        )
    return Outcome(*(merge_tables(parts) for parts in zip(*tables, strict=True)))


def _judge(plan: Plan, outcome: Outcome) -> None:
    """Raise LidError if too many utterances failed or none is left."""
    failed = len(outcome.failed)
    count = len(outcome.wav_scp) + len(outcome.dropped) + failed
    listed = plan.output_dir / "failed"
    share = plan.options.max_failed
    if failed > allowed_failures(share, count):
        _redo_failures(plan)
        shown = "; ".join(
            f"{key}: {reason}" for key, reason in itertools.islice(outcome.failed, SHOWN_FAILURES)
        )
        raise LidError(
            f"{failed} of {count} utterances failed, more than the share {share:g}: {shown}",
            where=plan.data_dir,
            mend=f"all are in {listed}; mend or remove them, or raise --max_failed",
        )
    if not len(outcome.wav_scp):
        raise LidError(
            f"no utterance is left: {len(outcome.dropped)} dropped, {failed} failed",
            where=plan.data_dir,
            mend=f"see {plan.output_dir / 'dropped'} and {listed}",
        )


def _redo_failures(plan: Plan) -> None:
    """Forget the parts with failures, so that a rerun tries again what failed for a passing reason."""
    for part in range(plan.num_parts):
        if read_result(plan.result(part)).failed:
            plan.part_step(part).record.unlink(missing_ok=True)


def _write_tables(plan: Plan, outcome: Outcome) -> list[Path]:
    data, output = read_data_dir(plan.data_dir), plan.output_dir
    utt2lang = _keep(data.utt2lang, outcome.wav_scp)
    further: dict[str, Table] = {
        "category2utt": table_from_pairs(lang2utt(utt2lang)),
        "utt2num_samples": outcome.num_samples,
        **{name: _keep(table, outcome.wav_scp) for name, table in data.carried.items() if name in CARRIED},
    }
    for name in ("audio_format", "feats_type"):
        with write_whole(output / name) as stream:
            stream.write(f"{getattr(plan.options, name)}\n")
    written = write_data_dir(output, outcome.wav_scp, utt2lang, further)
    return [
        *written,
        *(output / name for name in ("audio_format", "feats_type", "failed", "dropped", "clipped")),
    ]


def _keep(table: Table, wanted: Table) -> Table:
    return table if table.same_keys(wanted) else table.select(table.rows(wanted.keys()))


def _remove_strays(plan: Plan) -> None:
    """Remove audio that other options, or a killed job, left behind."""
    current = {plan.audio(part) for part in range(plan.num_parts)}
    for path in (plan.output_dir / "data").glob("*"):
        if path in current:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _report(plan: Plan, outcome: Outcome) -> None:
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
