"""Recordings in the formats that libsndfile cannot read, made with PyAV."""

from __future__ import annotations

import io
from collections.abc import Mapping

import av
import numpy as np
from numpy.typing import NDArray

LAYOUTS = {1: "mono", 2: "stereo"}


def encoded(
    form: str,
    codec: str,
    wave_ct: NDArray[np.float32],
    rate: int,
    *,
    streams: int = 1,
    picture: bool = False,
    bit_rate: int = 0,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a file.

    Args:
        form: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        wave_ct: (channels, samples).
        rate: sampling rate in Hz.
        streams: how many times the sound is in the file.
        picture: whether to add a video stream.
        bit_rate: bits in a second; 0: the encoder's default.
        options: of the format.
    """
    target = io.BytesIO()
    with av.open(target, "w", format=form, options=dict(options or {})) as container:
        sounds = [
            container.add_stream(codec, rate=rate, layout=LAYOUTS[len(wave_ct)]) for _ in range(streams)
        ]
        if picture:
            add_picture(container)
        for stream in sounds:
            if bit_rate:
                stream.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(wave_ct, "fltp", LAYOUTS[len(wave_ct)])
            frame.sample_rate, frame.pts = rate, 0
            for some in (frame, None):
                container.mux(stream.encode(some))
    return target.getvalue()


def add_picture(container: av.container.OutputContainer) -> None:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for number in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 20, np.uint8), format="rgb24")
        frame.pts = number
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def decoded_by_ffmpeg(data: bytes) -> NDArray[np.float32]:
    """Return all samples that FFmpeg gives, (samples, channels), converted by it to floats."""
    with av.open(io.BytesIO(data)) as container:
        to_floats = av.AudioResampler(format="flt")
        frames = [some for frame in container.decode(audio=0) for some in to_floats.resample(frame)]
        channels = frames[0].layout.nb_channels
        return np.concatenate([frame.to_ndarray().reshape(-1, channels) for frame in frames])
