"""Stage 3 from plan to merge: what comes out, what is redone, what is named."""

import contextlib
import dataclasses
import errno
import itertools
import os

import kaldiio
import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.entry import AudioError
from lid_toolkit.audio.formatting import job as job_module
from lid_toolkit.audio.formatting import plan as plan_module
from lid_toolkit.audio.formatting.job import run_job, sample_range
from lid_toolkit.audio.formatting.merge import merge
from lid_toolkit.audio.formatting.plan import FormatOptions, load_plan, make_plan
from lid_toolkit.audio.reader import open_audio, read_audio
from lid_toolkit.audio.resample import resample
from lid_toolkit.audio.writer import AUDIO_FORMATS, encode, quantise
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.speed import perturb_data_dir
from lid_toolkit.datadir.tables import read_table, table_from_pairs
from lid_toolkit.errors import LidError


def tone(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def source(tmp_path):
    """Twelve one-second utterances of two languages at several rates, in a directory with a blank."""
    audio = tmp_path / "au dio"
    audio.mkdir()
    rows = []
    for i in range(12):
        path = audio / f"é{i}.{('wav', 'flac')[i % 2]}"
        soundfile.write(
            path, tone(1.0, (16000, 8000, 44100)[i % 3], 300 + 20 * i), (16000, 8000, 44100)[i % 3]
        )
        rows.append((f"utt{i:02d}", str(path)))
    utt2lang = table_from_pairs((key, ("eng", "fra")[i % 2]) for i, (key, _) in enumerate(rows))
    write_data_dir(
        tmp_path / "data", rows, utt2lang, {"utt2spk": table_from_pairs((key, "s") for key, _ in rows)}
    )
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(plan_module, "UTTERANCES_PER_PART", 3)


@pytest.fixture
def decoded(monkeypatch):
    """The references of all decodings since."""
    calls = []

    @contextlib.contextmanager
    def counted(ref, reading):
        with open_audio(ref, reading) as recording:

            def read(start, stop):
                calls.append(ref)
                return recording.read(start, stop)

            yield dataclasses.replace(recording, read=read)

    monkeypatch.setattr(job_module, "open_audio", counted)
    return calls


def format_set(source, target, num_jobs=2, **options):
    """Run the stage; return how many jobs it took."""
    jobs = make_plan(source, target, FormatOptions(**options), num_jobs)
    for number in range(1, jobs + 1):
        run_job(target, number)
    if jobs:
        merge(target)
    return jobs


def add(source, key, path, language="eng"):
    with open(source / "wav.scp", "a") as wav_scp, open(source / "utt2lang", "a") as utt2lang:
        wav_scp.write(f"{key} {path}\n")
        utt2lang.write(f"{key} {language}\n")
    (source / "utt2spk").unlink(missing_ok=True)


def waves(target):
    return {key: read_audio(ref)[0] for key, ref in read_data_dir(target).wav_scp}


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_waveforms_and_tables(source, tmp_path, audio_format):
    target = tmp_path / "out"
    assert format_set(source, target, audio_format=audio_format) == 2
    made, original = read_data_dir(target), read_data_dir(source)
    assert dict(made.utt2lang) == dict(original.utt2lang)
    assert dict(made.carried["utt2spk"]) == dict(original.carried["utt2spk"])
    for key, ref in made.wav_scp:
        wave, rate = read_audio(ref)
        expected, from_rate = soundfile.read(original.wav_scp[key], dtype="float32")
        assert rate == 16000
        np.testing.assert_allclose(wave, resample(expected, from_rate, 16000), atol=1.01 / 65536)
    assert set(read_table(target / "utt2num_samples").values()) == {"16000"}
    assert (target / "category2utt").read_text() == (target / "lang2utt").read_text()
    assert (target / "audio_format").read_text() == f"{audio_format}\n"
    assert (target / "feats_type").read_text() == "raw\n"
    for name in ("failed", "dropped", "clipped"):
        assert (target / name).read_text() == ""


def test_the_number_of_jobs_changes_nothing(source, tmp_path):
    format_set(source, tmp_path / "a", num_jobs=1)
    assert format_set(source, tmp_path / "b", num_jobs=9) == 4
    for key, wave in waves(tmp_path / "a").items():
        np.testing.assert_array_equal(wave, waves(tmp_path / "b")[key])


def test_a_second_run_does_nothing(source, tmp_path, decoded):
    assert format_set(source, tmp_path / "out") == 2
    assert len(decoded) == 12
    assert format_set(source, tmp_path / "out") == 0
    assert len(decoded) == 12


def test_a_dry_run_does_nothing(source, tmp_path):
    assert make_plan(source, tmp_path / "out", FormatOptions(), 2, dry_run=True) == 0
    assert not (tmp_path / "out").exists()


def test_only_unfinished_parts_are_redone(source, tmp_path, decoded):
    target = tmp_path / "out"
    make_plan(source, target, FormatOptions(), 2)
    run_job(target, 1)
    assert len(decoded) == 6
    with pytest.raises(LidError, match=r"part 2 is not done: not done yet \(run the jobs again"):
        merge(target)
    assert format_set(source, target, num_jobs=3) == 3
    assert len(decoded) == 12


def test_a_changed_recording_redoes_its_part_alone(source, tmp_path, decoded):
    target = tmp_path / "out"
    format_set(source, target)
    path = read_data_dir(source).wav_scp["utt05"]
    soundfile.write(path, tone(2.0, 16000), 16000)
    decoded.clear()
    assert format_set(source, target) == 2
    assert len(decoded) == 3
    assert len(waves(target)["utt05"]) == 32000


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ({"fs": 8000}, 12),
        ({"audio_format": "wav"}, 10),  # two are such files already
        ({"min_wav_duration": 0.1}, 12),
        ({"max_failed": 0.5}, 0),
    ],
)
def test_a_changed_option_redoes_what_it_touches(source, tmp_path, decoded, changed, redone):
    format_set(source, tmp_path / "out")
    decoded.clear()
    assert format_set(source, tmp_path / "out", **changed) == 2
    assert len(decoded) == redone
    assert format_set(source, tmp_path / "out", **changed) == 0


