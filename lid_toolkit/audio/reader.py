"""Read recordings, or crops of them, as float32 mono waveforms.

A reference is a value of ``wav.scp``: a path, ``ark:offset`` or, if allowed, a command ending in ``|``.
Files are opened for each use and closed after it, so reading works in forked processes and in threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.decoder import decoded, not_joined
from lid_toolkit.audio.kaldi_matrix import LARGEST, read_matrix_header
from lid_toolkit.audio.references import AudioError, ByteRange, copied, is_pipe, opened
from lid_toolkit.audio.wav_header import WavHeader, read_wav_header

__all__ = [
    "AudioError",
    "AudioInfo",
    "Reading",
    "Recording",
    "audio_info",
    "open_audio",
    "open_content",
    "read_audio",
]

PCM16_SCALE = np.float32(1.0 / 32768)
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000


@dataclass(frozen=True)
class Reading:
    """How to read references.

    Attributes:
        allow_pipes: whether to run commands.
        channel: the channel to use, counted from 0; None averages all channels.
        multi_columns: a reference is one or more paths, separated by spaces, of files with the channels of
            one recording.
        matrix_rate: sampling rate in Hz of Kaldi matrices, which do not contain theirs.
        allow_streams: whether a path may be a pipe or a device, which is read to its end.
    """

    allow_pipes: bool = False
    channel: int | None = None
    multi_columns: bool = False
    matrix_rate: int = 16000
    allow_streams: bool = False


DEFAULT = Reading()


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a recording says.

    Attributes:
        num_samples: samples per channel.
        rate: sampling rate in Hz.
        channels: number of channels.
    """

    num_samples: int
    rate: int
    channels: int


@dataclass(frozen=True)
class Recording:
    """An open recording.

    Attributes:
        info: what its header says.
        read: returns samples ``start`` to ``stop`` as float32, (stop - start,) from :func:`open_audio`, and
            (stop - start, channels) from ``_open_file``, which opens one file of a recording.
        kind: ``wav`` or ``flac`` if its bytes are a complete 16-bit mono file of that format; else ``""``.
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

    Only these samples are read and decoded, if the format allows seeking.

    Returns:
        The waveform, (stop - start,) float32, channels averaged unless ``reading`` names one, in
        [-1, 1] (floating-point samples may exceed it), and its rate in Hz.

    Raises:
        AudioError: the recording does not exist, is empty, truncated or not audio; it contains NaN, infinite
            or unscaled samples; it has fewer than ``stop`` samples, or not the channel; or it is a
            command and ``reading`` does not allow commands.
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
        AudioError: for the same reasons as :func:`read_audio`, when opening or reading.
    """
    with contextlib.ExitStack() as stack:
        refs = ref.split() if reading.multi_columns else [ref]
        if len(refs) > 1 and is_pipe(ref):
            raise AudioError(
                "a command where several files are expected", where=ref, mend="give one per line"
            )
        yield _joined(ref, [stack.enter_context(_open_file(one, reading)) for one in refs], reading)


@contextlib.contextmanager
def open_content(content: BinaryIO, name: str, reading: Reading = DEFAULT) -> Iterator[Recording]:
    """Open a recording whose bytes a file object gives, from its position to its end.

    They are copied into a temporary file.

    Args:
        content: the file object, open for reading bytes.
        name: what errors call it. Its suffix names formats without a header, such as ``.gsm``.
        reading: as in :func:`open_audio`.

    Raises:
        AudioError: for the same reasons as :func:`read_audio`, or the file object cannot be read.
    """
    with copied(content, name) as byte_range, _open_range(byte_range, reading) as file:
        yield _joined(name, [file], reading)


def _joined(ref: str, files: list[Recording], reading: Reading) -> Recording:
    """Return the files of one recording, each with some of its channels, as a recording in mono."""
    info = _together(ref, files, reading.channel)

    def read(start: int, stop: int) -> NDArray[np.float32]:
        if not 0 <= start < stop <= info.num_samples:
            what = f"cannot read samples {start} to {stop}: the recording has {info.num_samples} samples"
            raise AudioError(what, where=ref)
        waves = [file.read(start, stop) for file in files]
        wave = waves[0] if len(waves) == 1 else np.concatenate(waves, axis=1)
        return _mono(wave, reading.channel)

    return Recording(info, read, files[0].kind if info.channels == 1 else "", files[0].copy)


@contextlib.contextmanager
def _open_file(ref: str, reading: Reading) -> Iterator[Recording]:
    with (
        opened(ref, reading.allow_pipes, reading.allow_streams) as byte_range,
        _open_range(byte_range, reading) as recording,
    ):
        yield recording


