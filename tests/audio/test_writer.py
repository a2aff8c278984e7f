"""Written recordings, read by kaldiio and soundfile."""

import os
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from lid_toolkit.audio import writer
from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.writer import AUDIO_FORMATS, audio_writer, encode, file_name, is_rate, quantise
from lid_toolkit.errors import LidError


@pytest.fixture
def waves():
    rng = np.random.default_rng(0)
    return {f"utt-{i}/é": rng.integers(-32768, 32768, 2000 + i).astype(np.int16) for i in range(5)}


def file_bytes(samples, audio_format):
    return encode(samples, 16000, audio_format.removesuffix(".ark"))


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_every_reader_gets_the_samples(tmp_path, waves, audio_format):
    target = tmp_path / "a b" / f"1.{audio_format}"
    with audio_writer(target, audio_format) as write:
        refs = {key: write(key, file_bytes(wave, audio_format)) for key, wave in waves.items()}
    for key, ref in refs.items():
        wave, rate = read_audio(ref)
        np.testing.assert_array_equal(wave * 32768, waves[key])
        assert rate == 16000
        if audio_format.endswith(".ark"):
            rate, samples = kaldiio.load_mat(ref)
            scale = 1 if samples.dtype == np.int16 else 32768
            np.testing.assert_array_equal(samples * scale, waves[key])
        else:
            np.testing.assert_array_equal(soundfile.read(ref, dtype="int16")[0], waves[key])
    if audio_format.endswith(".ark"):
        assert dict(kaldiio.load_ark(str(target))).keys() == waves.keys()


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_the_bytes_of_an_archive_are_those_of_kaldiio(tmp_path, waves, kind):
    """flac: those of kaldiio with soundfile. Copied files keep their bytes, whatever encoder wrote them."""
    ours, theirs = tmp_path / f"1.{kind}.ark", str(tmp_path / "theirs.ark")
    with audio_writer(ours, f"{kind}.ark") as write:
        refs = [write(key, encode(wave, 16000, kind)) for key, wave in waves.items()]
        write("copied", b"any bytes")
    pairs = {key: (16000, wave) for key, wave in waves.items()}
    how = {"format": "flac", "subtype": "PCM_16"}
    flac = {"write_function": "soundfile", "write_kwargs": how} if kind == "flac" else {}
    kaldiio.save_ark(theirs, pairs, scp=str(tmp_path / "scp"), **flac)
    copied = b"copied any bytes" if kind == "wav" else b"copied AUDIO\1\tany bytes"
    assert ours.read_bytes() == Path(theirs).read_bytes() + copied
    places = [line.rsplit(":", 1)[1] for line in (tmp_path / "scp").read_text().splitlines()]
    assert refs == [f"{ours}:{place}" for place in places]


def test_wav_bytes_are_soundfiles(tmp_path, waves):
    for wave in waves.values():
        soundfile.write(tmp_path / "x.wav", wave, 8000)
        assert encode(wave, 8000, "wav") == (tmp_path / "x.wav").read_bytes()


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_a_failure_keeps_the_old_and_leaves_no_other(tmp_path, audio_format):
    target = tmp_path / "out"
    with audio_writer(target, audio_format) as write:
        ref = write("old", file_bytes(np.zeros(10, np.int16), audio_format))

    def fail_half_way():
        with audio_writer(target, audio_format) as write:
            write("new", file_bytes(np.ones(10, np.int16), audio_format))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == [target]
    assert not read_audio(ref)[0].any()


def test_every_file_and_their_names_reach_the_disk_before_the_directory_is_renamed(tmp_path, monkeypatch):
    reached, target = [], tmp_path / "out"

    def fsync(path):
        reached.append((path.name, target.exists()))

    monkeypatch.setattr(writer, "fsync", fsync)
    with audio_writer(target, "wav") as write:
        for key in "abc":
            write(key, file_bytes(np.ones(10, np.int16), "wav"))
    *before, last = reached
    names = sorted(name for name, _ in before if not name.startswith(".tmp"))
    assert (names, len(before)) == (["a.wav", "b.wav", "c.wav"], 4)
    assert not any(there for _, there in before)
    assert last == (tmp_path.name, True)


def test_a_file_that_does_not_reach_the_disk_is_an_error(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(writer, "fsync", full)
    with pytest.raises(OSError, match="No space"), audio_writer(tmp_path / "out", "wav") as write:
        write("a", file_bytes(np.ones(10, np.int16), "wav"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_writing_again_replaces(tmp_path, audio_format):
    for key in ("old", "new"):
        with audio_writer(tmp_path / "out", audio_format) as write:
            write(key, file_bytes(np.ones(10, np.int16), audio_format))
    if "." not in audio_format:
        assert [path.stem for path in (tmp_path / "out").iterdir()] == ["new"]


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_nothing_written_leaves_nothing(tmp_path, audio_format):
    with audio_writer(tmp_path / "out", audio_format) as write:
        write("old", file_bytes(np.ones(10, np.int16), audio_format))
    with audio_writer(tmp_path / "out", audio_format):
        pass
    assert not list(tmp_path.iterdir())


def test_quantise_rounds_and_counts_what_it_clips():
    wave = np.array([0, 1 / 32768, 0.4 / 32768, -1.0, 1.0, 1.5, -2.0], dtype=np.float32)
    samples, clipped = quantise(wave)
    assert samples.tolist() == [0, 1, 0, -32768, 32767, 32767, -32768]
    assert clipped == 2


def test_quantise_undoes_reading():
    every = np.arange(-32768, 32768, dtype=np.int16)
    samples, clipped = quantise(every.astype(np.float32) / 32768)
    np.testing.assert_array_equal(samples, every)
    assert clipped == 0


def test_file_names_stay_inside_and_apart():
    keys = ["a", "a/b", "a%2Fb", "..", ".", "../../etc", "é"]
    names = [file_name(key, "wav") for key in keys]
    assert len(set(names)) == len(keys)
    assert not any("/" in name or name.startswith(".") for name in names)
    with pytest.raises(LidError, match=r"too long for a file name \(use the format wav.ark\)"):
        file_name("x" * 252, "wav")


@pytest.mark.parametrize("rate", [999, 1000, 11025, 65535, 65536, 100_001, 655_350, 655_360, 1_000_000])
def test_rates_are_those_that_can_be_written_and_read(tmp_path, rate):
    path = tmp_path / "a.flac"
    try:
        path.write_bytes(encode(np.ones(100, np.int16), rate, "flac"))
        works = read_audio(str(path))[1] == rate
    except (soundfile.SoundFileError, LidError):
        works = False
    assert is_rate(rate) == works


@pytest.mark.parametrize("rate", ["700", "1000k", "5000000000", "100001"])
def test_another_rate_is_refused_at_once(tmp_path, rate):
    root = Path(__file__).parents[2]
    command = [sys.executable, root / "pyscripts/format_audio.py", "plan", "--output_dir", "o", "--fs", rate]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert f"--fs: '{rate}' is not a rate from 1000 to 655350 Hz" in done.stderr.splitlines()[-1]
