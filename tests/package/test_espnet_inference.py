"""ESPnet's own inference on models that ``lid export --format espnet`` writes: languages and embeddings.

It is run by the interpreter that ``LID_ESPNET_PYTHON`` names, for example of an environment made by
``pip install torch==2.11.0 torchaudio==2.11.0 espnet==202511 "numpy<2.4"``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import RATE, vowel
from models.combinations import ENCODERS
from models.espnet import LANGUAGES, description, tiny_model, waves

from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.models.build import build_model
from lid_toolkit.package.espnet_write import SUPPORTED, write_espnet
from lid_toolkit.training.checkpoint import SavedModel

PYTHON = os.environ.get("LID_ESPNET_PYTHON", "")
KINDS = ("espnet's own", *(name for name in SUPPORTED["encoder"] if name != "identity"))
SAME = 1e-5
"""Largest difference of a component of an embedding of length 1: float32's rounding.

The largest one is 1.2e-6. ESPnet computes a variance as E[x^2] - E[x]^2, which loses digits. In float64, from
the same features, embeddings differ by less than 1e-14; with `mfaconformer` by 6e-10, since its positions are
in float32.
"""

pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="set LID_ESPNET_PYTHON to a Python that has ESPnet"),
    pytest.mark.slow,
]


def saved_model(kind: str) -> SavedModel:
    """Return the model whose weights ESPnet made, or a random one with an encoder."""
    parts = {name: value for name, value in description().items() if name.partition("_conf")[0] in SUPPORTED}
    if kind in ENCODERS:
        parts |= {"encoder": kind, "encoder_conf": ENCODERS[kind]}
        parts |= {
            "pooling": "chn_attn_stat",
            "pooling_conf": {"mean_over": "features"},
            "projector": "rawnet3",
        }
        parts["projector_conf"] = {"output_size": 8}
    torch.manual_seed(4)
    model = (
        build_model({"input_size": None, **parts}, len(LANGUAGES)).train()
        if kind in ENCODERS
        else tiny_model()
    )
    if kind in ENCODERS:
        for _ in range(3):  # statistics of batch norm that are not those of a new model
            model.embed(0.1 * torch.randn(4, RATE), torch.full((4,), RATE))
    return SavedModel(model.eval(), LANGUAGES, RATE, {"input_size": None, **parts})


def write_set(directory: Path) -> dict[str, np.ndarray]:
    """Write recordings of several lengths and their tables; return them as they are read."""
    directory.mkdir(parents=True)
    several = [*(wave.numpy() for wave in waves()), vowel(1.0), vowel(2.3), vowel(4.0)[::-1]]
    read = {}
    for number, wave in enumerate(several):
        soundfile.write(directory / f"u{number}.wav", wave, RATE, subtype="PCM_16")
        read[f"u{number}"], _ = soundfile.read(directory / f"u{number}.wav", dtype="float32")
    write_table(directory / "wav.scp", [(key, str(directory / f"{key}.wav")) for key in read])
    write_table(directory / "utt2lang", [(key, LANGUAGES[n % len(LANGUAGES)]) for n, key in enumerate(read)])
    write_table(directory / "speech_shape", [(key, str(len(wave))) for key, wave in read.items()])
    return read


@pytest.mark.parametrize("kind", KINDS)
def test_languages_and_embeddings_are_ours(kind, tmp_path):
    saved = saved_model(kind)
    write_espnet(saved, tmp_path / "exp")
    read, data, out = write_set(tmp_path / "data" / "test"), tmp_path / "data" / "test", tmp_path / "out"
    out.mkdir()
    command = [PYTHON, "-m", "espnet2.bin.lid_inference", "--ngpu", "0", "--output_dir", str(out)]
    command += ["--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"]
    command += ["--data_path_and_name_and_type", f"{data}/utt2lang,lid_labels,text"]
    command += ["--shape_file", f"{data}/speech_shape", "--num_workers", "0", "--valid_batch_size", "1"]
    command += ["--lid_train_config", str(tmp_path / "exp/config.yaml"), "--fix_duration", "false"]
    command += ["--lid_model_file", str(tmp_path / "exp/valid.accuracy.best.pth")]
    command += ["--extract_embd", "true", "--save_embd_per_utt", "true"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = dict(read_table(out / "test_lids"))
    with np.load(out / "test_utt_embds.npz") as stored:
        embeddings = dict(stored)
    lid = LanguageIdentifier.from_pretrained(tmp_path / "exp", "cpu", threads=1)
    ours, vectors = lid.load().compute(list(read.values()), 1)
    assert theirs == {key: LANGUAGES[best] for key, best in zip(read, ours.argmax(axis=1), strict=True)}
    largest = max(float(np.abs(embeddings[key] - vectors[row]).max()) for row, key in enumerate(read))
    print(f"{kind}: largest difference of an embedding {largest:.1e}")
    assert largest < SAME
    assert np.abs(vectors[0] - vectors[1]).max() > 100 * SAME  # or nothing was compared
