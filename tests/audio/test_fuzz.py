"""Damaged files of every kind: a waveform or an AudioError that names the file, never anything else."""

from __future__ import annotations

import io

import kaldiio
import numpy as np
import pytest
import soundfile
from audio.encode import encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.references import AudioError

SAMPLES = np.random.default_rng(0).integers(-9999, 9999, 3000).astype(np.int16)


def sound(**how):
    stream = io.BytesIO()
    soundfile.write(stream, SAMPLES, 16000, **how)
    return stream.getvalue()


def archive(**how):
    stream = io.BytesIO()
    stream.name = "a.ark"
    kaldiio.save_ark(stream, {"k": SAMPLES.astype(np.float32)[:, None]}, **how)
    return stream.getvalue()[2:]


def container(form, codec, rate=16000, **how):
    return encoded(form, codec, SAMPLES[None].astype(np.float32) / 32768, rate, **how)


FILES = {
    "pcm.wav": sound(format="WAV"),
    "float.wav": sound(format="WAV", subtype="FLOAT"),
    "a.flac": sound(format="FLAC"),
    "a.ogg": sound(format="OGG"),
    "a.mp3": sound(format="MP3"),
    "a.sph": sound(format="NIST"),
    "a.au": sound(format="AU"),
    "a.aiff": sound(format="AIFF"),
    "a.gsm": sound(format="RAW", subtype="PCM_16"),
    "fm.ark": archive(),
    "cm2.ark": archive(compression_method=4),
    "a.m4a": container("ipod", "aac"),
    "a.webm": container("webm", "libopus", 48000),
    "a.wma": container("asf", "wmav2", bit_rate=32000),
    "a.amr": container("amr", "libopencore_amrnb", 8000),
    "a.avi": container("avi", "mp2"),
    "flac.ark": b"AUDIO\x02" + len(sound(format="FLAC")).to_bytes(2, "little") + sound(format="FLAC"),
}
DAMAGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 120), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("set"), st.integers(0, 9000), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("cut"), st.integers(0, 9000), st.just(b"")),
        st.tuples(st.just("add"), st.integers(0, 200), st.binary(min_size=1, max_size=50)),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data, damages):
    for kind, place, value in damages:
        if kind == "cut":
            data = data[:place]
        elif kind == "add":
            data = data[:place] + value + data[place:]
        else:
            data = data[:place] + value + data[place + len(value) :]
    return data


@pytest.mark.parametrize("name", FILES)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(damages=DAMAGES, start=st.integers(0, 3500), length=st.one_of(st.none(), st.integers(1, 3500)))
def test_damage_is_named_or_harmless(tmp_path, name, damages, start, length):
    path = tmp_path / name
    path.write_bytes(damaged(FILES[name], damages))
    ref = f"{path}:0" if path.suffix == ".ark" else str(path)
    fault, wave, rate = None, np.ones(1, np.float32), 16000
    try:
        wave, rate = read_audio(ref, start, None if length is None else start + length)
    except AudioError as error:
        fault = error
    assert fault is None or str(fault).startswith(ref)
    assert (wave.dtype, wave.ndim) == (np.float32, 1)
    assert fault or length is None or len(wave) == length
    assert np.isfinite(wave).all()
    assert 1000 <= rate <= 1_000_000
