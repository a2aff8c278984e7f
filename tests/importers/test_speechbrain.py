"""SpeechBrain's identifiers give here the features, embeddings and probabilities they give there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.importers.foreign_model import ForeignModel
from lid_toolkit.importers.speechbrain import read_speechbrain
from lid_toolkit.models.build import build_model
from lid_toolkit.package.licences import model_licence
from lid_toolkit.training.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[2]
IMPORT = "lid_toolkit.commands.import_model"
FIXTURES = ROOT / "tests" / "fixtures" / "speechbrain"


@pytest.fixture
def copy(tmp_path) -> Path:
    directory = tmp_path / "theirs"
    shutil.copytree(FIXTURES, directory)
    return directory


@pytest.mark.parametrize("name", ["a", "b"])
@torch.inference_mode()
def test_the_numbers_are_speechbrains(name):
    with np.load(FIXTURES / "outputs.npz") as stored:
        theirs = dict(stored)
    imported = read_speechbrain(ForeignModel(FIXTURES))
    model = build_model(imported.description, len(imported.languages)).eval()
    model.load_state_dict(imported.weights)
    wave, length = torch.from_numpy(theirs[f"wav_{name}"])[None], torch.tensor([len(theirs[f"wav_{name}"])])
    feats, frames = model.frontend(wave, length)
    assert np.allclose(feats[0], theirs[f"fbank_{name}"], atol=1e-4)
    if name == "b":
        assert np.allclose(model.normalize(feats, frames)[0], theirs["fbank_norm_b"], atol=1e-4)
    assert np.allclose(model.embed(wave, length)[0], theirs[f"embedding_{name}"], atol=1e-5)
    scores, _ = model.identify(wave, length)
    assert np.allclose(scores[0], theirs[f"log_probs_{name}"], atol=1e-5)


def test_labels_are_iso_codes_where_all_are_known(copy):
    assert read_speechbrain(ForeignModel(copy)).languages == ("ces", "eng", "spa", "nld", "rus")
    encoder = copy / "label_encoder.txt"
    encoder.write_text(encoder.read_text().replace("nl: Dutch", "dialect-7: Dutch"))
    assert read_speechbrain(ForeignModel(copy)).languages == ("cs", "en", "es", "dialect-7", "ru")
    encoder.write_text("")
    with pytest.raises(LidError, match="not a list of labels"):
        read_speechbrain(ForeignModel(copy))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (None, "other"),
        ("# A model", "other"),
        ("---\nlanguage: en\n---\n", "other"),
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense: 'cc-by-nc-4.0'\n---\n", "cc-by-nc-4.0"),
        ("---\nlicense: mit", "other"),
    ],
)
def test_the_licence_is_that_of_its_card_or_unknown(card, licence, copy, tmp_path):
    if card is not None:
        (copy / "README.md").write_text(card)
    assert model_licence(read_speechbrain(ForeignModel(copy)).description) == licence
    saved = load_model(import_model(copy, tmp_path / "exp"))
    assert model_licence(saved.description) == licence


def change(directory: Path, before: str, after: str) -> None:
    settings = directory / "hyperparams.yaml"
    assert before in settings.read_text()
    settings.write_text(settings.read_text().replace(before, after))


def test_lengths_in_milliseconds_and_the_highest_frequency_follow_from_the_rate(copy):
    change(
        copy,
        "  deltas: !ref <deltas>",
        "  sample_rate: !ref <rate>\n    hop_length: 12.5\n    win_length: 20",
    )
    change(copy, "# Number of languages", "rate: 8000")
    imported = read_speechbrain(ForeignModel(copy))
    assert imported.rate == 8000
    frontend = build_model(imported.description, 5).frontend
    wave = 0.1 * np.random.default_rng(0).standard_normal(2000)
    feats, frames = frontend(torch.from_numpy(wave)[None].float(), torch.tensor([2000]))
    assert frames.tolist() == [feats.shape[1]] == [21]

    # Frame 7: 160 samples around sample 700, whose spectrum triangles from 0 to 4000 Hz weigh.
    windowed = wave[620:780] * np.hamming(161)[:160]
    power = np.abs(np.fft.rfft(windowed, 400)) ** 2
    corners = 700 * ((1 + 4000 / 700) ** (np.arange(22) / 21) - 1)
    distance = np.abs(np.arange(201)[:, None] * 20 - corners[1:-1]) / np.diff(corners)[:-1]
    expected = 10 * np.log10(power @ (1 - distance).clip(min=0))
    assert np.allclose(feats[0, 7], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("norm_type: sentence", "norm_type: global", "mean_var_norm.norm_type: global is not supported"),
        ("    std_norm: False\n", "", "mean_var_norm.std_norm: True is not supported, only False"),
        ("deltas: False", "deltas: True", "deltas: True is not supported, only False"),
        (
            "deltas: !ref",
            "filter_shape: gaussian #",
            "filter_shape: gaussian is not supported, only triangular",
        ),
        ("deltas: !ref", "n_fft: !ref <points> #", "compute_features.n_fft: <points> is not defined"),
        ("deltas: !ref", "hop_length: !ref 2 * <n_mels> #", r"hop_length: 2 \* <n_mels> is not a number"),
        ("deltas: !ref", "win_length: .inf #", "win_length: inf is not a number"),
        ("features.Fbank", "features.MFCC", "compute_features: new:speechbrain.lobes.features.MFCC is not"),
        ("nn.LeakyReLU", "nn.Tanh", "classifier.activation: name:torch.nn.Tanh is not supported"),
        ("    dilations", "    activation: !name:torch.nn.Tanh\n    dilations", "embedding_model.activation"),
        ("[1, 2, 3, 4, 1]", "3", "dilations: Input should be a valid tuple"),
        ("[1, 2, 3, 4, 1]", "!ref <widths>", "embedding_model.dilations: <widths> is not defined"),
        ("n_mels: 20", "n_mels: [", "hyperparams.yaml is not valid YAML"),
    ],
)
def test_other_features_and_layers_are_refused(copy, before, after, message):
    change(copy, before, after)
    with pytest.raises(LidError, match=message):
        read_speechbrain(ForeignModel(copy))


def test_other_weights_are_refused(copy):
    torch.save({"weight": torch.zeros(3)}, copy / "embedding_model.ckpt")
    with pytest.raises(LidError, match="weights are not those of such a model"):
        read_speechbrain(ForeignModel(copy))
    (copy / "embedding_model.ckpt").unlink()
    with pytest.raises(LidError, match=r"embedding_model\.ckpt is missing"):
        read_speechbrain(ForeignModel(copy))


def test_the_command_writes_an_experiment(tmp_path):
    done = call(IMPORT, FIXTURES, tmp_path / "ours")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "ours" / "valid.accuracy.best.pth")
    assert load_model(Path(done.stdout.strip())).languages[0] == "ces"


def test_options_for_espnet_are_refused(tmp_path):
    with pytest.raises(LidError, match="this is a SpeechBrain model"):
        import_model(FIXTURES, tmp_path / "ours", model_file="x.pth")