def test_missing_or_damaged_output_is_made_again(source, tmp_path, decoded):
    target = tmp_path / "out"
    format_set(source, target)
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"")):
        decoded.clear()
        damage(target / "data" / "0002.flac.ark")
        assert format_set(source, target) == 2
        assert len(decoded) == 3
        assert all(len(wave) == 16000 for wave in waves(target).values())


def test_a_stale_result_has_no_wav_scp_until_it_is_whole(source, tmp_path):
    target = tmp_path / "out"
    format_set(source, target)
    make_plan(source, target, FormatOptions(fs=8000), 2)
    assert not (target / "wav.scp").exists()


def test_leftovers_are_removed(source, tmp_path):
    target = tmp_path / "out"
    format_set(source, target, audio_format="wav")
    (target / "data" / ".tmp-0000-x.ark").write_text("killed")
    format_set(source, target)
    assert sorted(path.name for path in (target / "data").iterdir()) == [
        f"000{i}.flac.ark" for i in range(1, 5)
    ]


def test_the_source_changing_meanwhile_is_noticed(source, tmp_path):
    target = tmp_path / "out"
    make_plan(source, target, FormatOptions(), 1)
    run_job(target, 1)
    (source / "utt2lang").write_text((source / "utt2lang").read_text().replace("eng", "deu"))
    with pytest.raises(LidError, match="changed while it was formatted"):
        merge(target)
    format_set(source, target)
    assert set(read_data_dir(target).utt2lang.values()) == {"deu", "fra"}


def test_durations_outside_the_limits_are_dropped(source, tmp_path):
    for seconds in (0.5, 3.0):
        soundfile.write(tmp_path / f"{seconds}.wav", tone(seconds, 8000), 8000)
        add(source, f"w{seconds}", tmp_path / f"{seconds}.wav")
    format_set(source, tmp_path / "out", min_wav_duration=1.0, max_wav_duration=2.0)
    assert dict(read_table(tmp_path / "out/dropped")) == {
        "w0.5": "0.5 s is under 1 s",
        "w3.0": "3 s is over 2 s",
    }
    assert len(waves(tmp_path / "out")) == 12


def test_broken_recordings_are_listed_within_the_share(source, tmp_path):
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(100, np.nan), 16000, subtype="FLOAT")
    add(source, "w-nan", nan)
    add(source, "w-none", tmp_path / "none.wav")
    target = tmp_path / "out"
    with pytest.raises(
        LidError, match=r"2 of 14 utterances failed, more than the share 0\.01: w-nan: .*NaN.*; w-none: "
    ):
        format_set(source, target)
    assert not (target / "wav.scp").exists()
    assert list(read_table(target / "failed").keys()) == ["w-nan", "w-none"]
    format_set(source, target, max_failed=0.1)
    assert f"{nan}: holds NaN" in read_table(target / "failed")["w-nan"]
    assert len(waves(target)) == 12
    assert "w-nan" not in read_table(target / "utt2lang")


