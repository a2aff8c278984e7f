"""``lid calibrate``: what it prints, and where it stores the calibration."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from data.corpus import LANGUAGES, write_set
from datadir.vectors import write_pairs
from package.packed import LABELS, packed, write_experiment

from lid_toolkit import LanguageIdentifier
from lid_toolkit.commands import calibrate, info
from lid_toolkit.commands.main import dispatch
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import policy_of
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.inference.preference import answer_to_noise, without_preference
from lid_toolkit.inference.store import store_policy
from lid_toolkit.steps import digest

NOISE = 0.1 * np.random.default_rng(0).standard_normal(8000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_experiment(tmp_path / "exp" / "lid_a")


@pytest.fixture
def held_out(model: Path, tmp_path: Path) -> list[str]:
    """Options of 120 utterances with scores that are too certain: temperature 2 is right."""
    random = np.random.default_rng(0)
    scores_uc = np.log(random.dirichlet(np.full(3, 0.7), size=120))
    true_u = (np.exp(scores_uc).cumsum(axis=1) > random.random((120, 1))).argmax(axis=1)
    keys = [f"u{number:03d}" for number in range(120)]
    write_table(tmp_path / "dev/utt2lang", [(key, LABELS[c]) for key, c in zip(keys, true_u, strict=True)])
    folder = tmp_path / "inference/dev"
    (folder / ".done").mkdir(parents=True)
    (folder / ".done/identify.json").write_text(json.dumps({"inputs": {"model": digest(model)}}))
    (folder / "languages").write_text("\n".join(LABELS))
    certain = 2 * scores_uc - np.logaddexp.reduce(2 * scores_uc, axis=1, keepdims=True)
    write_pairs(folder / "scores.ark", folder / "scores.scp", zip(keys, certain, strict=True))
    return ["--data_dir", str(tmp_path / "dev"), "--scores", str(folder)]


def test_it_is_stored_with_an_experiment_and_used(model, held_out, capsys):
    DecisionPolicy(min_score=0.25).to_yaml(model.parent / "policy.yaml")
    dispatch(["calibrate", "--model", str(model.parent), *held_out])
    printed = capsys.readouterr().out
    assert "temperature: scale 0.5" in printed
    assert "A temperature never changes answers. Answers changed by this one: 0 of 120." in printed
    assert "not known: make sure that these data are not among them" in printed
    stored = DecisionPolicy.from_yaml(model.parent / "policy.yaml")
    assert stored.calibration.scale == pytest.approx(0.5, abs=0.15)
    assert (stored.calibration.model, stored.min_score) == (digest(model), 0.25)
    assert LanguageIdentifier.from_pretrained(model, "cpu").policy == stored
    info.main([str(model)])
    printed = capsys.readouterr().out
    assert f"calibration: temperature {1 / stored.calibration.scale:.3f}, fitted on dev\n" in printed
    assert 'policy: {"min_score": 0.25}' in printed


def test_the_set_stands_in_the_stored_calibration_and_where_the_model_is_described(model, held_out, capsys):
    calibrate.main(["--model", str(model), *held_out])
    stored = DecisionPolicy.from_yaml(model.parent / "policy.yaml").calibration
    assert (stored.set, stored.set_digest) == ("dev", digest(Path(held_out[1]) / "utt2lang"))
    printed = capsys.readouterr().out
    for name in ("cross-entropy, nats", "C_llr, bits", "calibration error", "Brier score", "accuracy"):
        assert name in printed
    assert policy_of(packed(model)).calibration.set == "dev"
    info.main([str(packed(model))])
    assert ", fitted on dev\n" in capsys.readouterr().out


def trained_with(model: Path, valid: Path, selection_set: object = "valid") -> None:
    """Write the record of a training whose validation set was ``valid``."""
    (model.parent / ".done").mkdir(exist_ok=True)
    inputs = {"train utt2lang": "other", "valid utt2lang": digest(valid / "utt2lang")}
    (model.parent / ".done/train.json").write_text(json.dumps({"inputs": inputs}))
    (model.parent / "config.yaml").write_text(yaml.safe_dump({"selection_set": selection_set}))


def test_the_recipe_only_takes_the_selection_set(model, held_out, tmp_path):
    options = ["--model", str(model), *held_out, "--only_selection_set", "true"]
    with pytest.raises(LidError, match="dev: is not the validation set of the training"):
        calibrate.main(options)  # there is no record of a training
    other = tmp_path / "test"
    write_table(other / "utt2lang", [("x", LABELS[0])])
    trained_with(model, other)
    with pytest.raises(LidError, match="dev: is not the validation set of the training"):
        calibrate.main(options)
    trained_with(model, tmp_path / "dev", 0.05)
    with pytest.raises(LidError, match="dev: did not choose the checkpoint"):
        calibrate.main(options)
    assert not (model.parent / "policy.yaml").exists()
    trained_with(model, tmp_path / "dev")
    calibrate.main(options)
    assert (model.parent / "policy.yaml").exists()


def test_a_fit_on_the_scores_of_an_experiment_is_skipped_when_it_is_current(model, held_out, capsys, caplog):
    caplog.set_level(logging.INFO)
    options = ["--model", str(model), *held_out]
    calibrate.main([*options, "--dry_run", "true"])
    assert "to do (not done yet)" in caplog.text
    assert not (model.parent / "policy.yaml").exists()
    calibrate.main(options)
    first = (model.parent / "policy.yaml").read_bytes()
    assert "temperature: scale" in capsys.readouterr().out
    calibrate.main(options)
    assert capsys.readouterr().out == ""
    assert "current, skipped" in caplog.text
    (model.parent / "policy.yaml").write_text("min_score: 0.25\n")
    calibrate.main([*options, "--method", "affine"])
    stored = DecisionPolicy.from_yaml(model.parent / "policy.yaml")
    assert stored.min_score == 0.25
    assert (model.parent / "policy.yaml").read_bytes() != first
    with pytest.raises(LidError, match="--dry_run: needs a model file"):
        calibrate.main([*options, "--output", "x.yaml", "--dry_run", "true"])


def test_it_is_not_used_with_another_model_file(model, held_out, caplog):
    calibrate.main(["--model", str(model), *held_out])
    shutil.copy(model, model.parent / "5epoch.pth")
    assert policy_of(model.parent / "5epoch.pth").calibration.scale != 1.0
    model.write_bytes(model.read_bytes() + b" ")
    assert policy_of(model) == DecisionPolicy()
    assert "is not used: it is that of another model than" in caplog.text
    with pytest.raises(LidError, match=r"policy.yaml: has the calibration of another model"):
        packed(model)


def test_it_is_packed(model, held_out):
    calibrate.main(["--model", str(model), *held_out])
    stored = DecisionPolicy.from_yaml(model.parent / "policy.yaml")
    assert policy_of(packed(model)) == stored
    assert LanguageIdentifier.from_pretrained(packed(model), "cpu").policy == stored


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_policy_is_stored_in_a_packed_model(model, tmp_path, as_folder):
    package = packed(model)
    if as_folder:
        shutil.unpack_archive(package, tmp_path / "folder")
        package = tmp_path / "folder"
    before = LanguageIdentifier.from_pretrained(package, "cpu")
    calibration = Calibration(0.5, {"fin": 0.25})
    for number in range(2):  # the second replaces the first
        store_policy(package, DecisionPolicy(min_score=number / 4, calibration=calibration))
    after = LanguageIdentifier.from_pretrained(package, "cpu")
    assert after.policy == DecisionPolicy(min_score=0.25, calibration=calibration)
    assert after.languages == before.languages
    np.testing.assert_array_equal(after.embed(NOISE), before.embed(NOISE))


def test_it_is_written_to_a_file_instead(model, held_out, tmp_path, capsys):
    calibrate.main(["--model", str(model), "--output", str(tmp_path / "own.yaml"), *held_out])
    assert yaml.safe_load((tmp_path / "own.yaml").read_text())["calibration"]["model"] == digest(model)
    assert not (model.parent / "policy.yaml").exists()
    assert "own.yaml" in capsys.readouterr().out


def test_biases_may_change_answers_and_it_says_so(model, held_out, capsys):
    calibrate.main(["--model", str(model), "--method", "affine", *held_out])
    printed = capsys.readouterr().out
    assert "Biases may change answers. Answers changed by this one: " in printed
    assert "nothing is stored" in printed or (model.parent / "policy.yaml").exists()


def test_nothing_is_stored_if_the_scores_are_calibrated(model, held_out, capsys, tmp_path):
    """Scores without information: no scale is better than the others."""
    folder, random = tmp_path / "inference/dev", np.random.default_rng(0)
    keys = [f"u{number:03d}" for number in range(120)]
    flat = [np.log(random.dirichlet(np.full(3, 1e4))) for _ in keys]
    write_pairs(folder / "scores.ark", folder / "scores.scp", zip(keys, flat, strict=True))
    calibrate.main(["--model", str(model), *held_out])
    assert "The cross-entropy is not lower, so nothing is stored." in capsys.readouterr().out
    assert not (model.parent / "policy.yaml").exists()


def test_without_scores_the_data_are_identified(model_file, tmp_path):
    speech = write_set(tmp_path / "some_set", 21, seed=4, shortest=50)
    options = calibrate.make_parser().parse_args(
        ["--model", str(model_file), "--device", "cpu", "--data_dir", str(speech)]
    )
    scored = calibrate.scores_of(options, model_file)
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    files = sorted((speech / "wav").iterdir())
    expected = lid.identify(files, policy=DecisionPolicy(min_seconds=0.0), vad="none")
    posteriors_uc = [[record.scores[label] for label in LANGUAGES] for record in expected]
    np.testing.assert_allclose(np.exp(scored.log_posteriors_uc), posteriors_uc, atol=1e-6)
    with pytest.raises(LidError, match="21 utterances with scores, fewer than 100"):
        calibrate.main(["--model", str(model_file), "--device", "cpu", "--data_dir", str(speech)])


def test_a_model_on_the_hub_cannot_store_it():
    with pytest.raises(LidError, match="someone/model: nothing can be stored with it") as caught:
        store_policy("someone/model", DecisionPolicy())
    assert "--output" in str(caught.value)


def test_noise_needs_no_data(model, capsys):
    DecisionPolicy(min_score=0.25, calibration=Calibration(0.5)).to_yaml(model.parent / "policy.yaml")
    calibrate.main(["--model", str(model), "--device", "cpu", "--method", "noise", "--share", "0.5"])
    assert "answer to noise: " in capsys.readouterr().out
    stored = DecisionPolicy.from_yaml(model.parent / "policy.yaml")
    expected = without_preference(answer_to_noise(LanguageIdentifier.from_pretrained(model, "cpu")), 0.5)
    assert stored.min_score == 0.25
    assert stored.calibration.model == digest(model)
    assert stored.calibration.scale == 1.0
    assert stored.calibration.bias == pytest.approx(expected.bias)
    info.main([str(model)])
    assert f"and biases of {len(LABELS)} languages\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--data_dir: is missing .name the data to fit on, or use --method noise"),
        (["--data_dir", "dev", "--share", "0.1"], "--share: has no effect with --method temperature"),
        (["--method", "noise", "--data_dir", "dev"], "--data_dir: has no effect with --method noise"),
        (["--method", "noise", "--scores", "dev"], "--scores: has no effect with --method noise"),
        (["--method", "noise", "--dry_run", "true"], "--dry_run: has no effect with --method noise"),
    ],
)
def test_an_option_without_effect_is_refused(model, options, message):
    with pytest.raises(LidError, match=message):
        calibrate.main(["--model", str(model), *options])
    assert not (model.parent / "policy.yaml").exists()
