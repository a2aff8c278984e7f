"""Stages 2 to 5 from files, archives and original audio, with and without segments and speeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from data.corpus import LANGUAGES, RATE, beeps
from shell.recipe import Recipe
from training.experiment import CONFIG

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.datadir import write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs


def write_set(directory: Path, segmented: bool, utterances: int = 12) -> None:
    """Write half-second beeps of three languages: files, or segments of a recording for each language."""
    waves = {f"{directory.name}-{i:02d}": beeps(LANGUAGES[i % 3], RATE // 2, i) for i in range(utterances)}
    labels = {key: LANGUAGES[i % 3] for i, key in enumerate(waves)}
    directory.mkdir(parents=True)
    if not segmented:
        for key, wave in waves.items():
            soundfile.write(directory / f"{key}.wav", wave, RATE)
        rows = [(key, str(directory / f"{key}.wav")) for key in waves]
        write_data_dir(directory, rows, table_from_pairs(labels.items()))
        return
    segments = {}
    for language in LANGUAGES:
        keys = [key for key, label in labels.items() if label == language]
        soundfile.write(directory / f"{language}.flac", np.concatenate([waves[key] for key in keys]), RATE)
        segments |= {key: f"{language} {i / 2} {(i + 1) / 2}" for i, key in enumerate(keys)}
    rows = [(language, str(directory / f"{language}.flac")) for language in LANGUAGES]
    further = {"segments": table_from_pairs(segments.items())}
    write_data_dir(directory, rows, table_from_pairs(labels.items()), further)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "segmented", "speeds", "normalize"),
    [
        (("--audio_format", "wav"), False, "", "utterance_mvn"),
        (("--audio_format", "flac.ark"), True, "0.9 1.0 1.1", "global_mvn"),
        (("--feats_type", "raw_copy"), False, "", "utterance_mvn"),
    ],
)
def test_a_training_works_from_files_archives_and_original_audio(
    recipe: Recipe, options: tuple[str, ...], segmented: bool, speeds: str, normalize: str
):
    for name in ("train", "dev"):
        write_set(recipe.path / "data" / name, segmented)
    changes = {"max_epoch": 1, "num_iters_per_epoch": 3, "normalize": normalize}
    (recipe.path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    words = ["--stage", "2", "--stop_stage", "5", "--train_set", "train", "--valid_set", "dev", "--nj", "1"]
    words += ["--skip_eval", "true", "--min_wav_duration", "0.1", "--lid_config", "tiny.yaml", "--ngpu", "0"]
    words += ["--lid_tag", "tiny", "--speed_perturb_factors", speeds, *options]
    done = recipe.run("lid.sh", *words, timeout=300)
    assert done.returncode == 0, done.stderr
    suffix = "_sp" if speeds else ""
    assert (recipe.path / f"exp/lid_tiny{suffix}/valid.accuracy.best.pth").exists()
    dump = recipe.path / "dump" / (options[1] if options[0] == "--feats_type" else "raw") / f"train{suffix}"
    assert len(read_table(dump / "wav.scp")) == 12 * max(1, len(speeds.split()))
    for key, ref in read_table(dump / "wav.scp"):
        if key.startswith("train-"):
            wave = read_audio(str(recipe.path / ref))[0]
            np.testing.assert_allclose(
                wave, beeps(LANGUAGES[int(key[-2:]) % 3], RATE // 2, int(key[-2:])), atol=1e-4
            )
    stats = recipe.path / f"exp/lid_stats_16k{suffix}"
    assert (stats / "train/feats_stats.npz").exists() == (normalize == "global_mvn")
    again = recipe.run("lid.sh", *words, timeout=300)
    assert again.stderr.count("current, skipped") == 6 + bool(speeds) + (normalize == "global_mvn")