def test_every_fault_has_its_reason(source, tmp_path):
    """The list of faults: each is named, and what is only unusual is formatted."""
    wave = tone(1.0, 16000)
    whole = encode(quantise(wave.astype(np.float32))[0], 16000, "wav")
    faults = {
        "truncated.wav": (whole[:-1000], "truncated"),
        "empty.wav": (b"", "empty file"),
        "header.wav": (whole[:44], "truncated"),
        "no samples.wav": (encode(np.zeros(0, np.int16), 16000, "wav"), "holds no samples"),
        "magic.wav": (b"XXXX" + whole[4:], "cannot be decoded"),
        "long.wav": (whole[:40] + b"\xff\xff\xff\x7e" + whole[44:], "truncated"),
        "text.wav": (b"no audio " * 1000, "cannot be decoded"),
    }
    reasons = {"missing": "No such file", "nan": "NaN"}
    for name, (data, reason) in faults.items():
        (tmp_path / name).write_bytes(data)
        key = name.split(".")[0].replace(" ", "-")
        add(source, key, tmp_path / name)
        reasons[key] = reason
    add(source, "missing", tmp_path / "missing.wav")
    soundfile.write(tmp_path / "nan.wav", np.where(wave > 0.4, np.nan, wave), 16000, subtype="FLOAT")
    add(source, "nan", tmp_path / "nan.wav")
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, wave], axis=1), 16000)
    add(source, "stereo", tmp_path / "stereo.wav")
    soundfile.write(tmp_path / "8k.wav", tone(1.0, 8000), 8000)
    add(source, "telephone", tmp_path / "8k.wav")
    format_set(source, tmp_path / "out", max_failed=0.5)
    failed = dict(read_table(tmp_path / "out/failed"))
    assert failed.keys() == reasons.keys()
    for key, reason in reasons.items():
        assert reason in failed[key], key
    assert len(waves(tmp_path / "out")) == 14


def test_what_failed_past_the_limit_is_tried_again(source, tmp_path, decoded):
    """A command that failed may work later though nothing in the directory changed."""
    add(source, "w", f"cat '{tmp_path}/later.wav' |")
    with pytest.raises(LidError, match="1 of 13 utterances failed"):
        format_set(source, tmp_path / "out", max_failed=0.0, allow_pipes=True)
    soundfile.write(tmp_path / "later.wav", tone(1.0, 16000), 16000)
    format_set(source, tmp_path / "out", max_failed=0.0, allow_pipes=True)
    assert len(waves(tmp_path / "out")) == 13
    assert decoded.count(f"cat '{tmp_path}/later.wav' |") == 1


def test_nothing_left_is_an_error(source, tmp_path):
    with pytest.raises(LidError, match="no utterance is left: 12 dropped, 0 failed"):
        format_set(source, tmp_path / "out", min_wav_duration=100.0)


