"""Reading recordings: every format against soundfile or kaldiio, every fault named."""

import io
import multiprocessing
import os
import struct
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.reader import AudioInfo, Reading, audio_info, open_audio, read_audio
from lid_toolkit.audio.references import AudioError, file_of

RATE = 16000


def speechlike(samples, seed=0):
    """Band-limited noise, (samples,), within [-0.9, 0.9]."""
    noise = np.random.default_rng(seed).standard_normal(samples + 32)
    smooth = np.convolve(noise, np.hanning(33), mode="valid")
    return 0.9 * smooth / np.abs(smooth).max()


FILES = {
    "a.wav": {"subtype": "PCM_16"},
    "b.wav": {"subtype": "PCM_24"},
    "c.wav": {"subtype": "FLOAT"},
    "d.wav": {"subtype": "ULAW"},
    "e.wav": {"format": "WAVEX", "subtype": "PCM_16"},
    "f.wav": {"format": "RF64", "subtype": "PCM_16"},
    "g.flac": {"subtype": "PCM_16"},
    "h.flac": {"subtype": "PCM_24"},
    "i.ogg": {"subtype": "VORBIS"},
    "j.ogg": {"subtype": "OPUS"},  # its decoder's state depends on where it starts
    "k.mp3": {},
    "l.aiff": {},
    "m.sph": {"format": "NIST", "subtype": "PCM_16"},
    "n.gsm": {"format": "RAW", "subtype": "GSM610", "samplerate": 8000},
    "o.ulaw": {"format": "RAW", "subtype": "ULAW", "samplerate": 8000},
    "p.sln16": {"format": "RAW", "subtype": "PCM_16"},
    "q.wav": {"subtype": "GSM610", "samplerate": 8000},
    "r.wav": {"subtype": "PCM_U8"},
    "s.wav": {"subtype": "PCM_32"},
    "t.wav": {"subtype": "DOUBLE"},
    "u.wav": {"subtype": "ALAW"},
    "v.wav": {"subtype": "IMA_ADPCM"},
    "w.au": {"subtype": "ULAW"},
    "x.caf": {"subtype": "ALAC_16"},
    "y.w64": {"subtype": "PCM_16"},
    "z.voc": {"subtype": "PCM_16"},
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_and_crops_equal_soundfile(tmp_path, name, channels):
    how = {"samplerate": RATE, **FILES[name]}
    if channels == 2 and (how.get("format") == "RAW" or how.get("subtype") == "GSM610"):
        return
    path = tmp_path / f"ü {name}"
    wave = np.stack([speechlike(40000, seed) for seed in range(channels)], axis=1)
    soundfile.write(path, wave, **how)
    headerless = {**how, "channels": 1, "endian": "LITTLE"} if how.get("format") == "RAW" else {}
    expected = soundfile.read(path, dtype="float32", always_2d=True, **headerless)[0].mean(axis=1)

    whole, rate = read_audio(str(path))
    assert (whole.dtype, whole.ndim, rate) == (np.float32, 1, how["samplerate"])
    np.testing.assert_allclose(whole, expected, atol=1e-7)
    assert audio_info(str(path)) == AudioInfo(len(whole), rate, channels)
    for start, stop in ((0, 10), (12345, 23456), (len(whole) - 1, None)):
        crop = read_audio(str(path), start, stop)[0]
        np.testing.assert_allclose(crop, whole[start:stop], atol=2e-3 if name == "j.ogg" else 1e-6)


@pytest.fixture(params=["wav", "flac", "wav in AUDIO"])
def archive(request, tmp_path):
    """An archive of kaldiio's with four entries: references and the waveforms in them."""
    waves = {f"utt{i}": np.rint(speechlike(30000 + i, i) * 32768).astype(np.int16) for i in range(4)}
    ark, scp = str(tmp_path / "a b.ark"), str(tmp_path / "scp")
    if request.param == "wav":
        kaldiio.save_ark(ark, {key: (RATE, wave) for key, wave in waves.items()}, scp=scp)
    else:
        kaldiio.save_ark(
            ark,
            {key: (wave, RATE) for key, wave in waves.items()},
            scp=scp,
            write_function="soundfile",
            write_kwargs={"format": request.param.split()[0]},
        )
    refs = dict(line.split(" ", 1) for line in Path(scp).read_text().splitlines())
    return {key: (refs[key], wave.astype(np.float32) / 32768) for key, wave in waves.items()}


def test_archive_entries_and_crops(archive):
    for ref, expected in archive.values():
        np.testing.assert_array_equal(read_audio(ref)[0], expected)
        np.testing.assert_array_equal(read_audio(ref, 9999, 20001)[0], expected[9999:20001])
        assert audio_info(ref) == AudioInfo(len(expected), RATE, 1)
        with pytest.raises(AudioError, match=rf"has {len(expected)} samples"):
            read_audio(ref, 0, len(expected) + 1)


def test_forked_readers_do_not_disturb_each_other(archive):
    refs = [(ref, start, start + 500) for ref, _ in archive.values() for start in range(0, 20000, 1000)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        crops = pool.starmap(read_audio, refs, chunksize=1)
    by_ref = {ref: wave for ref, wave in archive.values()}
    for (ref, start, stop), (crop, _) in zip(refs, crops, strict=True):
        np.testing.assert_array_equal(crop, by_ref[ref][start:stop])


def test_flac_entries_without_a_length(tmp_path):
    """Entries of other tools may be bare flacs: seeking must not stray into the next."""
    path, refs, data = tmp_path / "x.ark", [], b""
    for seed in range(3):
        stream = io.BytesIO()
        soundfile.write(stream, speechlike(50000, seed), RATE, format="FLAC")
        data += b"key "
        refs.append(f"{path}:{len(data)}")
        data += stream.getvalue()
    path.write_bytes(data)
    for seed, ref in enumerate(refs):
        whole = read_audio(ref)[0]
        np.testing.assert_allclose(whole, speechlike(50000, seed), atol=1e-4)
        np.testing.assert_array_equal(read_audio(ref, 40000, 45000)[0], whole[40000:45000])


def test_flac_whose_writer_did_not_know_the_length(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, speechlike(50000), RATE)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: total samples are the last 36 bits before the MD5 sum
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert audio_info(str(path)).num_samples == 50000
    np.testing.assert_allclose(read_audio(str(path))[0], speechlike(50000), atol=1e-4)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_whose_writer_did_not_know_the_length(tmp_path, size):
    path = tmp_path / "x.wav"
    soundfile.write(path, speechlike(1000), RATE)
    data = path.read_bytes()
    path.write_bytes(data[:40] + struct.pack("<I", size) + data[44:])
    assert len(read_audio(str(path))[0]) == 1000


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_wav_without_a_length_in_an_archive(tmp_path, subtype):
    """Unless the entry tells where it ends, what follows would be read as samples."""
    stream = io.BytesIO()
    soundfile.write(stream, speechlike(1000), RATE, subtype=subtype, format="WAV")
    data = stream.getvalue()
    size = data.index(b"data") + 4
    unknown = data[:size] + struct.pack("<I", 0xFFFFFFFF) + data[size + 4 :]
    path = tmp_path / "x.ark"
    path.write_bytes(b"k1 " + unknown + b"k2 " + data)
    with pytest.raises(AudioError, match="does not say its length"):
        audio_info(f"{path}:3")
    assert audio_info(f"{path}:{3 + len(unknown) + 3}").num_samples == 1000
    path.write_bytes(b"k1 AUDIO\2" + struct.pack("<H", len(unknown)) + unknown + b"k2 " + data)
    assert audio_info(f"{path}:3").num_samples == 1000


def test_rf64_whose_writer_did_not_know_the_length(tmp_path):
    path = tmp_path / "x"
    soundfile.write(path, speechlike(1000), RATE, format="RF64")
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"\xff" * 8 + data[28:])
    assert len(read_audio(str(path))[0]) == 1000


def test_pipes_run_only_when_allowed(tmp_path):
    path = tmp_path / "x y.wav"
    soundfile.write(path, speechlike(1000), RATE)
    ref = f'cat "{path}" |'
    with pytest.raises(AudioError, match=r"is a command \(set allow_pipes to true if you trust it\)"):
        read_audio(ref)
    np.testing.assert_allclose(
        read_audio(ref, 5, 10, Reading(allow_pipes=True))[0], speechlike(1000)[5:10], atol=1e-4
    )
    assert audio_info(ref, Reading(allow_pipes=True)).num_samples == 1000
    with pytest.raises(AudioError, match="exit code 3: sorry"):
        read_audio("echo sorry >&2; exit 3 |", reading=Reading(allow_pipes=True))
    with pytest.raises(AudioError, match="exit code 1"):
        read_audio("false | cat |", reading=Reading(allow_pipes=True))


def broken_files(directory):
    """Make broken recordings; yield each path and what its error says."""
    wave = speechlike(400000)
    for name, share in (("a.wav", 0.5), ("b.flac", 0.5), ("c.mp3", 0.5), ("d.ogg", 0.5), ("e.wav", 0.999)):
        path = directory / name
        soundfile.write(path, wave, RATE)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        yield path, "lost sync" if name == "b.flac" else "truncated"
    for name, how in (
        ("p.sph", {"format": "NIST"}),
        ("q.wav", {"subtype": "PCM_24"}),
        ("r.wav", {"format": "RF64", "subtype": "PCM_16"}),
        ("s.wav", {"format": "RF64", "subtype": "FLOAT"}),
    ):
        path = directory / name
        soundfile.write(path, wave, RATE, **how)
        path.write_bytes(path.read_bytes()[:-100])
        yield (
            path,
            "truncated: the header says 4"
            if name == "r.wav"
            else "truncated: the last 100 bytes are missing",
        )
    yield from huge_headers(directory)
    for name, size in (("f.wav", 20), ("g.flac", 100)):
        (directory / name).write_bytes(
            (directory / ("a.wav" if size == 20 else "b.flac")).read_bytes()[:size]
        )
        yield directory / name, "cannot be decoded|truncated"
    (directory / "h.wav").write_bytes(b"")
    yield directory / "h.wav", "empty file"
    soundfile.write(directory / "i.wav", wave[:0], RATE)
    yield directory / "i.wav", "contains no samples"
    soundfile.write(directory / "j.flac", wave[:0], RATE)
    yield directory / "j.flac", "empty file|contains no samples"
    for name, value in (("k.wav", np.nan), ("l.wav", np.inf)):
        soundfile.write(
            directory / name, np.where(np.arange(1000) == 7, value, wave[:1000]), RATE, subtype="FLOAT"
        )
        yield directory / name, "NaN or infinite"
    (directory / "m.wav").write_text("no audio at all " * 99)
    yield directory / "m.wav", "cannot be decoded: Format not recognised"
    yield directory / "none.wav", "does not exist"
    yield directory, "is a directory, not a file"


def huge_headers(directory):
    """Make files whose headers lie: a length past the end, an impossible rate, or another magic number."""
    for name, place, value, reason in (
        ("long.wav", 40, struct.pack("<I", 0x7F000000), "truncated: the header says 1065353216 samples"),
        ("long.flac", 21, b"\x0f\xff\xff\xff\xff", "truncated|cannot be decoded"),
        ("no rate.wav", 24, struct.pack("<I", 0), "its header says a sampling rate of 0 Hz"),
        (
            "high rate.wav",
            24,
            struct.pack("<I", 4_000_000_000),
            "its header says a sampling rate of 4000000000 Hz",
        ),
        ("no channels.wav", 22, struct.pack("<H", 0), "cannot be decoded"),
        ("magic.wav", 0, b"RIFX", "cannot be decoded|truncated|its header says"),
        ("magic.flac", 0, b"fLaX", "cannot be decoded"),
        (
            "compressed.sph",
            0,
            b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n",
            "sph2pipe",
        ),
    ):
        path = directory / name
        if path.suffix == ".sph":
            path.write_bytes(value.ljust(2048))
        else:
            soundfile.write(path, speechlike(5000), RATE)
            data = path.read_bytes()
            path.write_bytes(data[:place] + value + data[place + len(value) :])
        yield path, reason


def test_broken_recordings_are_named(tmp_path):
    for path, reason in broken_files(tmp_path):
        with pytest.raises(AudioError, match=reason) as caught:
            read_audio(str(path))
        assert str(caught.value).startswith(str(path))


def test_broken_archives_are_named(archive):
    ref, _ = archive["utt3"]
    path = Path(file_of(ref))
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(AudioError, match="truncated"):
        read_audio(ref)
    for other, reason in ((f"{path}:{len(data) + 5}", "has only"), (f"{path}:3", "cannot be decoded")):
        with pytest.raises(AudioError, match=reason):
            read_audio(other)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    ("peak", "shown"), [(20000.0, "2e+04"), (-20000.0, "2e+04"), (3e38, "3e+38"), (1e-3, ""), (60.0, "")]
)
def test_floats_that_were_not_scaled(tmp_path, subtype, peak, shown):
    path = str(tmp_path / "a.wav")
    wave = np.append(speechlike(1000), peak)
    soundfile.write(path, wave, RATE, subtype=subtype)
    if not shown:
        np.testing.assert_allclose(read_audio(path)[0], wave, rtol=1e-6)
        return
    with pytest.raises(AudioError, match=r"contains samples of up to.*far outside.*by 32768") as caught:
        read_audio(path)
    assert float(shown) == pytest.approx(float(caught.value.what.split()[5].rstrip(",")))
    assert len(read_audio(path, 0, 1000)[0]) == 1000  # a part that is as it should be


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, 1001), (1000, None)])
def test_ranges_outside_the_recording(tmp_path, start, stop):
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, speechlike(1000), RATE)
        with pytest.raises(AudioError, match="has 1000 samples"):
            read_audio(str(tmp_path / name), start, stop)


