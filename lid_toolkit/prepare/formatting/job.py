"""One job of formatting: drop short or long utterances, decode, cut, change speed, resample and write."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import Recording, open_audio
from lid_toolkit.audio.references import AudioError, in_archive, is_pipe
from lid_toolkit.audio.resample import resample, resampled_length
from lid_toolkit.audio.silence import require_signal, require_signal_in
from lid_toolkit.audio.writer import Writer, audio_writer, encode, quantise
from lid_toolkit.files import write_whole
from lid_toolkit.parts import do_parts, parts_to_do
from lid_toolkit.prepare.formatting.listing import PlannedUtterance
from lid_toolkit.prepare.formatting.plan import FormatOptions, Plan, load_plan, work_dir
from lid_toolkit.progress import Progress

LONGEST_OVERSHOOT_S = 0.5
"""Longest time in seconds by which a segment may end after its recording. It is cut, as in Kaldi."""


@dataclass
class PartResult:
    """The result of each utterance of a part.

    Attributes:
        written: ``(utterance, reference, number of samples, number of clipped samples)``.
        dropped: ``(utterance, reason)`` of utterances that are too short or too long.
        failed: ``(utterance, reason)`` of utterances that cannot be read.
        audio: digest of the written audio; if some utterances refer to their original recordings, also of
            the sizes and modification times of these.
    """

    written: list[tuple[str, str, int, int]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    audio: str = ""

    def add(self, other: PartResult) -> None:
        """Add the results of other utterances."""
        self.written += other.written
        self.dropped += other.dropped
        self.failed += other.failed


def run_job(output_dir: Path, job: int) -> None:
    """Do the parts of job number ``job``, counted from 1, that are not done yet.

    Raises:
        LidError: there is no plan or no such job, or another process does this job.
    """
    plan = load_plan(output_dir)
    title = f"format {output_dir.name}"
    with parts_to_do(work_dir(output_dir), plan.parts, job, plan.num_jobs, title) as todo:
        do_parts(title, todo, lambda part, progress: _do_part(plan, part.index, progress))


def read_result(path: Path) -> PartResult:
    """Read the results of a part, which :func:`run_job` wrote."""
    return PartResult(**json.loads(path.read_text(encoding="utf-8")))


def _do_part(plan: Plan, part: int, progress: Progress) -> list[Path]:
    """Write the audio and the result of a part; return the files."""
    audio, result = plan.audio(part), PartResult()
    state, files_written = hashlib.blake2b(digest_size=16), 0
    with audio_writer(audio, plan.options.audio_format) as write_file:

        def write(key: str, data: bytes) -> str:
            nonlocal files_written
            files_written += 1
            state.update(data)
            return write_file(key, data)

        for _, group in itertools.groupby(plan.utterances(part), key=lambda u: (u.ref, u.channel)):
            members = list(group)
            made = _format_recording(members, plan.options, write)
            result.add(made)
            progress.advance(len(members), sum(row[2] for row in made.written) / plan.options.fs)
    if files_written < len(result.written):
        state.update(plan.recordings[part].encode())
    result.audio = state.hexdigest()
    with write_whole(plan.result(part)) as stream:
        json.dump(asdict(result), stream, ensure_ascii=False)
    files = [audio, *sorted(audio.iterdir())] if audio.is_dir() else [audio] if audio.exists() else []
    return [*files, plan.result(part)]


def _format_recording(
    utterances: list[PlannedUtterance], options: FormatOptions, write: Writer
) -> PartResult:
    """Write the utterances of one channel; each stretch of it is decoded once whatever the speeds."""
    result = PartResult()
    _, ref, _, _, _, channel = utterances[0]
    if channel >= 0:
        options = replace(options, channel=channel)
    try:
        with open_audio(ref, options.reading) as recording:
            for _, group in itertools.groupby(utterances, key=lambda utterance: utterance[2:4]):
                members = list(group)
                try:
                    result.add(_format_stretch(recording, members, options, write))
                except AudioError as error:
                    result.failed += [(utterance.key, str(error)) for utterance in members]
    except AudioError as error:
        result.failed += [(utterance.key, str(error)) for utterance in utterances]
    return result


def _format_stretch(
    recording: Recording, utterances: list[PlannedUtterance], options: FormatOptions, write: Writer
) -> PartResult:
    """Write utterances with the same times in a recording; refer to the recording if nothing changes."""
    num_samples, rate = recording.info.num_samples, recording.info.rate
    _, ref, start, end, *_ = utterances[0]
    first, stop = sample_range(start, end, num_samples, rate, ref)
    result = PartResult()
    wanted = list(_within_limits(utterances, stop - first, rate, options, result))
    if not wanted:
        return result
    channels = recording.info.channels if options.channel is None else 1
    if options.feats_type == "raw_copy":
        _check_copy(ref, rate, options.fs)
        require_signal(recording.read, first, stop, ref, channels)
        result.written += [(utterance.key, ref, num_samples, 0) for utterance in wanted]
        return result

    @functools.cache
    def wave() -> NDArray[np.float32]:
        return recording.read(first, stop)

    kind, _, archive = options.audio_format.partition(".")
    as_wanted = (recording.kind, rate, first, stop) == (kind, options.fs, 0, num_samples) and not is_pipe(ref)
    if as_wanted and kind == "wav" and all(utterance.speed == 1 for utterance in wanted):
        require_signal(recording.read, first, stop, ref, channels)  # without reading all of it
    else:
        require_signal_in(wave(), ref, channels)
    for utterance in wanted:
        unchanged = as_wanted and utterance.speed == 1
        if unchanged and in_archive(ref) == bool(archive):
            result.written.append((utterance.key, ref, num_samples, 0))
        elif unchanged and kind == "flac":
            result.written.append((utterance.key, write(utterance.key, recording.copy()), num_samples, 0))
        else:
            samples, clipped = quantise(resample(wave(), rate * utterance.speed, options.fs))
            place = write(utterance.key, encode(samples, options.fs, kind))
            result.written.append((utterance.key, place, len(samples), clipped))
    return result


def _check_copy(ref: str, rate: int, fs: int) -> None:
    """Raise AudioError if the set cannot refer to a recording without changing it."""
    if is_pipe(ref):
        raise AudioError(
            "is a command, and raw_copy refers to files",
            where=ref,
            mend="choose feats_type raw, which runs it",
        )
    if rate != fs:
        raise AudioError(
            f"{rate} Hz, not {fs} Hz, and raw_copy does not resample",
            where=ref,
            mend="choose feats_type raw, which does",
        )


def sample_range(start: float, end: float, num_samples: int, rate: int, ref: str) -> tuple[int, int]:
    """Return the samples (first, after the last) from ``start`` to ``end`` seconds.

    An ``end`` of -1 is the end of the recording.

    Raises:
        AudioError: the segment is empty, or ends more than 0.5 s after the recording.
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
    utterances: Iterable[PlannedUtterance],
    num_samples: int,
    rate: int,
    options: FormatOptions,
    result: PartResult,
) -> Iterator[PlannedUtterance]:
    """Yield the utterances whose final duration is within the limits; add the others to ``result``."""
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