def test_stereo_is_averaged_and_clipping_counted(source, tmp_path):
    wave = np.stack([np.full(1600, 0.5), np.full(1600, 0.25)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", wave, 16000)
    soundfile.write(tmp_path / "loud.wav", np.r_[np.full(100, 1.5), np.zeros(1500)], 16000, subtype="FLOAT")
    add(source, "w-stereo", tmp_path / "stereo.wav")
    add(source, "w-loud", tmp_path / "loud.wav")
    format_set(source, tmp_path / "out")
    np.testing.assert_allclose(waves(tmp_path / "out")["w-stereo"], 0.375, atol=1e-4)
    assert dict(read_table(tmp_path / "out/clipped")) == {"w-loud": "100"}


@pytest.fixture
def segmented(tmp_path):
    """One 44.1 kHz recording of ten seconds in four segments, the last past its end by 0.2 s."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.flac", rng.uniform(-0.5, 0.5, 441000), 44100)
    keys = ("a", "b", "c", "d")
    segments = table_from_pairs([("a", "r 0 1.5"), ("b", "r 1.5 2.75"), ("c", "r 5 -1"), ("d", "r 9 10.2")])
    utt2lang = table_from_pairs((key, "eng") for key in keys)
    write_data_dir(tmp_path / "seg", [("r", str(tmp_path / "long.flac"))], utt2lang, {"segments": segments})
    return tmp_path / "seg"


def test_segments(segmented, tmp_path):
    format_set(segmented, tmp_path / "out")
    whole, rate = read_audio(str(tmp_path / "long.flac"))
    for key, (start, end) in {"a": (0, 1.5), "b": (1.5, 2.75), "c": (5, 10), "d": (9, 10)}.items():
        expected = resample(whole[round(start * rate) : round(end * rate)], rate, 16000)
        np.testing.assert_allclose(waves(tmp_path / "out")[key], expected, atol=1.01 / 65536)
    lengths = read_table(tmp_path / "out/utt2num_samples").integers().tolist()
    assert lengths == [24000, 20000, 80000, 16000]


def test_speeds_decode_each_stretch_once(segmented, tmp_path, decoded):
    perturb_data_dir(segmented, tmp_path / "sp", ("0.9", "1", "1.1"))
    format_set(tmp_path / "sp", tmp_path / "out", num_jobs=1)
    lengths = read_table(tmp_path / "out/utt2num_samples")
    assert len(lengths) == 12
    assert [int(lengths[f"{prefix}a"]) for prefix in ("sp0.9-", "", "sp1.1-")] == [26667, 24000, 21818]
    assert len(decoded) <= 4 + 3  # one each, and once more where a part begins inside a stretch


def test_speed_moves_the_pitch(source, tmp_path):
    perturb_data_dir(source, tmp_path / "sp", ("0.9", "1", "1.1"))
    format_set(tmp_path / "sp", tmp_path / "out")
    made = waves(tmp_path / "out")
    for prefix, factor in (("sp0.9-", 0.9), ("", 1.0), ("sp1.1-", 1.1)):
        wave = made[f"{prefix}utt07"]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert np.argmax(spectrum) * 16000 / len(wave) == pytest.approx(440 * factor, abs=2)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, -1, (0, 1000)), (1.0, 2.0, (100, 200)), (0.994, 1.006, (99, 101)), (9.0, 10.5, (900, 1000))],
)
def test_sample_range(start, end, expected):
    assert sample_range(start, end, 1000, 100, "r") == expected


@pytest.mark.parametrize(("start", "end"), [(9.0, 10.51), (10.0, -1), (11.0, 12.0), (1.001, 1.002)])
def test_sample_range_outside(start, end):
    with pytest.raises(AudioError, match=r"^r: segment"):
        sample_range(start, end, 1000, 100, "r")


def test_faulty_use_is_named(source, tmp_path):
    with pytest.raises(LidError, match=r"no plan \(run the sub-command plan first"):
        run_job(tmp_path / "none", 1)
    with pytest.raises(LidError, match="source and target are one directory"):
        make_plan(source, source, FormatOptions(), 1)
    make_plan(source, tmp_path / "out", FormatOptions(), 2)
    with pytest.raises(LidError, match="--job 3: there are 2 jobs"):
        run_job(tmp_path / "out", 3)
    (source / "utt2speed").write_text("".join(f"utt{i:02d} 0\n" for i in range(12)))
    with pytest.raises(LidError, match="utt2speed: '0' is not a speed"):
        make_plan(source, tmp_path / "out", FormatOptions(), 2)


def test_parts_follow_recordings_not_ids(source, tmp_path):
    """Utterances of one recording lie together wherever their ids sort."""
    perturb_data_dir(source, tmp_path / "sp", ("0.9", "1", "1.1"))
    make_plan(tmp_path / "sp", tmp_path / "out", FormatOptions(), 1)
    plan = load_plan(tmp_path / "out")
    utterances = [utterance for part in range(plan.num_parts) for utterance in plan.utterances(part)]
    assert plan.num_parts == 12
    assert [utterance.speed for utterance in utterances] == [0.9, 1.0, 1.1] * 12
    assert len([ref for ref, _ in itertools.groupby(utterances, key=lambda utterance: utterance.ref)]) == 12


def test_relative_paths_stay_relative(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    format_set(source, tmp_path.joinpath("out").relative_to(tmp_path))
    assert next(read_table("out/wav.scp").values()).startswith(f"out{os.sep}data")


def plain_set(directory, languages=("eng", "fra"), **how):
    """A set of mono recordings of one second, one a language, written by soundfile with ``how``."""
    directory.mkdir()
    rows = []
    for i, language in enumerate(languages):
        path = directory / f"{language}.{how.get('name', 'wav')}"
        soundfile.write(path, tone(1.0, how.get("rate", 16000), 300 + 50 * i), how.get("rate", 16000))
        rows.append((f"utt-{language}", str(path)))
    write_data_dir(directory / "data", rows, table_from_pairs((f"utt-{name}", name) for name in languages))
    return directory / "data"


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_audio_as_wanted_is_referred_to(tmp_path, kind):
    source = plain_set(tmp_path / "in", name=kind)
    format_set(source, tmp_path / "files", audio_format=kind)
    assert dict(read_data_dir(tmp_path / "files").wav_scp) == dict(read_data_dir(source).wav_scp)
    assert set(read_table(tmp_path / "files/utt2num_samples").values()) == {"16000"}
    assert not list((tmp_path / "files").glob("data/*"))
    format_set(source, tmp_path / "archive", audio_format=f"{kind}.ark")
    assert all(ref.startswith(f"{tmp_path}/archive/data/") for ref in waves_refs(tmp_path / "archive"))
    format_set(tmp_path / "archive", tmp_path / "again", audio_format=f"{kind}.ark")
    assert waves_refs(tmp_path / "again") == waves_refs(tmp_path / "archive")
    for key, wave in waves(source).items():
        np.testing.assert_array_equal(waves(tmp_path / "again")[key], wave)


def waves_refs(target):
    return list(read_data_dir(target).wav_scp.values())


def test_flac_goes_into_an_archive_and_back_byte_by_byte(tmp_path):
    source = plain_set(tmp_path / "in", name="flac")
    data = (tmp_path / "in/eng.flac").read_bytes()
    format_set(source, tmp_path / "archive", audio_format="flac.ark")
    assert data in (tmp_path / "archive/data/0001.flac.ark").read_bytes()
    format_set(tmp_path / "archive", tmp_path / "files", audio_format="flac")
    assert (tmp_path / "files/data/0001/utt-eng.flac").read_bytes() == data


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("another rate", {"fs": 8000}),
        ("another kind", {"audio_format": "flac"}),
        ("an archive", {"audio_format": "wav.ark"}),
        ("speed", {}),
        ("segments", {}),
        ("stereo", {}),
        ("24 bits", {}),
        ("a command", {"allow_pipes": True}),
    ],
)
def test_what_differs_is_not_referred_to(tmp_path, what, options):
    source = plain_set(tmp_path / "in")
    path = tmp_path / "in/eng.wav"
    if what == "speed":
        (source / "utt2speed").write_text("utt-eng 1.1\nutt-fra 0.9\n")
    elif what == "segments":
        (source / "segments").write_text("utt-eng utt-eng 0 0.5\nutt-fra utt-fra 0.5 -1\n")
    elif what == "stereo":
        soundfile.write(path, np.stack([tone(1.0, 16000)] * 2, axis=1), 16000)
    elif what == "24 bits":
        soundfile.write(path, tone(1.0, 16000), 16000, subtype="PCM_24")
    elif what == "a command":
        table = (source / "wav.scp").read_text().replace(str(path), f"cat {path} |")
        (source / "wav.scp").write_text(table)
    format_set(source, tmp_path / "out", **{"audio_format": "wav", **options})
    assert read_data_dir(tmp_path / "out").wav_scp["utt-eng"].startswith(f"{tmp_path}/out/data/")


def test_a_broken_flac_is_not_referred_to(tmp_path):
    source = plain_set(tmp_path / "in", name="flac")
    path = tmp_path / "in/eng.flac"
    path.write_bytes(path.read_bytes()[:-2000])
    format_set(source, tmp_path / "out", audio_format="flac", max_failed=0.5)
    assert list(read_data_dir(tmp_path / "out").utt2lang.keys()) == ["utt-fra"]
    assert str(path) in read_table(tmp_path / "out/failed")["utt-eng"]


def test_raw_copy_refers_to_all_audio(tmp_path):
    source = plain_set(tmp_path / "in", ("eng", "fra", "ita"), name="ogg")
    soundfile.write(tmp_path / "in/ita.ogg", tone(3.0, 16000), 16000)
    format_set(source, tmp_path / "out", feats_type="raw_copy", max_wav_duration=2.0)
    made = read_data_dir(tmp_path / "out")
    assert dict(made.wav_scp) == {f"utt-{name}": f"{tmp_path}/in/{name}.ogg" for name in ("eng", "fra")}
    assert dict(read_table(tmp_path / "out/utt2num_samples")) == {"utt-eng": "16000", "utt-fra": "16000"}
    assert dict(read_table(tmp_path / "out/dropped")) == {"utt-ita": "3 s is over 2 s"}
    assert (tmp_path / "out/feats_type").read_text() == "raw_copy\n"
    assert (tmp_path / "out/category2utt").read_text() == "eng utt-eng\nfra utt-fra\n"
    assert not (tmp_path / "out/data").exists()
    assert format_set(source, tmp_path / "out", feats_type="raw_copy", max_wav_duration=2.0) == 0


def test_what_raw_copy_would_have_to_change_is_refused(tmp_path):
    source = plain_set(tmp_path / "in")
    for options in ({"channel": 0}, {"multi_columns": True}):
        with pytest.raises(LidError, match=r"cannot follow --.* \(--feats_type raw can\)"):
            make_plan(source, tmp_path / "out", FormatOptions(feats_type="raw_copy", **options), 1)
    with pytest.raises(LidError, match=r"16000 Hz, not 8000 Hz, and raw_copy does not resample"):
        format_set(source, tmp_path / "out", feats_type="raw_copy", fs=8000)
    (source / "segments").write_text("utt-eng utt-eng 0 0.5\nutt-fra utt-fra 0.5 -1\n")
    with pytest.raises(LidError, match="cannot follow segments"):
        make_plan(source, tmp_path / "out", FormatOptions(feats_type="raw_copy"), 1)
    (source / "segments").unlink()
    (source / "wav.scp").write_text("utt-eng cat x |\nutt-fra cat y |\n")
    with pytest.raises(LidError, match="is a command"):
        format_set(source, tmp_path / "out", feats_type="raw_copy")


def test_channels_and_several_files_of_a_recording(tmp_path):
    one, two = tone(1.0, 16000, 300), tone(1.0, 16000, 700)
    source = plain_set(tmp_path / "in")
    soundfile.write(tmp_path / "in/eng.wav", np.stack([one, two], axis=1), 16000)
    soundfile.write(tmp_path / "in/fra.wav", one, 16000)
    soundfile.write(tmp_path / "in/more.wav", two, 16000)
    (source / "wav.scp").write_text(
        f"utt-eng {tmp_path}/in/eng.wav\nutt-fra {tmp_path}/in/fra.wav {tmp_path}/in/more.wav\n"
    )
    for channel, expected in ((None, (one + two) / 2), (0, one), (1, two)):
        format_set(source, tmp_path / "out", channel=channel, multi_columns=True)
        for wave in waves(tmp_path / "out").values():
            np.testing.assert_allclose(wave, expected, atol=2.01 / 32768)
    before = (tmp_path / "in/more.wav").stat().st_mtime_ns
    os.utime(tmp_path / "in/more.wav", ns=(before, before + 10**9))
    assert format_set(source, tmp_path / "out", channel=1, multi_columns=True) == 1  # every file counts


def test_kaldi_matrices_are_taken_to_have_the_wanted_rate(tmp_path):
    wave = tone(1.0, 8000).astype(np.float32)
    kaldiio.save_ark(f"{tmp_path}/a.ark", {"a": wave, "b": wave[:6000]}, scp=f"{tmp_path}/scp")
    write_data_dir(
        tmp_path / "data", list(read_table(tmp_path / "scp")), table_from_pairs([("a", "eng"), ("b", "fra")])
    )
    format_set(tmp_path / "data", tmp_path / "out", fs=8000)
    assert dict(read_table(tmp_path / "out/utt2num_samples")) == {"a": "8000", "b": "6000"}
    np.testing.assert_allclose(waves(tmp_path / "out")["a"], wave, atol=1.01 / 65536)


def test_a_full_disk_is_no_broken_recording(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(job_module, "encode", full)
    make_plan(source, tmp_path / "out", FormatOptions(), 1)
    with pytest.raises(OSError, match="No space left"):
        run_job(tmp_path / "out", 1)
    assert not list((tmp_path / "out").glob("data/*"))
