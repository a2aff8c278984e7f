"""One job of stage 3: decode, cut, resample and change speed, and write the parts that are its share."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.formatting.plan import FormatOptions, Plan, Utterance, load_plan, work_dir
from lid_toolkit.audio.reader import AudioError, audio_info, is_pipe, read_audio
from lid_toolkit.audio.resample import resample, resampled_length
from lid_toolkit.audio.writer import Writer, audio_writer, quantise
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step

LONGEST_OVERSHOOT_S = 0.5
"""A segment may end this much after its recording, as in Kaldi's ``extract-segments``: it is cut there."""

ReadRange = Callable[[int, int], NDArray[np.float32]]


@dataclass
class Result:
    """What became of the utterances of a part.

    Attributes:
        written: ``(utterance, reference, samples, samples clipped)``.
        dropped: ``(utterance, reason)`` of those outside the limits of duration.
        failed: ``(utterance, reason)`` of the broken.
    """

    written: list[tuple[str, str, int, int]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def run_job(output_dir: Path, job: int) -> None:
    """Do the parts of job number ``job``, counted from 1, that are not done yet.

    Raises:
        LidError: there is no plan or no such job, or another process does this job.
    """
    plan = load_plan(output_dir)
    if job > plan.num_jobs:
        raise LidError(f"there are {plan.num_jobs} jobs", where=f"--job {job}")
    parts = range(job - 1, plan.num_parts, plan.num_jobs)
    with locked(work_dir(output_dir) / f"job.{job}", f"job {job} of formatting {output_dir.name}"):
        todo = [part for part in parts if plan.part_step(part, plan.utterances(part)).reason()]
        logging.info("job %d: %d of %d parts to do", job, len(todo), len(parts))
        total = sum(len(plan.utterances(part)) for part in todo)
        with Progress(f"format {output_dir.name}", total) as progress:
            for part in todo:
                _do_part(plan, part, progress)


def read_result(path: Path) -> Result:
    """Read what :func:`run_job` noted of a part."""
    return Result(**json.loads(path.read_text(encoding="utf-8")))


def _do_part(plan: Plan, part: int, progress: Progress) -> None:
    utterances = plan.utterances(part)
    step: Step = plan.part_step(part, utterances)
    audio, result = plan.audio(part), Result()
    with audio_writer(audio, plan.options.audio_format) as write:
        for ref, group in itertools.groupby(utterances, key=lambda utterance: utterance.ref):
            members = list(group)
            before = len(result.written)
            _format_recording(ref, members, plan.options, write, result)
            samples = sum(row[2] for row in result.written[before:])
            progress.advance(len(members), samples / plan.options.fs)
    with write_whole(plan.result(part)) as stream:
        json.dump(asdict(result), stream, ensure_ascii=False)
    files = [audio] if audio.is_file() else sorted(audio.iterdir())
    step.finish([*files, audio, plan.result(part)])


def _format_recording(
    ref: str, utterances: list[Utterance], options: FormatOptions, write: Writer, result: Result
) -> None:
    """Write the utterances of one recording; each stretch of it is decoded once whatever the speeds."""
    try:
        num_samples, rate, read_range = _open(ref, options.allow_pipes)
    except AudioError as error:
        result.failed.extend((utterance.key, str(error)) for utterance in utterances)
        return
    for (start, end), group in itertools.groupby(utterances, key=lambda utterance: utterance[2:4]):
        members = list(group)
        try:
            first, stop = sample_range(start, end, num_samples, rate, ref)
            wanted = list(_within_limits(members, stop - first, rate, options, result))
            if wanted:
                _write_speeds(wanted, read_range(first, stop), rate, options.fs, write, result)
        except AudioError as error:
            result.failed.extend((utterance.key, str(error)) for utterance in members)


def _write_speeds(
    utterances: list[Utterance],
    wave: NDArray[np.float32],
    rate: int,
    fs: int,
    write: Writer,
    result: Result,
) -> None:
    for utterance in utterances:
        samples, clipped = quantise(resample(wave, rate * utterance.speed, fs))
        ref = write(utterance.key, samples, fs)
        result.written.append((utterance.key, ref, len(samples), clipped))


def sample_range(start: float, end: float, num_samples: int, rate: int, ref: str) -> tuple[int, int]:
    """Return the samples, first and after the last, from ``start`` to ``end`` seconds; -1 is the end.

    Raises:
        AudioError: nothing lies between them, or the end is more than 0.5 s after the recording's.
    """
    first = round(start * rate)
    stop = num_samples if end == -1 else round(end * rate)
    if stop - num_samples > LONGEST_OVERSHOOT_S * rate or first >= num_samples:
        raise AudioError(
            f"segment {start:g} to {end:g} s of a recording of {num_samples / rate:g} s", where=ref
        )
    if stop <= first:
        raise AudioError(f"segment {start:g} to {end:g} s holds no samples", where=ref)
    return first, min(stop, num_samples)


def _within_limits(
    utterances: Iterable[Utterance], num_samples: int, rate: int, options: FormatOptions, result: Result
) -> Iterator[Utterance]:
    """Yield those whose final duration is within the limits; note the others."""
    for utterance in utterances:
        length = resampled_length(num_samples, rate * utterance.speed, options.fs)
        seconds = length / options.fs
        if length == 0:
            result.failed.append((utterance.key, f"{utterance.ref}: holds no samples at {options.fs} Hz"))
        elif seconds < options.min_wav_duration:
            result.dropped.append((utterance.key, f"{seconds:g} s is under {options.min_wav_duration:g} s"))
        elif 0 < options.max_wav_duration < seconds:
            result.dropped.append((utterance.key, f"{seconds:g} s is over {options.max_wav_duration:g} s"))
        else:
            yield utterance


def _open(ref: str, allow_pipes: bool) -> tuple[int, int, ReadRange]:
    """Return a recording's length, rate and a way to read a range; a command is run once."""
    if is_pipe(ref):
        wave, rate = read_audio(ref, allow_pipes=allow_pipes)
        return len(wave), rate, lambda start, stop: wave[start:stop]
    info = audio_info(ref)
    return info.num_samples, info.rate, lambda start, stop: read_audio(ref, start, stop)[0]
