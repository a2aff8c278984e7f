"""Compare the audio of a formatted set with the digests that were taken when it was written."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lid_toolkit.audio.references import ENTRY_MARK
from lid_toolkit.files import locked
from lid_toolkit.parts import PLAN
from lid_toolkit.prepare.formatting.job import PartResult, read_result
from lid_toolkit.prepare.formatting.plan import Plan, PlannedPart, load_plan, work_dir
from lid_toolkit.progress import Progress


def verify_audio(output_dir: Path, num_threads: int, dry_run: bool = False) -> None:
    """Read the audio of the finished parts; those that are damaged will be formatted again.

    Parts whose files have another size or time need not be read: the plan finds them.

    Args:
        output_dir: a formatted set; one that was never planned is skipped.
        num_threads: number of parts to read at a time.
        dry_run: only log which parts are damaged.
    """
    if not (work_dir(output_dir) / PLAN).exists():
        return
    with contextlib.nullcontext() if dry_run else locked(output_dir, "verifying"):
        plan = load_plan(output_dir)
        finished = [part for part in plan.parts if not part.step.reason()]
        for part in _damaged(plan, finished, num_threads):
            logging.warning("%s: damaged after it was written", plan.audio(part.index))
            if not dry_run:
                part.step.record.unlink()


def _damaged(plan: Plan, parts: list[PlannedPart], num_threads: int) -> list[PlannedPart]:
    def is_damaged(part: PlannedPart) -> bool:
        result = read_result(plan.result(part.index))
        return audio_digest(plan, part.index, result) != result.audio

    total = sum(part.size for part in parts)
    damaged = []
    with (
        Progress(f"verify {plan.output_dir.name}", total) as progress,
        ThreadPoolExecutor(num_threads) as pool,
    ):
        for part, answer in zip(parts, pool.map(is_damaged, parts), strict=True):
            progress.advance(part.size)
            if answer:
                damaged.append(part)
    return damaged


def audio_digest(plan: Plan, part: int, result: PartResult) -> str:
    """Return the digest of a part's audio as it is on disk, computed as when it was written."""
    state, count = hashlib.blake2b(digest_size=16), 0
    for data in _written(plan.audio(part), plan.options.audio_format, result):
        state.update(data)
        count += 1
    if count < len(result.written):
        state.update(plan.recordings[part].encode())
    return state.hexdigest()


def _written(audio: Path, audio_format: str, result: PartResult) -> Iterator[bytes]:
    """Yield the bytes of each recording that was written, in order; nothing for those only referred to."""
    kind, _, archive = audio_format.partition(".")
    if not archive:
        for _, ref, _, _ in result.written:
            if Path(ref).parent == audio:
                yield Path(ref).read_bytes()
        return
    prefix = f"{audio}:"
    begins = [(key, int(ref[len(prefix) :])) for key, ref, _, _ in result.written if ref.startswith(prefix)]
    if not begins:
        return
    # An entry ends where the key of the next one begins.
    ends = [begin - len(key.encode()) - 1 for key, begin in begins[1:]] + [audio.stat().st_size]
    with open(audio, "rb") as stream:
        for (_, begin), end in zip(begins, ends, strict=True):
            stream.seek(begin)
            entry = stream.read(end - begin)
            yield entry if kind == "wav" else entry[_header_size(entry) :]


def _header_size(entry: bytes) -> int:
    """Return the size of the mark, the byte N and the N bytes of the length before an archived file."""
    width = len(ENTRY_MARK)
    return width + 1 + (entry[width] if len(entry) > width else 0)
