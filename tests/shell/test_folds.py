"""A corpus with folds: ``--fold``, ``--folds all``, and sets that are selected from a parent set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shell.recipe import ROOT, Recipe, lay_recipe

FOLDED = """summary="three folds"
folds=3
lid_options=(--train_set "train_${fold}" --valid_set "valid_${fold}" --test_sets "test_${fold}"
  --parent_set whole --lid_config conf/mini_ecapa.yaml)
"""
OPTIONS = ("--corpus", "folded", "--nj", "2", "--ngpu", "0")


@pytest.fixture
def folded(tmp_path: Path) -> Recipe:
    """A recipe with a corpus of three folds."""
    recipe = lay_recipe(tmp_path / "recipe")
    (recipe.path / "local").unlink()
    shutil.copytree(ROOT / "local", recipe.path / "local")
    (recipe.path / "local/folded").mkdir()
    (recipe.path / "local/folded/corpus.sh").write_text(FOLDED)
    (recipe.path / "local/folded/prepare.py").write_text("")
    return recipe


def test_one_fold_has_its_own_sets_and_results(folded: Recipe):
    calls = folded.stages("run.sh", *OPTIONS, "--fold", "2")
    train = next(call for call in calls if "train.py" in call)
    assert "--train_dir dump/folded/raw/train_2 --valid_dir dump/folded/raw/valid_2 " in train
    assert "--output_dir exp/folded/fold2/lid_mini_ecapa_raw " in train
    assert not any("pool.py" in call for call in calls)


def test_only_the_parent_set_is_formatted(folded: Recipe):
    calls = folded.stages("run.sh", *OPTIONS, "--stop_stage", "3")
    formatted = [call for call in calls if "format_audio.py plan" in call]
    assert len(formatted) == 1
    assert "--data_dir data/whole --output_dir dump/folded/raw/whole " in formatted[0]
    assert "--min_wav_duration 0 --max_wav_duration 0 " in formatted[0]
    selected = [call for call in calls if "subset_data_dir.py" in call]
    assert [call.rsplit(" ", 1)[1] for call in selected] == [
        f"dump/folded/raw/{part}_1" for part in ("train", "valid", "test")
    ]
    assert (
        "--utt_list data/train_1/utt2lang --copies 0 --min_duration 1.0 --max_duration 60.0 " in selected[0]
    )
    assert "--min_duration" not in selected[2]


def test_only_the_features_of_the_parent_set_are_extracted(folded: Recipe):
    for name in ("whole", "train_1", "valid_1"):
        (folded.path / "dump/folded/raw" / name).mkdir(parents=True)
    stages = ("--stage", "4", "--stop_stage", "4", "--feats_type", "extracted")
    calls = folded.stages("run.sh", *OPTIONS, *stages, "--feats_copies", "3")
    plans = [call for call in calls if "extract_features.py plan" in call]
    assert len(plans) == 1
    assert " --copies 3 " in plans[0]
    selected = [call for call in calls if "subset_data_dir.py" in call]
    assert [call.split()[-2:] for call in selected] == [
        ["dump/folded/extracted/whole", f"dump/folded/extracted/{part}_1"]
        for part in ("train", "valid", "test")
    ]
    assert ["--copies 3 " in call for call in selected] == [True, False, False]


def test_the_features_of_the_test_set_are_identified_and_its_audio_is_scored(folded: Recipe):
    (folded.path / "dump/folded/raw/test_1").mkdir(parents=True)
    (folded.path / "dump/folded/extracted/test_1").mkdir(parents=True)
    model = folded.path / "exp/folded/fold1/lid_mini_ecapa_extracted/valid.accuracy.best.pth"
    model.parent.mkdir(parents=True)
    model.touch()
    stages = ("--stage", "6", "--stop_stage", "6", "--feats_type", "extracted")
    calls = folded.stages("run.sh", *OPTIONS, *stages)
    assert all(
        "--data_dir dump/folded/extracted/test_1 " in call for call in calls if "infer.py plan" in call
    )


def test_all_folds_are_trained_and_their_answers_scored_together(folded: Recipe):
    calls = folded.stages("run.sh", *OPTIONS, "--folds", "all", "--stop_stage", "7")
    trained = [call.partition("--output_dir ")[2].split()[0] for call in calls if "train.py" in call]
    assert trained == [f"exp/folded/fold{fold}/lid_mini_ecapa_raw" for fold in (1, 2, 3)]
    place = "lid_mini_ecapa_raw/inference/valid.accuracy.best"
    pooled = next(call for call in calls if "pool.py" in call)
    assert f"--data_dir dump/folded/raw/whole --output_dir exp/folded/all_folds/{place}/whole " in pooled
    assert pooled.split()[-3:] == [f"exp/folded/fold{fold}/{place}/test_{fold}" for fold in (1, 2, 3)]
    scored = [call for call in calls if "score.py" in call]
    assert len(scored) == 4
    assert f"--inference_dir exp/folded/all_folds/{place}/whole " in scored[3]
    assert calls.index(pooled) == calls.index(scored[3]) - 1


def test_stages_before_scoring_join_nothing(folded: Recipe):
    calls = folded.stages("run.sh", *OPTIONS, "--folds", "all", "--stop_stage", "3")
    assert not any("pool.py" in call for call in calls)


def test_a_fold_that_fails_ends_the_run(folded: Recipe):
    done = folded.run(
        "run.sh", "--python", str(folded.stand_in), *OPTIONS, "--folds", "all", FAIL_AT="train_2"
    )
    assert done.returncode == 3
    assert not any("train_3" in call for call in folded.calls())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--corpus", "mini", "--fold", "2"), "corpus mini has no folds (leave out --fold and --folds)"),
        (("--corpus", "mini", "--folds", "all"), "corpus mini has no folds (leave out --fold and --folds)"),
        (("--corpus", "folded", "--fold", "4"), "--fold 4: corpus folded has 3 folds"),
        (("--corpus", "folded", "--folds", "some"), "--folds: 'some' is not valid (give one or all)"),
        (("--corpus", "folded", "--folds", "all", "--lid_exp", "exp/x"), "leave out --lid_exp"),
        (("--corpus", "folded", "--speed_perturb_factors", "0.9 1"), "has no copies at other speeds"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(folded: Recipe, options: tuple[str, ...], message: str):
    done = folded.run("run.sh", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folded.path / "dump").exists()
