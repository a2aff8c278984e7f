"""Stage 3 run again: what is redone, what stays, what a killed run leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time

import numpy as np
import pytest
import soundfile
from prepare.formatting.sets import add, format_set, tone, waves

from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.formatting import job as job_module
from lid_toolkit.prepare.formatting.job import run_job
from lid_toolkit.prepare.formatting.merge import merge
from lid_toolkit.prepare.formatting.plan import FormatOptions, make_plan
from lid_toolkit.prepare.formatting.verify import verify_audio


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
    with pytest.raises(LidError, match=r"part 2: not done yet \(run the jobs again"):
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


def test_a_set_formatted_before_rates_were_recorded_gets_its_rate_without_decoding(source, tmp_path, decoded):
    target = tmp_path / "out"
    format_set(source, target)
    record = target / ".done" / "format.json"
    old = json.loads(record.read_text())
    del old["code"]
    old["outputs"] = {name: stamp for name, stamp in old["outputs"].items() if "sampling_rate" not in name}
    record.write_text(json.dumps(old))
    (target / "sampling_rate").unlink()
    decoded.clear()
    assert format_set(source, target) == 2
    assert (target / "sampling_rate").read_text() == "16000\n"
    assert not decoded


def touch_later(path):
    later = time.time_ns() + 3600 * 10**9
    os.utime(path, ns=(later, later))


DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "touched": touch_later,
}


@pytest.mark.parametrize("how", sorted(DAMAGE))
@pytest.mark.parametrize(
    ("audio_format", "file"), [("wav", "data/0002/utt05.wav"), ("wav.ark", "data/0002.wav.ark")]
)
def test_damage_of_the_audio_redoes_its_part_alone(source, tmp_path, decoded, how, audio_format, file):
    target = tmp_path / "out"
    format_set(source, target, audio_format=audio_format)
    before, audio = waves(target), (target / "audio_digest").read_text()
    DAMAGE[how](target / file)
    decoded.clear()
    assert format_set(source, target, audio_format=audio_format) == 2
    assert len(decoded) == 3
    assert all(np.array_equal(wave, before[key]) for key, wave in waves(target).items())
    assert (target / "audio_digest").read_text() == audio
    assert format_set(source, target, audio_format=audio_format) == 0


@pytest.mark.parametrize("audio_format", ["wav", "flac", "wav.ark", "flac.ark"])
def test_damage_that_size_and_time_hide_is_found_by_reading(source, tmp_path, decoded, caplog, audio_format):
    target = tmp_path / "out"
    format_set(source, target, audio_format=audio_format)
    before = waves(target)
    verify_audio(target, 2)
    assert format_set(source, target, audio_format=audio_format) == 0
    file = next(path for path in sorted((target / "data").rglob("*")) if path.is_file())
    status, data = file.stat(), bytearray(file.read_bytes())
    data[-100:] = bytes(100)
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert format_set(source, target, audio_format=audio_format) == 0
    verify_audio(target, 2, dry_run=True)
    assert caplog.text.count("damaged after it was written") == 1
    assert format_set(source, target, audio_format=audio_format) == 0
    verify_audio(target, 2)
    decoded.clear()
    assert format_set(source, target, audio_format=audio_format) == 2
    assert 0 < len(set(decoded)) <= 3
    assert all(np.array_equal(wave, before[key]) for key, wave in waves(target).items())


def test_lost_records_of_parts_are_not_taken_for_current(source, tmp_path):
    target = tmp_path / "out"
    format_set(source, target)
    shutil.rmtree(target / ".format")
    with pytest.raises(LidError, match="missing or broken"):
        merge(target)
    verify_audio(target, 1)
    assert format_set(source, target) == 2


@pytest.mark.parametrize("audio_format", ["wav", "wav.ark", "flac.ark"])
def test_other_audio_of_the_same_length_has_another_digest(source, tmp_path, audio_format):
    """Its tables can be the same to the byte, and answers to the old audio would be taken for current."""
    first, other = tmp_path / "out", tmp_path / "other"
    format_set(source, first, audio_format=audio_format)
    format_set(source, other, num_jobs=1, audio_format=audio_format)
    before = (first / "audio_digest").read_text()
    assert before == (other / "audio_digest").read_text()
    soundfile.write(read_data_dir(source).wav_scp["utt05"], tone(1.0, 16000, 300.0), 16000)
    lengths = (first / "utt2num_samples").read_bytes()
    format_set(source, first, audio_format=audio_format)
    assert (first / "utt2num_samples").read_bytes() == lengths
    assert (first / "audio_digest").read_text() != before


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ({"fs": 8000}, 12),
        ({"audio_format": "wav"}, 12),  # two are such files already: their beginning is read
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
    with pytest.raises(LidError, match="utt2lang: changed since the work was planned"):
        merge(target)
    format_set(source, target)
    assert set(read_data_dir(target).utt2lang.values()) == {"deu", "fra"}


def test_what_failed_past_the_limit_is_tried_again(source, tmp_path, decoded):
    """A command that failed may work later though nothing in the directory changed."""
    add(source, "w", f"cat '{tmp_path}/later.wav' |")
    with pytest.raises(LidError, match="1 of 13 utterances failed"):
        format_set(source, tmp_path / "out", max_failed=0.0, allow_pipes=True)
    soundfile.write(tmp_path / "later.wav", tone(1.0, 16000), 16000)
    format_set(source, tmp_path / "out", max_failed=0.0, allow_pipes=True)
    assert len(waves(tmp_path / "out")) == 13
    assert decoded.count(f"cat '{tmp_path}/later.wav' |") == 1


def test_a_full_disk_is_no_broken_recording(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(job_module, "encode", full)
    make_plan(source, tmp_path / "out", FormatOptions(), 1)
    with pytest.raises(OSError, match="No space left"):
        run_job(tmp_path / "out", 1)
    assert not list((tmp_path / "out").glob("data/*"))
