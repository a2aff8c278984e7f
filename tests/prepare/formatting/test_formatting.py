"""Stage 3 from plan to merge: what comes out and what is named."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
import soundfile
from prepare.formatting.sets import add, format_set, tone, waves

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.references import AudioError
from lid_toolkit.audio.resample import resample
from lid_toolkit.audio.writer import AUDIO_FORMATS, encode, quantise
from lid_toolkit.data.utterances import load_utterances
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.operations import Choice, combine, copy, subset
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.formatting.job import run_job, sample_range
from lid_toolkit.prepare.formatting.plan import FormatOptions, load_plan, make_plan
from lid_toolkit.prepare.speed import perturb_data_dir
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.config import parse_config


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
    assert (target / "sampling_rate").read_text() == "16000\n"
    for name in ("failed", "dropped", "clipped"):
        assert (target / name).read_text() == ""


def test_the_number_of_jobs_changes_nothing(source, tmp_path):
    format_set(source, tmp_path / "a", num_jobs=1)
    assert format_set(source, tmp_path / "b", num_jobs=9) == 4
    for key, wave in waves(tmp_path / "a").items():
        np.testing.assert_array_equal(wave, waves(tmp_path / "b")[key])


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
        LidError,
        match=r"2 of 14 utterances failed, more than max_failed \(0.01\) allows: w-nan: .*NaN.*; w-none: ",
    ):
        format_set(source, target)
    assert not (target / "wav.scp").exists()
    assert list(read_table(target / "failed").keys()) == ["w-nan", "w-none"]
    format_set(source, target, max_failed=0.1)
    assert f"{nan}: contains NaN" in read_table(target / "failed")["w-nan"]
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
        "no samples.wav": (encode(np.zeros(0, np.int16), 16000, "wav"), "contains no samples"),
        "magic.wav": (b"XXXX" + whole[4:], "cannot be decoded"),
        "long.wav": (whole[:40] + b"\xff\xff\xff\x7e" + whole[44:], "truncated"),
        "text.wav": (b"no audio " * 1000, "cannot be decoded"),
    }
    reasons = {"missing": "does not exist", "nan": "NaN"}
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


def test_nothing_left_is_an_error(source, tmp_path):
    with pytest.raises(LidError, match="no utterance is left: 12 dropped, 0 failed"):
        format_set(source, tmp_path / "out", min_wav_duration=100.0)


def test_stereo_is_averaged_and_clipping_counted(source, tmp_path):
    ramp = np.linspace(-0.5, 0.5, 1600)
    wave = np.stack([ramp, ramp / 2], axis=1)
    soundfile.write(tmp_path / "stereo.wav", wave, 16000)
    soundfile.write(tmp_path / "loud.wav", np.r_[np.full(100, 1.5), np.zeros(1500)], 16000, subtype="FLOAT")
    add(source, "w-stereo", tmp_path / "stereo.wav")
    add(source, "w-loud", tmp_path / "loud.wav")
    format_set(source, tmp_path / "out")
    np.testing.assert_allclose(waves(tmp_path / "out")["w-stereo"], 0.75 * ramp, atol=1e-4)
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


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_segments_of_audio_as_wanted_are_cut(tmp_path, kind):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 32000)
    soundfile.write(tmp_path / f"r.{kind}", wave, 16000, subtype="PCM_16")
    tables = {"segments": table_from_pairs([("a", "r 0 0.5"), ("b", "r 0.5 -1")])}
    utt2lang = table_from_pairs([("a", "eng"), ("b", "eng")])
    write_data_dir(tmp_path / "data", [("r", str(tmp_path / f"r.{kind}"))], utt2lang, tables)
    format_set(tmp_path / "data", tmp_path / "out", audio_format=kind)
    made = waves(tmp_path / "out")
    assert {key: len(own) for key, own in made.items()} == {"a": 8000, "b": 24000}
    whole, _ = read_audio(str(tmp_path / f"r.{kind}"))
    np.testing.assert_array_equal(np.concatenate([made["a"], made["b"]]), whole)


def test_limits_are_those_of_the_utterance_at_its_speed(source, tmp_path):
    perturb_data_dir(source, tmp_path / "sp", ("0.9", "1", "1.1"))
    format_set(tmp_path / "sp", tmp_path / "out", min_wav_duration=0.95, max_wav_duration=1.05)
    assert len(read_table(tmp_path / "out/utt2num_samples")) == 12
    dropped = dict(read_table(tmp_path / "out/dropped"))
    assert {key[:6]: reason[-13:] for key, reason in dropped.items()} == {
        "sp1.1-": " under 0.95 s",
        "sp0.9-": "s over 1.05 s",
    }


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
    [
        (0, -1, (0, 1000)),
        (1.0, 2.0, (100, 200)),
        (0.994, 1.006, (99, 101)),
        (0.29, 0.58, (29, 58)),  # 0.29 * 100 is 28.999999999999996
        (9.0, 10.5, (900, 1000)),
    ],
)
def test_sample_range(start, end, expected):
    assert sample_range(start, end, 1000, 100, "r") == expected


@pytest.mark.parametrize(("start", "end"), [(9.0, 10.51), (10.0, -1), (11.0, 12.0), (1.001, 1.002)])
def test_sample_range_outside(start, end):
    with pytest.raises(AudioError, match=r"^r: segment"):
        sample_range(start, end, 1000, 100, "r")


def test_faulty_use_is_named(source, tmp_path):
    with pytest.raises(LidError, match=r"missing or broken \(run the sub-command plan first"):
        run_job(tmp_path / "none", 1)
    with pytest.raises(LidError, match="is both the source and the target"):
        make_plan(source, source, FormatOptions(), 1)
    make_plan(source, tmp_path / "out", FormatOptions(), 2)
    with pytest.raises(LidError, match="job 3: there are only 2 jobs"):
        run_job(tmp_path / "out", 3)
    (source / "utt2speed").write_text("".join(f"utt{i:02d} 0\n" for i in range(12)))
    with pytest.raises(LidError, match="utt2speed: '0' is not a positive number"):
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


@pytest.mark.parametrize(
    "options", [{}, {"audio_format": "wav"}, {"audio_format": "flac"}, {"feats_type": "raw_copy"}]
)
def test_utterances_without_signal_are_listed_and_left_out(source, tmp_path, options):
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.5, 0.5, 16000)
    late = np.r_[np.zeros(40000), wave]
    silent = {"cancels": np.stack([wave, -wave], 1), "zeros": np.zeros(16000), "offset": np.full(16000, 0.3)}
    for key, samples in {**silent, "late": late, "one": np.stack([wave, 0 * wave], 1)}.items():
        soundfile.write(tmp_path / f"{key}.wav", samples, 16000)
        add(source, f"w-{key}", tmp_path / f"{key}.wav")
    format_set(source, tmp_path / "out", max_failed=1.0, **options)
    failed = dict(read_table(tmp_path / "out/failed"))
    lacking = {key: reason for key, reason in failed.items() if "no signal" in reason}
    assert lacking.keys() == {f"w-{key}" for key in silent}
    assert "mean of its 2 channels" in failed["w-cancels"]
    kept = dict(read_table(tmp_path / "out/utt2lang"))
    assert {"w-late", "w-one"} <= kept.keys()
    assert not kept.keys() & failed.keys()


def test_a_dead_channel_is_found_when_it_is_chosen(source, tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, 0 * wave], 1), 16000)
    for key in [*dict(read_table(source / "utt2lang"))]:
        for name in ("wav.scp", "utt2lang"):
            rows = [(k, v) for k, v in read_table(source / name, allow_empty=True) if k != key]
            write_table(source / name, rows)
    add(source, "u", tmp_path / "a.wav")
    format_set(source, tmp_path / "out", channel=0)
    with pytest.raises(LidError, match="no signal"):
        format_set(source, tmp_path / "out", channel=1, max_failed=0.0)


def test_the_fifth_column_of_segments_is_a_channel(source, tmp_path):
    """Both sides of a telephone call, at the same times."""
    one, other = (np.random.default_rng(seed).uniform(-0.5, 0.5, 32000) for seed in (0, 1))
    soundfile.write(tmp_path / "call.wav", np.stack([one, other], 1), 16000)
    rows = ["a call 0 1 0", "b call 0 1 1", "c call 0 1", "d call 1 2 1", "e call 0 1 -1", "f call 0 1 2"]
    for file, lines in (
        ("wav.scp", [f"call {tmp_path}/call.wav"]),
        ("segments", rows),
        ("utt2lang", [f"{key} eng" for key in "abcdef"]),
    ):
        (source / file).write_text("".join(f"{line}\n" for line in lines))
    for name in ("lang2utt", "utt2spk", "utt2dataset"):
        (source / name).unlink(missing_ok=True)
    format_set(source, tmp_path / "out", max_failed=0.2)
    made = waves(tmp_path / "out")
    for key, wave in {
        "a": one[:16000],
        "b": other[:16000],
        "c": (one + other)[:16000] / 2,
        "d": other[16000:],
    }.items():
        np.testing.assert_allclose(made[key], wave, atol=1e-4)
    np.testing.assert_array_equal(made["c"], made["e"])
    assert "channel 2 does not exist" in dict(read_table(tmp_path / "out/failed"))["f"]


def test_an_id_too_long_for_a_file_is_refused_before_any_work(source, tmp_path):
    add(source, "ü" * 126, tmp_path / "none.wav")
    with pytest.raises(LidError, match=r"the id is too long for a file name \(use the format wav\.ark\)"):
        format_set(source, tmp_path / "out", audio_format="wav")
    assert not (tmp_path / "out/data").exists()


def test_datasets_of_a_combined_set_reach_the_sampler(source, tmp_path):
    subset(source, tmp_path / "cv", Choice(first=True, count=4))
    copy(source, tmp_path / "fleurs", utt_prefix="x-")
    combine([tmp_path / "cv", tmp_path / "fleurs"], tmp_path / "both")
    format_set(tmp_path / "both", tmp_path / "out")
    utterances = load_utterances(tmp_path / "out", tmp_path / "out/utt2num_samples", ("eng", "fra"), True)
    assert utterances.datasets_u.tolist() == [0] * 4 + [1] * 12
    config = parse_config({"batch_type": "catpow_balance_dataset", "dataset_upsampling_factor": 0.0}, "x")
    # Each dataset is drawn equally often, and each of its languages, which have equal shares of it.
    assert build_sampler(config, utterances).law.shares_g == pytest.approx([0.25] * 4)


def test_languages_of_mixed_utterances_are_kept(source, tmp_path):
    write_table(
        source / "utt2langs", [(key, f"{label} deu") for key, label in read_table(source / "utt2lang")]
    )
    format_set(source, tmp_path / "out")
    assert (tmp_path / "out/utt2langs").read_text() == (source / "utt2langs").read_text()
