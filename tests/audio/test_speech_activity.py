"""Frames of speech: the network against its own package, the energy against sounds whose answer is known."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.signal import lfilter

from lid_toolkit.audio import silero, speech_energy
from lid_toolkit.audio.speech_activity import (
    FRAME_S,
    detector,
    seconds_of_speech,
    speech_frames,
    speech_seconds,
)
from lid_toolkit.errors import LidError

RATE = 16000
WORD_S = 0.4


@pytest.fixture(scope="module")
def vowels():
    """Three seconds that the network takes for speech, with pauses: pulses through three formants."""
    pulses = np.zeros(3 * RATE)
    pulses[:: RATE // 120] = 1
    for formant in (700, 1200, 2500):
        radius, angle = 0.97, 2 * np.pi * formant / RATE
        pulses = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], pulses)
    pauses = np.arange(3 * RATE) / RATE % 1 < 0.6
    return (0.3 * pauses * pulses / np.abs(pulses).max()).astype(np.float32)


def words(seconds=6.0, background=0.001, level=0.1, rate=RATE):
    """Return noise, and in it a louder burst of 0.4 s in each second."""
    time = np.arange(round(seconds * rate)) / rate
    loud = np.where(time % 1 < WORD_S, level, background)
    return (np.random.default_rng(1).normal(0, 1, len(time)) * loud).astype(np.float32)


def test_silero_is_the_package_s_own(vowels):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    import silero_vad

    model = silero_vad.load_silero_vad(onnx=True)
    torch.set_num_threads(threads)
    theirs = model.audio_forward(torch.from_numpy(vowels), RATE)[0].numpy()
    ours = speech_frames(vowels, RATE, detector("silero"))
    assert np.ptp(theirs) > 0.2, "the test has no power"
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["silero", "energy", "none"])
@pytest.mark.parametrize("rate", [8000, RATE, 44100])
def test_frames_do_not_depend_on_the_chunks(name, rate):
    wave = words(rate=rate)
    whole = speech_frames(wave, rate, detector(name))
    track = detector(name).track(rate)
    rng, place, parts = np.random.default_rng(0), 0, []
    while place < len(wave):
        size = int(rng.integers(1, 9000))
        parts.append(track.feed(wave[place : place + size]))
        place += size
    np.testing.assert_allclose(np.concatenate([*parts, track.finish()]), whole, atol=1e-6)
    assert len(whole) == np.ceil(6 / FRAME_S)


def test_a_recording_longer_than_a_block_of_the_network(vowels):
    wave = np.tile(vowels, 8)
    assert len(wave) > 512 * silero.MOST_FRAMES
    using = detector("silero")
    track = using.track(RATE)
    one_by_one = [track.feed(wave[start : start + 512]) for start in range(0, len(wave), 512)]
    np.testing.assert_allclose(
        np.concatenate([*one_by_one, track.finish()]), speech_frames(wave, RATE, using), atol=1e-5
    )


def test_detectors_are_shared_by_threads_and_pickled(vowels):
    using = pickle.loads(pickle.dumps(detector("silero")))
    waves = [vowels * gain for gain in (0.1, 0.5, 1, 2)] * 4
    alone = [speech_frames(wave, RATE, using) for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda wave: speech_frames(wave, RATE, using), waves))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(speech_frames(vowels, RATE, pickle.loads(pickle.dumps(using))), alone[2])


def test_auto_takes_energy_where_silero_is_not_installed(monkeypatch):
    assert detector("auto").name == "silero"
    monkeypatch.setattr(silero, "model_file", lambda: None)
    assert detector("auto").name == "energy"
    with pytest.raises(LidError, match=r"silero is not installed \(install .*lid_toolkit\[vad\]"):
        detector("silero")


def test_an_unknown_detector_is_named():
    with pytest.raises(LidError, match=r"unknown speech detector 'silera' \(did you mean 'silero'\?\)"):
        detector("silera")


def test_no_torch():
    program = (
        "import sys; from lid_toolkit.audio.speech_activity import *; import numpy\n"
        "speech_seconds(numpy.zeros(16000, 'float32'), 16000, detector('silero'))\n"
        "assert 'onnxruntime' in sys.modules\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["silero", "energy"])
@pytest.mark.parametrize("rate", [8000, RATE])
def test_silence_and_steady_sounds_are_no_speech(name, rate):
    time = np.arange(4 * rate) / rate
    white = np.random.default_rng(2).normal(0, 1, len(time))
    sounds = {
        "zeros": 0 * time,
        "dither": white / 32768,
        "hum": 0.001 * np.sin(2 * np.pi * 50 * time),
        "quiet noise": 0.003 * white,
        "loud noise": 0.2 * white,
        "brown noise": np.cumsum(white) * 0.002,
        "tone": 0.5 * np.sin(2 * np.pi * 1000 * time),
    }
    for sound, wave in sounds.items():
        assert speech_seconds(wave.astype(np.float32), rate, detector(name)) == 0, sound


def test_energy_finds_bursts_to_a_frame_and_its_hangover():
    frames = speech_frames(words(), RATE, detector("energy"))
    begins = np.flatnonzero(np.diff(frames, prepend=0) > 0) * FRAME_S
    ends = np.flatnonzero(np.diff(frames, append=0) < 0) * FRAME_S + FRAME_S
    seconds = np.arange(6.0)
    np.testing.assert_allclose(begins, seconds, atol=FRAME_S)
    np.testing.assert_allclose(ends, seconds + WORD_S + speech_energy.HANGOVER * FRAME_S, atol=FRAME_S)


def test_energy_follows_the_background():
    """A background that becomes louder than the words before is no speech, but the words in it are."""
    wave = np.concatenate([words(6, 0.001, 0.01), words(6, 0.02, 0.2)])
    frames = speech_frames(wave, RATE, detector("energy"))
    for second in range(12):
        if second == 6:  # the background is still the lower one
            continue
        pause = frames[round((second + 0.75) / FRAME_S) : round((second + 0.95) / FRAME_S)]
        word = frames[round((second + 0.05) / FRAME_S) : round((second + 0.35) / FRAME_S)]
        assert word.all(), second
        assert not pause.any(), second


def test_energy_ignores_clicks_and_gaps_of_digital_silence():
    wave = words(6, background=0.01, level=0.01)
    wave[[20000, 50000]] = 0.9
    wave[60000:70000] = 0
    assert speech_seconds(wave, RATE, detector("energy")) == 0


def test_none_calls_everything_speech():
    assert speech_seconds(np.zeros(RATE + 100, np.float32), RATE, detector("none")) == pytest.approx(
        1 + 100 / RATE
    )


def test_seconds_between_two_times():
    """Frames 1 and 3 are speech: from 32 to 64 ms and from 96 to 128 ms."""
    frames = np.array([0.1, 0.5, 0.49, 0.9, 0.0], np.float32)
    assert seconds_of_speech(frames, 0, 0.16) == pytest.approx(0.064)
    assert seconds_of_speech(frames, 0.05, 0.1) == pytest.approx(0.014 + 0.004)
    assert seconds_of_speech(frames, 0.07, 0.09) == 0
    assert seconds_of_speech(frames, 0.1, 99) == pytest.approx(0.028)


def test_an_empty_recording_has_no_frames():
    for name in ("silero", "energy", "none"):
        assert len(speech_frames(np.empty(0, np.float32), RATE, detector(name))) == 0


@pytest.mark.parametrize("seconds", [9.47, 3601.23])
def test_speech_throughout_is_not_longer_than_the_recording(seconds):
    everything = np.ones(int(np.ceil(seconds / FRAME_S)), np.float32)
    assert seconds_of_speech(everything, 0.0, seconds) == seconds
    assert seconds_of_speech(everything, 0.0, 0.1) == 0.1
