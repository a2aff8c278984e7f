"""The end of stage 3: what the jobs made becomes one directory, if few enough utterances failed."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from lid_toolkit.audio.formatting.job import Result, read_result
from lid_toolkit.audio.formatting.plan import Plan, load_plan
from lid_toolkit.datadir.datadir import CARRIED, lang2utt, read_data_dir, write_data_dir
from lid_toolkit.datadir.tables import Table, table_from_pairs, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import locked, write_whole

SHOWN_FAILURES = 3


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
        result = _gather(plan)
        for name in ("failed", "dropped"):
            write_table(output_dir / name, getattr(result, name))
        write_table(output_dir / "clipped", [(row[0], str(row[3])) for row in result.written if row[3]])
        _judge(plan, result)
        _remove_strays(plan)
        audio = [plan.audio(part) for part in range(plan.num_parts)]
        step.finish([*audio, *_write_tables(plan, result)])
    _report(plan, result)


def _gather(plan: Plan) -> Result:
    total = Result()
    for part in range(plan.num_parts):
        step = plan.part_step(part, plan.utterances(part))
        if reason := step.reason():
            raise LidError(
                f"{step.name} is not done: {reason}", where=plan.output_dir, mend="run the jobs again"
            )
        result = read_result(plan.result(part))
        total.written += result.written
        total.dropped += result.dropped
        total.failed += result.failed
    return total


def _judge(plan: Plan, result: Result) -> None:
    """Raise LidError if too many utterances failed or none is left."""
    count = len(result.written) + len(result.dropped) + len(result.failed)
    failed = sorted(result.failed)
    shown = "; ".join(f"{key}: {reason}" for key, reason in failed[:SHOWN_FAILURES])
    listed = plan.output_dir / "failed"
    share = plan.options.max_failed
    if len(failed) > allowed_failures(share, count):
        _redo_failures(plan)
        raise LidError(
            f"{len(failed)} of {count} utterances failed, more than the share {share:g}: {shown}",
            where=plan.data_dir,
            mend=f"all are in {listed}; mend or remove them, or raise --max_failed",
        )
    if not result.written:
        raise LidError(
            f"no utterance is left: {len(result.dropped)} dropped, {len(failed)} failed",
            where=plan.data_dir,
            mend=f"see {plan.output_dir / 'dropped'} and {listed}",
        )


def _redo_failures(plan: Plan) -> None:
    """Forget the parts with failures, so that a rerun tries again what failed for a passing reason."""
    for part in range(plan.num_parts):
        if read_result(plan.result(part)).failed:
            plan.part_step(part, []).record.unlink(missing_ok=True)


def _write_tables(plan: Plan, result: Result) -> list[Path]:
    data, output = read_data_dir(plan.data_dir), plan.output_dir
    wav_scp = table_from_pairs((row[0], row[1]) for row in result.written)
    utt2lang = _keep(data.utt2lang, wav_scp)
    further: dict[str, Table] = {
        "category2utt": table_from_pairs(lang2utt(utt2lang)),
        "utt2num_samples": table_from_pairs((row[0], str(row[2])) for row in result.written),
        **{name: _keep(table, wav_scp) for name, table in data.carried.items() if name in CARRIED},
    }
    for name in ("audio_format", "feats_type"):
        with write_whole(output / name) as stream:
            stream.write(f"{getattr(plan.options, name)}\n")
    written = write_data_dir(output, wav_scp, utt2lang, further)
    return [
        *written,
        *(output / name for name in ("audio_format", "feats_type", "failed", "dropped", "clipped")),
    ]


def _keep(table: Table, wanted: Table) -> Table:
    return table.select(table.rows(wanted.keys()))


def _remove_strays(plan: Plan) -> None:
    """Remove audio that other options, or a killed job, left behind."""
    current = {plan.audio(part) for part in range(plan.num_parts)}
    for path in (plan.output_dir / "data").iterdir():
        if path in current:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _report(plan: Plan, result: Result) -> None:
    hours = sum(row[2] for row in result.written) / plan.options.fs / 3600
    parts = [f"{len(result.written)} utterances, {hours:.2f} h"]
    for name in ("dropped", "failed"):
        if rows := getattr(result, name):
            parts.append(f"{len(rows)} {name} (see {plan.output_dir / name})")
    if clipped := [row for row in result.written if row[3]]:
        worst = max(clipped, key=lambda row: row[3] / row[2])
        parts.append(f"{len(clipped)} clipped, most {worst[0]} ({100 * worst[3] / worst[2]:.2g} % of it)")
    logging.info("%s: %s", plan.step.name, "; ".join(parts))
