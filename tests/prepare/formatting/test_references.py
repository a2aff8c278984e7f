"""Stage 3 on audio that is as wanted already: referred to or copied byte by byte, never encoded again."""

from __future__ import annotations

import os

import kaldiio
import numpy as np
import pytest
import soundfile
from prepare.formatting.sets import format_set, plain_set, tone, waves

from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.formatting.plan import FormatOptions, make_plan


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
        with pytest.raises(LidError, match=r"does not support .* \(choose feats_type raw\)"):
            make_plan(source, tmp_path / "out", FormatOptions(feats_type="raw_copy", **options), 1)
    with pytest.raises(LidError, match=r"16000 Hz, not 8000 Hz, and raw_copy does not resample"):
        format_set(source, tmp_path / "out", feats_type="raw_copy", fs=8000)
    (source / "segments").write_text("utt-eng utt-eng 0 0.5\nutt-fra utt-fra 0.5 -1\n")
    with pytest.raises(LidError, match="does not support segments"):
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