def test_faults_of_the_caller_keep_their_names(tmp_path):
    """What fails while a recording is open need not be the recording's fault: a disk may be full."""
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, speechlike(1000), RATE)
        for fault in (OSError(28, "No space left on device"), ValueError("of something else")):
            with pytest.raises(type(fault)) as caught, open_audio(str(tmp_path / name)):
                raise fault
            assert caught.value is fault


def test_ranges_of_an_open_recording_come_in_any_order(archive, tmp_path):
    soundfile.write(tmp_path / "a.ogg", speechlike(90000), RATE)
    for ref in (str(tmp_path / "a.ogg"), archive["utt0"][0]):
        whole = read_audio(ref)[0]
        with open_audio(ref) as recording:
            for start, stop in ((20000, 21000), (0, 100), (100, 200), (5000, 5001)):
                np.testing.assert_allclose(recording.read(start, stop), whole[start:stop], atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_crop_reads_no_more_than_it_must(tmp_path, monkeypatch, name):
    with soundfile.SoundFile(tmp_path / name, "w", RATE, 1) as stream:
        for _ in range(150):  # libvorbis overflows its stack over minutes at once
            stream.write(speechlike(16000))
    size, read = (tmp_path / name).stat().st_size, []
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(min(n, size)) or pread(fd, n, at))
    monkeypatch.setattr(os, "preadv", lambda fd, to, at: read.append(len(to[0])) or preadv(fd, to, at))
    read_audio(str(tmp_path / name), 2000000, 2016000)
    assert sum(read) < 0.5 * size


def test_odd_chunks_before_the_samples(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, speechlike(100), RATE)
    data = path.read_bytes()
    path.write_bytes(data[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + data[12:])
    np.testing.assert_allclose(read_audio(str(path))[0], speechlike(100), atol=1e-4)


def test_file_of():
    assert file_of("a:b c.ark:17") == "a:b c.ark"
    assert file_of("a.wav") == "a.wav"
