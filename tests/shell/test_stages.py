"""Which stages run, with which commands, wherever and in whatever locale lid.sh is called."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shell.recipe import Recipe

FEATURE_STATS = ("collect_feature_stats", "(collect_feature_stats)")
MINI = ("--corpus", "mini", "--nj", "2", "--ngpu", "0")


def programs(calls: list[str]) -> list[str]:
    """Return the scripts called, with those run as jobs in parentheses."""
    names = []
    for call in calls:
        script = next(word for word in call.split() if word.startswith(("pyscripts/", "local.")))
        name = script.removeprefix("pyscripts/").removesuffix(".py")
        names.append(f"({name})" if "lid_toolkit.jobs" in call else name)
    return names


def test_all_stages_in_order(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI)
    formatting = ["format_audio", "(format_audio)", "format_audio", "report_data_dir"]
    collecting = [FEATURE_STATS[0], FEATURE_STATS[1], FEATURE_STATS[0]]
    identifying = ["infer", "(infer)", "infer"]
    assert programs(calls) == [
        "check_options",
        "check_config",
        "local.mini.prepare",
        *formatting * 3,
        "collect_stats",
        *collecting,
        "train",
        *identifying,
        "score",
        *identifying,
        "plot_tsne",
    ]
    train = next(call for call in calls if "train.py" in call)
    assert "--train_dir dump/mini/raw/train_mini --valid_dir dump/mini/raw/dev_mini" in train
    assert "--stats_dir exp/mini/lid_stats_16k --output_dir exp/mini/lid_mini_ecapa_raw" in train


def test_test_set_never_reaches_training(recipe: Recipe):
    for call in recipe.stages("run.sh", "--corpus", "prompts", "--ngpu", "0"):
        if "train.py" in call or "collect_stats.py" in call:
            assert "test_prompts" not in call


def test_speed_perturbation_renames_the_training_set_from_stage_2_on(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI, "--speed_perturb_factors", "0.9 1.0 1.1")
    assert "--factors 0.9 1.0 1.1 --dry_run false data/train_mini data/train_mini_sp" in calls[3]
    train = next(call for call in calls if "train.py" in call)
    assert "--train_dir dump/mini/raw/train_mini_sp " in train
    assert "--stats_dir exp/mini/lid_stats_16k_sp --output_dir exp/mini/lid_mini_ecapa_raw_sp " in train


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--stop_stage", "1"), {"check_options", "local.mini.prepare"}),
        (("--stage", "1", "--skip_stages", "1 3 4 5 6 7 8"), {"check_options"}),
        (("--skip_train", "true", "--skip_eval", "true"), {"check_options", "local.mini.prepare"}),
        (
            ("--stop_stage", "4", "--skip_stages", "3"),
            {"check_options", "local.mini.prepare", "collect_stats", *FEATURE_STATS},
        ),
    ],
)
def test_ranges_and_skipped_stages(recipe: Recipe, options: tuple[str, ...], wanted: set[str]):
    for name in ("train_mini", "dev_mini"):
        (recipe.path / "dump/mini/raw" / name).mkdir(parents=True)
    assert set(programs(recipe.stages("run.sh", *MINI, *options))) == wanted


def test_overrides_reach_training_whole(recipe: Recipe):
    overrides = '--optim_conf.lr 1e-4 --note "two words"'
    calls = recipe.stages("run.sh", *MINI, "--lid_args", overrides, "--stop_stage", "5")
    assert calls[-1].endswith("--optim_conf.lr 1e-4 --note two words")


def test_users_options_win_over_the_corpus(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI, "--expdir", "elsewhere", "--tsne_set", "dev_mini")
    assert "--output_dir elsewhere/lid_mini_ecapa_raw " in " ".join(calls)
    assert calls[-1].startswith("pyscripts/plot_tsne.py --data_dir dump/mini/raw/dev_mini ")


def test_files_for_espnets_scripts_are_asked_of_each_script_that_writes_them(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI, "--extract_embd", "true", "--espnet_files", "true")
    asked = [call for call in calls if "--espnet_files true" in call]
    assert {*programs(asked)} == {"infer", "(infer)", "score", "plot_tsne"}
    assert not any("--espnet_files true" in call for call in recipe.stages("run.sh", *MINI))


def test_the_longest_duration_reaches_all_commands_of_an_identification(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI, "--inference_max_duration", "30.5", "--extract_embd", "true")
    infer = [call for call in calls if "pyscripts/infer.py" in call]
    assert len(infer) >= 3
    assert all(" --max_duration 30.5 " in call for call in infer)


def test_stage_7_identifies_crops_of_each_test_set_and_scores_them(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI, "--crop_seconds", "1 2.5", "--stop_stage", "7")
    crops = [call for call in calls if "--crop_seconds" in call]
    assert programs(crops) == ["check_options", *["infer", "(infer)", "infer"] * 2, "score"]
    assert [" --crop_seconds 1 " in f"{call} " for call in crops[1:4]] == [True] * 3
    assert "/test_mini/logs/crops_2.5s/infer.JOB.log" in crops[5]
    assert all("--extract_embd false" in call for call in crops[1:7])
    assert "--crop_seconds 1 2.5" in crops[-1]
    first = calls.index(crops[1])
    assert programs(calls[:first])[-3:] == ["infer", "(infer)", "infer"]  # the whole utterances, in stage 6
    assert not any("--crop_seconds 1" in call for call in recipe.stages("run.sh", *MINI))


def test_stage_7_calibrates_on_the_validation_set_alone(recipe: Recipe):
    options = (*MINI, "--calibration", "temperature", "--stop_stage", "7")
    calls = recipe.stages("run.sh", *options)
    assert programs(calls)[-5:] == ["infer", "(infer)", "infer", "calibrate", "score"]
    call = calls[-2]
    assert "--data_dir dump/mini/raw/dev_mini --scores " in call
    assert "/dev_mini --method temperature --only_selection_set true" in call
    assert "--calibration" not in calls[-1]  # nothing was stored
    (recipe.path / "exp/mini/lid_mini_ecapa_raw/policy.yaml").touch()
    assert "--calibration exp/mini/lid_mini_ecapa_raw/policy.yaml" in recipe.stages("run.sh", *options)[-1]
    assert "--calibration" not in recipe.stages("run.sh", *MINI, "--stop_stage", "7")[-1]


def test_gpus_identify_one_job_each(recipe: Recipe):
    calls = recipe.stages("run.sh", *MINI[:-2], GPUS="2")
    infer = next(call for call in calls if "infer.py job" in call)
    assert "--gpu 1 JOB=1:2 " in infer
    assert "--num_jobs 2 " in infer
    assert " --ngpu 1 " in infer
    assert infer.endswith(" --job JOB")


def test_dry_run_of_a_fresh_recipe_says_what_waits_for_what(recipe: Recipe):
    done = recipe.run("run.sh", *MINI, "--python", str(recipe.stand_in), "--dry_run", "true")
    assert done.returncode == 0
    assert programs(recipe.calls()) == ["check_options", "check_config", "local.mini.prepare"]
    assert "to do (waits for data/train_mini)" in done.stderr
    assert "Stage 8: draw t-SNE" in done.stderr


def test_dry_run_prints_the_commands_of_every_stage(recipe: Recipe):
    done = recipe.run("run.sh", *MINI, "--python", str(recipe.stand_in), "--dry_run", "true")
    real = recipe.stages("run.sh", *MINI)
    printed = [call for call in done.stdout.splitlines() if call.startswith(" ")]
    assert programs(printed[1:]) == [name.strip("()") for name in programs(real)[3:]]
    assert printed[0].startswith(" local/data.sh --datadir data --nj 2 --corpus mini")
    assert not [call for call in printed if "--dry_run" in call]
    assert any(call.endswith("--job JOB") and " JOB=1:2 " in call for call in printed)


def test_voxlingua107_has_espnets_settings_and_picks_on_the_selection_set(recipe: Recipe):
    options = ("--corpus", "voxlingua107", "--nj", "2", "--ngpu", "0")
    calls = recipe.stages("run.sh", *options, "--local_data_opts", "--downloads here")
    train = next(call for call in calls if "train.py" in call)
    assert "--config conf/mms_ecapa_bs3min_baseline.yaml " in train
    assert "--valid_dir dump/voxlingua107/raw/selection_voxlingua107 " in train
    assert "dev_voxlingua107" not in train
    assert all("--audio_format flac.ark" in call for call in calls if "format_audio.py plan" in call)
    infer = next(call for call in calls if "infer.py job" in call)
    assert "--model exp/voxlingua107/lid_mms_ecapa_bs3min_baseline_raw/valid.accuracy.best.pth " in infer
    assert "--max_utt_per_lang_for_tsne 100" in calls[-1]


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8", "de_DE.ISO-8859-1"])
def test_any_locale_and_any_working_directory(recipe: Recipe, tmp_path: Path, locale: str):
    done = recipe.run(
        "run.sh",
        *MINI,
        "--python",
        str(recipe.stand_in),
        cwd=tmp_path,
        LC_ALL=locale,
        LANG=locale,
        CDPATH="/",
    )
    assert done.returncode == 0, done.stderr
    assert programs(recipe.calls())[-1] == "plot_tsne"


def test_auto_corpus_says_what_it_takes(recipe: Recipe):
    done = recipe.run("run.sh", "--stop_stage", "1", "--python", str(recipe.stand_in))
    assert "Corpus: mini (--corpus chooses another)" in done.stderr


def test_failing_stage_ends_the_recipe_with_its_exit_code(recipe: Recipe):
    done = recipe.run("run.sh", *MINI, "--python", str(recipe.stand_in), FAIL_AT="collect_stats.py")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].endswith("stage 4 (collect statistics) ended with exit code 3")
    assert "train" not in programs(recipe.calls())


def test_report_of_times_and_of_what_to_look_at(recipe: Recipe):
    results = recipe.path / "exp/mini/lid_mini_ecapa_raw/inference/valid.accuracy.best/test_mini"
    results.mkdir(parents=True)
    (results / "report.html").write_text("")
    done = recipe.run("run.sh", *MINI, "--python", str(recipe.stand_in))
    assert "\n   5  train                   0 s\n" in done.stderr
    assert done.stderr.endswith(f"Look at:\n  {(results / 'report.html').relative_to(recipe.path)}\n")


@pytest.mark.parametrize(("queued", "named"), [("", ""), ("slurm 77", ", slurm job 77")])
def test_second_run_at_once_says_so(recipe: Recipe, queued: str, named: str):
    options = [*MINI, "--skip_stages", "1", "--stop_stage", "3"]
    for name in ("train_mini", "dev_mini", "test_mini"):
        (recipe.path / "data" / name).mkdir(parents=True)
    held = recipe.path / "dump/mini/raw/train_mini/.running"
    held.parent.mkdir(parents=True)
    if queued:
        spool = held.parent / "logs/.jobs/format.12345678"
        spool.mkdir(parents=True)
        (spool / "queue_id").write_text(queued)
    recipe.stand_in.write_text(f'#!/usr/bin/env bash\n[[ $1 != -c ]] || exec {sys.executable} "$@"\n')
    with open(held, "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = recipe.run("run.sh", *options, "--python", str(recipe.stand_in))
    assert done.returncode == 2
    assert f"error: dump/mini/raw/train_mini: in use by another run{named} (wait" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_script_alone_ends_its_command(recipe: Recipe, number: signal.Signals):
    recipe.stand_in.write_text(
        "#!/usr/bin/env bash\n[[ $1 != *check_options.py ]] || { echo 2 0; exit; }\n"
        '[[ $1 == - ]] || { echo $$ >"${CALLS}"; exec sleep 60; }\n'
    )
    calls = recipe.path / "calls"
    script = subprocess.Popen(
        ["bash", str(recipe.path / "lid.sh"), "--python", str(recipe.stand_in), "--stop_stage", "1"],
        env=os.environ | {"CALLS": str(calls)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (calls.exists() and calls.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    script.send_signal(number)
    script.communicate(timeout=120)
    assert script.returncode == 128 + number
    assert not Path(f"/proc/{calls.read_text().strip()}").exists()


def start_stage_1(recipe: Recipe, python: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start stage 1 with a stand-in for Python; return the script and the id of its command."""
    recipe.stand_in.write_text(
        "#!/usr/bin/env bash\n[[ $1 != *check_options.py ]] || { echo 2 0; exit; }\n"
        f'[[ $1 != - ]] || exit 0\necho $$ >"${{CALLS}}.new" && mv "${{CALLS}}.new" "${{CALLS}}"\n{python}\n'
    )
    calls = recipe.path / "calls"
    script = subprocess.Popen(
        ["bash", str(recipe.path / "lid.sh"), "--python", str(recipe.stand_in), "--stop_stage", "1"],
        env=os.environ | {"CALLS": str(calls)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(calls.exists)
    return script, int(calls.read_text())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1"])
def test_command_that_can_be_continued_ends_the_script_with_its_code(recipe: Recipe, name: str):
    script, command = start_stage_1(recipe, f"trap 'kill %1; exit 75' {name}; touch ready; sleep 60 & wait")
    wait_until((recipe.path / "ready").exists)
    script.send_signal(getattr(signal, f"SIG{name}"))
    assert script.wait(timeout=60) == 75
    assert not Path(f"/proc/{command}").exists()


def test_killed_script_takes_its_command_along(recipe: Recipe):
    """By the kernel, because a script that gets SIGKILL can do nothing."""
    python = (
        "import time; from lid_toolkit.cli import run; run(lambda _: (open('ready', 'w'), time.sleep(60)))"
    )
    script, command = start_stage_1(recipe, f'exec {sys.executable} -c "{python}"')
    wait_until((recipe.path / "ready").exists)
    script.kill()
    script.wait()
    wait_until(lambda: not runs(command))


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still wait for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(("due", "submits"), [("1", True), ("0", False)])
def test_a_finished_training_is_not_submitted(recipe: Recipe, due: str, submits: bool):
    for name in ("dump/mini/raw/train_mini", "dump/mini/raw/dev_mini", "exp/mini/lid_stats_16k/train"):
        (recipe.path / name).mkdir(parents=True)
    options = ("--stage", "5", "--stop_stage", "5")
    calls = recipe.stages("run.sh", *MINI, *options, DUE=due, cmd_backend="slurm")
    assert programs(calls) == ["check_options", "check_config", "train"] + ["(train)"] * submits


def test_the_first_test_set_is_drawn(recipe: Recipe):
    for name in ("raw/eval", "raw/train", "raw/other"):
        (recipe.path / "dump" / name).mkdir(parents=True)
    (recipe.path / "exp/lid_train_raw").mkdir(parents=True)
    (recipe.path / "exp/lid_train_raw/valid.accuracy.best.pth").touch()
    options = (
        "--stage",
        "8",
        "--train_set",
        "train",
        "--test_sets",
        " eval other",
        "--nj",
        "1",
        "--ngpu",
        "0",
    )
    done = recipe.run("lid.sh", "--python", str(recipe.stand_in), *options)
    assert done.returncode == 0, done.stderr
    assert "first test set, eval, is plotted (ESPnet plots the training set: --tsne_set train)" in done.stderr
    assert recipe.calls()[-1].startswith("pyscripts/plot_tsne.py --data_dir dump/raw/eval ")
    recipe.run("lid.sh", "--python", str(recipe.stand_in), *options, "--tsne_set", "train")
    assert recipe.calls()[-1].startswith("pyscripts/plot_tsne.py --data_dir dump/raw/train ")


def test_a_wrong_configuration_ends_the_recipe_before_any_work(recipe: Recipe):
    done = recipe.run("run.sh", "--lid_args", "--encoder_conf.ndimm 64")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: encoder_conf: unknown argument 'ndimm' of encoder 'ecapa_tdnn' (did you mean 'ndim'?)"
    )
    assert not (recipe.path / "data").exists()
