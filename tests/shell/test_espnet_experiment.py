"""What a user of ESPnet brings: config.yaml, data with pipes, segments and utt2spk, and a checkpoint."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import call
from models.espnet import LANGUAGES, tiny_model, write_espnet_experiment
from shell.recipe import Recipe

from lid_toolkit.datadir.tables.table import read_table

RATE, UTTERANCES = 16000, 4


def write_set(directory: Path) -> dict[str, np.ndarray]:
    """Write a recording for each language, read by a pipe and cut by segments; return the utterances."""
    directory.mkdir(parents=True)
    tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "segments", "utt2lang", "utt2spk")}
    waves = {}
    for number, language in enumerate(LANGUAGES):
        recording, file = f"{language}-{directory.name}", directory / f"{language}.wav"
        generator = np.random.default_rng([number, *directory.name.encode()])
        times = np.arange(UTTERANCES * RATE) / RATE
        tone = 0.2 * np.sin(2 * np.pi * 220 * (number + 1) * times) + 0.05 * generator.normal(size=len(times))
        soundfile.write(file, tone, RATE, subtype="PCM_16")
        samples = soundfile.read(file, dtype="float32")[0]
        tables["wav.scp"].append(f"{recording} cat {shlex.quote(str(file))} |")
        for start in range(UTTERANCES):
            key = f"{recording}-{start}"
            tables["segments"].append(f"{key} {recording} {start} {start + 1}")
            tables["utt2lang"].append(f"{key} {language}")
            tables["utt2spk"].append(f"{key} {recording}")
            waves[key] = samples[start * RATE : (start + 1) * RATE]
    tables["lang2utt"] = [
        " ".join([language, *(key for key in waves if key.startswith(language))]) for language in LANGUAGES
    ]
    for name, lines in tables.items():
        (directory / name).write_text("".join(f"{line}\n" for line in lines))
    return waves


@pytest.mark.slow
def test_an_experiment_of_espnet_goes_through_the_recipe(recipe: Recipe):
    waves = {name: write_set(recipe.path / "data" / name) for name in ("train", "dev", "test")}["test"]
    write_espnet_experiment(recipe.path / "theirs")
    options = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "test"]
    options += [
        "--nj",
        "1",
        "--ngpu",
        "0",
        "--allow_pipes",
        "true",
        "--perplexity",
        "5",
        "--skip_packing",
        "false",
    ]

    further = ["--lid_config", "theirs/config.yaml", "--pretrained_model", "theirs/valid.accuracy.best.pth"]
    done = recipe.run("lid.sh", "--stage", "3", "--stop_stage", "9", *options, *further, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "theirs/config.yaml: keys of ESPnet are ignored" in done.stderr
    trained = recipe.path / "exp/lid_config_raw"
    tensors = len(tiny_model().state_dict())
    assert f"{tensors} of {tensors} tensors copied from theirs/valid.accuracy.best.pth" in done.stderr
    assert "classifier: 5 languages kept: eng fra ita rus spa" in done.stderr
    inferred = "inference/valid.accuracy.best/test"
    assert (trained / inferred / "results").stat().st_size
    assert (trained / inferred / "tsne_plots/tsne.png").stat().st_size
    assert (trained / "lid_config_raw_valid.accuracy.best.zip").stat().st_size

    model = (recipe.path / "theirs", recipe.path / "exp/lid_imported")
    assert call("lid_toolkit.commands.import_model", *model).returncode == 0
    imported = ["--stage", "6", "--stop_stage", "7", "--lid_exp", "exp/lid_imported"]
    done = recipe.run("lid.sh", *imported, *options, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = dict(read_table(recipe.path / "exp/lid_imported" / inferred / "test_lids"))
    with torch.inference_mode():
        batch = torch.from_numpy(np.stack(list(waves.values())))
        best = tiny_model().identify(batch, torch.full((len(batch),), RATE))[0].argmax(dim=1)
    assert answers == dict(zip(waves, (LANGUAGES[i] for i in best), strict=True))
