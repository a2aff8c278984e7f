"""Read recordings, or crops of them, as float32 mono waveforms.

A reference is a value of ``wav.scp``: a path, ``ark:offset`` or, when allowed, a command ending in
``|``. Files are opened for each use and never kept, so readers may fork and run in parallel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.decoder import decoded
from lid_toolkit.audio.entry import AudioError, Entry, is_pipe, opened
from lid_toolkit.audio.matrix import LARGEST, read_matrix_header
from lid_toolkit.audio.wav_header import WavHeader, read_wav_header

__all__ = ["AudioError", "AudioInfo", "Reading", "Recording", "audio_info", "open_audio", "read_audio"]

PCM16_SCALE = np.float32(1.0 / 32768)
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000


@dataclass(frozen=True)
class Reading:
    """How references are understood.

    Attributes:
        allow_pipes: whether commands are run.
        channel: which channel to take, from 0; None averages all.
        multi_columns: a reference is one or more paths parted by blanks; their channels come together.
        matrix_rate: rate in Hz of Kaldi matrices, which do not tell theirs.
    """

    allow_pipes: bool = False
    channel: int | None = None
    multi_columns: bool = False
    matrix_rate: int = 16000


DEFAULT = Reading()


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says: samples a channel, samples a second, channels."""

    num_samples: int
    rate: int
    channels: int


@dataclass(frozen=True)
class Recording:
    """An open recording.

    Attributes:
        info: what its header says.
        read: returns samples ``start`` to ``stop`` as float32, (stop - start,); in this module, as long as
            its files are apart, (stop - start, channels).
        kind: ``wav`` or ``flac`` if its bytes are such a file, whole, of 16-bit mono; else ``""``.
        copy: returns those bytes.
    """

    info: AudioInfo
    read: Callable[[int, int], NDArray[np.float32]]
    kind: str
    copy: Callable[[], bytes]


def read_audio(
    ref: str, start: int = 0, stop: int | None = None, reading: Reading = DEFAULT
) -> tuple[NDArray[np.float32], int]:
    """Read samples ``start`` to ``stop`` (the end by default) of a recording.

    Only what is asked for is read and decoded, where the format allows seeking.

    Returns:
        The waveform, (stop - start,) float32, channels averaged unless ``reading`` names one, in
        [-1, 1] (floating-point samples may exceed it), and its rate in Hz.

    Raises:
        AudioError: the recording is missing, empty, truncated or not audio, holds NaN or infinite
            samples, unscaled ones or fewer than ``stop``, lacks the channel, or is a command that may
            not be run.
    """
    with open_audio(ref, reading) as recording:
        stop = recording.info.num_samples if stop is None else stop
        return recording.read(start, stop), recording.info.rate


def audio_info(ref: str, reading: Reading = DEFAULT) -> AudioInfo:
    """Read a recording's length, rate and channels from its header; raises like :func:`read_audio`."""
    with open_audio(ref, reading) as recording:
        return recording.info


@contextlib.contextmanager
def open_audio(ref: str, reading: Reading = DEFAULT) -> Iterator[Recording]:
    """Open a recording to read one or more ranges of it; a command is run once.

    Raises:
        AudioError: when opened or read, like :func:`read_audio`.
    """
    with contextlib.ExitStack() as stack:
        refs = ref.split() if reading.multi_columns else [ref]
        if len(refs) > 1 and is_pipe(ref):
            raise AudioError(
                "a command among several files", where=ref, mend="--multi_columns_input_wav_scp false"
            )
        files = [stack.enter_context(_open_file(one, reading)) for one in refs]
        info = _together(ref, files, reading.channel)
        kind = files[0].kind if info.channels == 1 else ""

        def read(start: int, stop: int) -> NDArray[np.float32]:
            if not 0 <= start < stop <= info.num_samples:
                raise AudioError(f"has {info.num_samples} samples: {start} to {stop} asked for", where=ref)
            waves = [file.read(start, stop) for file in files]
            wave = waves[0] if len(waves) == 1 else np.concatenate(waves, axis=1)
            return _mono(wave, reading.channel)

        yield Recording(info, read, kind, files[0].copy)