@contextlib.contextmanager
def _open_range(byte_range: ByteRange, reading: Reading) -> Iterator[Recording]:
    ref = byte_range.ref
    header = read_wav_header(byte_range)
    if header is not None and header.data_bytes is None and not byte_range.bounded:
        raise AudioError(  # the next entries of the archive would be read as samples
            "the header of this wav in an archive does not say its length",
            where=ref,
            mend="make the archive from wav files that were not written to a pipe",
        )
    if header is not None and header.data_end is not None:
        for end in (header.data_end + header.data_end % 2, header.riff_end):
            not_joined(byte_range, end, (b"RIFF", b"RF64"))

    def copy() -> bytes:
        return byte_range.bytes_at(byte_range.begin, byte_range.end - byte_range.begin)

    if header is not None and header.is_pcm16:
        info = AudioInfo(_pcm16_frames(byte_range, header), header.rate, header.channels)
        kind = "" if header.data_bytes is None or header.is_rf64 else "wav"
        yield Recording(_plausible(ref, info), lambda a, b: _read_pcm16(byte_range, header, a, b), kind, copy)
    elif matrix := read_matrix_header(byte_range):
        info = AudioInfo(matrix.frames, reading.matrix_rate, matrix.channels)
        yield Recording(_plausible(ref, info), lambda a, b: _scaled(ref, matrix.read(a, b)), "", copy)
    else:
        with decoded(byte_range, header) as sound:
            info = AudioInfo(sound.frames, sound.rate, sound.channels)
            kind = "flac" if sound.is_plain_flac else ""

            def read(start: int, stop: int) -> NDArray[np.float32]:
                wave = sound.read(start, stop)
                return _scaled(ref, wave) if sound.is_float else wave

            yield Recording(_plausible(ref, info), read, kind, copy)


def _read_pcm16(byte_range: ByteRange, header: WavHeader, start: int, stop: int) -> NDArray[np.float32]:
    size = (stop - start) * header.bytes_per_frame
    data = byte_range.bytes_at(header.data_start + start * header.bytes_per_frame, size)
    if len(data) < size:
        present = start + len(data) // header.bytes_per_frame
        raise byte_range.truncated(_pcm16_frames(byte_range, header), present)
    samples = np.frombuffer(data, dtype="<i2").astype(np.float32)
    samples *= PCM16_SCALE
    return samples.reshape(-1, header.channels)


def _pcm16_frames(byte_range: ByteRange, header: WavHeader) -> int:
    present = max(0, byte_range.end - header.data_start)
    declared = present if header.data_bytes is None else header.data_bytes
    if declared > present:
        raise byte_range.truncated(declared // header.bytes_per_frame, present // header.bytes_per_frame)
    return declared // header.bytes_per_frame


def _plausible(ref: str, info: AudioInfo) -> AudioInfo:
    """Return ``info``; raise AudioError if it cannot be true of a recording."""
    if info.num_samples <= 0 or info.channels <= 0:
        raise AudioError("contains no samples", where=ref)
    if not LOWEST_RATE <= info.rate <= HIGHEST_RATE:
        raise AudioError(f"its header says a sampling rate of {info.rate} Hz", where=ref)
    return info


def _together(ref: str, files: list[Recording], channel: int | None) -> AudioInfo:
    """Return the length, rate and total number of channels of the files of one recording."""
    first = files[0].info
    for file in files:
        if (file.info.num_samples, file.info.rate) != (first.num_samples, first.rate):
            raise AudioError("the files have different lengths or sampling rates", where=ref)
    channels = sum(file.info.channels for file in files)
    if channel is not None and channel >= channels:
        raise AudioError(f"channel {channel} does not exist: there are {channels}, counted from 0", where=ref)
    return AudioInfo(first.num_samples, first.rate, channels)


def _scaled(ref: str, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``wave``; raise AudioError if it contains NaN, infinite or unscaled samples."""
    largest = np.maximum(wave.max(initial=0.0), -wave.min(initial=0.0))  # NaN if any is
    if not np.isfinite(largest):
        raise AudioError("contains NaN or infinite samples", where=ref)
    if largest > LARGEST:
        raise AudioError(
            f"contains samples of up to {largest:g}, far outside [-1, 1]",
            where=ref,
            mend="scale them: divide 16-bit integers by 32768",
        )
    return wave


def _mono(wave: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
    """Return one channel of a (samples, channels) waveform, or the mean of all."""
    if wave.shape[1] == 1:
        return wave[:, 0]
    if channel is not None:
        return np.ascontiguousarray(wave[:, channel])
    average: NDArray[np.float32] = wave.mean(axis=1, dtype=np.float32)
    return average
