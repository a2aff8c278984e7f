"""Whatever the format, with and without segments and speeds: the same waveforms and tables."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.writer import AUDIO_FORMATS
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs
from lid_toolkit.prepare.formatting.job import run_job
from lid_toolkit.prepare.formatting.merge import merge
from lid_toolkit.prepare.formatting.plan import FormatOptions, make_plan
from lid_toolkit.prepare.speed import perturb_data_dir
from lid_toolkit.prepare.statistics import collect_stats

RATES = {"eng": 8000, "fra": 16000, "ita": 44100}
STEP = 1 / 32768


def speechlike(samples, seed):
    """Band-limited noise, (samples,) int16: files of any kind hold it exactly."""
    noise = np.random.default_rng(seed).standard_normal(samples + 32)
    smooth = np.convolve(noise, np.hanning(33), mode="valid")
    return np.rint(16384 * smooth / np.abs(smooth).max()).astype(np.int16)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same six utterances as files of their own, and as segments of one recording for each language."""
    root = tmp_path_factory.mktemp("sources")
    files, recordings, segments, labels = [], [], [], []
    for language, rate in RATES.items():
        parts = [speechlike(round(rate * seconds), seed) for seed, seconds in enumerate((0.7, 1.1))]
        bounds = np.cumsum([0, *map(len, parts)]) / rate
        soundfile.write(root / f"{language}.flac", np.concatenate(parts), rate)
        recordings.append((language, f"{root}/{language}.flac"))
        for i, part in enumerate(parts):
            key = f"{language}{i}"
            soundfile.write(root / f"{key}.wav", part, rate)
            files.append((key, f"{root}/{key}.wav"))
            segments.append((key, f"{language} {bounds[i]:.6f} {bounds[i + 1]:.6f}"))
            labels.append((key, language))
    utt2lang = table_from_pairs(labels)
    write_data_dir(root / "files", files, utt2lang)
    write_data_dir(root / "segments", recordings, utt2lang, {"segments": table_from_pairs(segments)})
    for name in ("files", "segments"):
        perturb_data_dir(root / name, root / f"{name}_sp", ("0.9", "1", "1.1"))
    return root


def formatted(source, target, audio_format):
    for job in range(1, 1 + make_plan(source, target, FormatOptions(audio_format), 2)):
        run_job(target, job)
    merge(target)
    return {key: read_audio(ref) for key, ref in read_data_dir(target).wav_scp}


@pytest.mark.parametrize("suffix", ["", "_sp"])
def test_waveforms_and_tables(sources, tmp_path, suffix):
    expected = formatted(sources / f"files{suffix}", tmp_path / "expected", "wav")
    assert len(expected) == (18 if suffix else 6)
    collect_stats(tmp_path / "expected", tmp_path / "expected", tmp_path / "expected stats")
    for name in ("files", "segments"):
        for audio_format in AUDIO_FORMATS:
            target = tmp_path / f"{name} {audio_format}"
            waves = formatted(sources / f"{name}{suffix}", target, audio_format)
            assert waves.keys() == expected.keys()
            for key, (wave, rate) in waves.items():
                assert rate == 16000
                np.testing.assert_allclose(wave, expected[key][0], atol=STEP, err_msg=f"{target} {key}")
            for table in ("utt2lang", "lang2utt", "category2utt", "utt2num_samples"):
                assert (target / table).read_text() == (tmp_path / "expected" / table).read_text()
            collect_stats(target, target, tmp_path / f"{name} {audio_format} stats")
            for table in ("lang2idx", "train/speech_shape", "train/category2utt", "train/batch_keys"):
                made = tmp_path / f"{name} {audio_format} stats" / table
                assert made.read_text() == (tmp_path / "expected stats" / table).read_text()


@pytest.mark.parametrize(("prefix", "factor"), [("sp0.9-", 0.9), ("sp1.1-", 1.1)])
def test_lengths_are_right_to_a_sample(sources, tmp_path, prefix, factor):
    formatted(sources / "segments_sp", tmp_path / "out", "wav.ark")
    lengths = read_table(tmp_path / "out/utt2num_samples")
    for language in RATES:
        for i, seconds in enumerate((0.7, 1.1)):
            assert int(lengths[f"{prefix}{language}{i}"]) == round(16000 * seconds / factor)