@contextlib.contextmanager
def _open_file(ref: str, reading: Reading) -> Iterator[Recording]:
    with opened(ref, reading.allow_pipes) as entry:
        header = read_wav_header(entry)
        if header is not None and header.data_bytes is None and not entry.bounded:
            raise AudioError(  # what follows in the archive would be taken for samples
                "a wav in an archive that does not tell its length",
                where=ref,
                mend="make the archive of wavs written to files, not to pipes",
            )

        def copy() -> bytes:
            return entry.bytes_at(entry.begin, entry.end - entry.begin)

        if header is not None and header.is_pcm16:
            info = AudioInfo(_pcm16_frames(entry, header), header.rate, header.channels)
            kind = "wav" if header.data_bytes is not None else ""
            yield Recording(_plausible(ref, info), lambda a, b: _read_pcm16(entry, header, a, b), kind, copy)
        elif matrix := read_matrix_header(entry):
            info = AudioInfo(matrix.frames, reading.matrix_rate, matrix.channels)
            yield Recording(_plausible(ref, info), lambda a, b: _scaled(ref, matrix.read(a, b)), "", copy)
        else:
            with decoded(entry, header) as sound:
                info = AudioInfo(sound.frames, sound.rate, sound.channels)
                kind = "flac" if sound.is_plain_flac else ""

                def read(start: int, stop: int) -> NDArray[np.float32]:
                    wave = sound.read(start, stop)
                    return _scaled(ref, wave) if sound.is_float else wave

                yield Recording(_plausible(ref, info), read, kind, copy)


def _read_pcm16(entry: Entry, header: WavHeader, start: int, stop: int) -> NDArray[np.float32]:
    size = (stop - start) * header.bytes_per_frame
    data = entry.bytes_at(header.data_start + start * header.bytes_per_frame, size)
    if len(data) < size:
        present = start + len(data) // header.bytes_per_frame
        raise entry.truncated(_pcm16_frames(entry, header), present)
    samples = np.frombuffer(data, dtype="<i2").astype(np.float32)
    samples *= PCM16_SCALE
    return samples.reshape(-1, header.channels)


def _pcm16_frames(entry: Entry, header: WavHeader) -> int:
    present = max(0, entry.end - header.data_start)
    declared = present if header.data_bytes is None else header.data_bytes
    if declared > present:
        raise entry.truncated(declared // header.bytes_per_frame, present // header.bytes_per_frame)
    return declared // header.bytes_per_frame


def _plausible(ref: str, info: AudioInfo) -> AudioInfo:
    """Return what a header says, or raise AudioError if no recording is like that."""
    if info.num_samples <= 0 or info.channels <= 0:
        raise AudioError("holds no samples", where=ref)
    if not LOWEST_RATE <= info.rate <= HIGHEST_RATE:
        raise AudioError(f"its header says {info.rate} samples a second", where=ref)
    return info


def _together(ref: str, files: list[Recording], channel: int | None) -> AudioInfo:
    """Return what the files of one recording have in common, with all their channels."""
    first = files[0].info
    for file in files:
        if (file.info.num_samples, file.info.rate) != (first.num_samples, first.rate):
            raise AudioError("files of different lengths or rates", where=ref)
    channels = sum(file.info.channels for file in files)
    if channel is not None and channel >= channels:
        raise AudioError(f"has no channel {channel}: it has {channels}, counted from 0", where=ref)
    return AudioInfo(first.num_samples, first.rate, channels)


def _scaled(ref: str, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return floating-point samples, or raise AudioError if they are none or far beyond full scale."""
    largest = np.maximum(wave.max(initial=0.0), -wave.min(initial=0.0))  # NaN if any is
    if not np.isfinite(largest):
        raise AudioError("holds NaN or infinite samples", where=ref)
    if largest > LARGEST:
        raise AudioError(
            f"holds samples of up to {largest:g}, far beyond [-1, 1]",
            where=ref,
            mend="scale them; values of 16-bit integers: divide by 32768",
        )
    return wave


def _mono(wave: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
    """Take a channel of a (samples, channels) waveform, or average them."""
    if wave.shape[1] == 1:
        return wave[:, 0]
    if channel is not None:
        return np.ascontiguousarray(wave[:, channel])
    average: NDArray[np.float32] = wave.mean(axis=1, dtype=np.float32)
    return average
