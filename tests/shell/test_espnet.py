"""What an ESPnet user types: options and files that mean what they mean there, or say what they mean here."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml
from local_voxlingua107 import lay_zips, wav, write_zip
from models.test_configurations import MMS_ECAPA
from shell.recipe import ROOT, Recipe
from shell.test_download_to_upload import DEV

NAMES = yaml.safe_load((ROOT / "tests/fixtures/espnet/names.yaml").read_text(encoding="utf-8"))
# The command of egs2/voxlingua107/lid1/run.sh.
VOXLINGUA107 = (
    *("--feats_type", "raw", "--train_set", "train_voxlingua107", "--valid_set", "dev_voxlingua107"),
    *("--test_sets", "dev_voxlingua107 ", "--tsne_set", "dev_voxlingua107"),
    *("--inference_model", "valid.accuracy.best.pth", "--inference_batch_size", "4"),
    *("--extract_embd", "true", "--checkpoint_interval", "1000", "--expdir", "exp_voxlingua107_raw"),
    *("--lid_config", "conf/mms_ecapa_baseline.yaml", "--max_utt_per_lang_for_tsne", "100"),
)
NOTED = {
    "checkpoint_interval": "identification resumes from its finished parts",
    "save_every": "the former name of checkpoint_interval",
    "fold_length": "batch_bins in the training configuration limits the batches",
    "multi_columns_output_wav_scp": "formatted audio has one channel, which --channel chooses",
}
SETS = ("--train_set", "train", "--valid_set", "dev", "--test_sets", "test", "--nj", "1", "--ngpu", "0")
CONF = ("--lid_config", "conf/x.yaml")


def noted(recipe: Recipe, *options: str, script: str = "lid.sh") -> list[str]:
    """Return the differences from ESPnet that a run prints before it starts."""
    done = recipe.run(script, "--python", str(recipe.stand_in), *options)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    title = "Different from ESPnet (docs/espnet.md):"
    if title not in lines:
        return []
    start, end = lines.index(title) + 1, next(n for n, line in enumerate(lines) if "Stage 1" in line)
    return [line.removeprefix("  ") for line in lines[start:end]]


def test_every_option_of_espnet_is_accepted_with_its_default(recipe: Recipe):
    words = [word for name, default in NAMES["options"].items() for word in (f"--{name}", default)]
    program = '. utils/parse_options.sh; parse_options x lid.sh utils/espnet_options.sh -- "$@"'
    program += "; echo ${max_wav_duration} ${options_given[*]}"
    command = ["bash", "-c", program, "lid.sh", *words]
    done = subprocess.run(command, cwd=recipe.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    only = "--fold_length 120000 --multi_columns_output_wav_scp false --checkpoint_interval 1000"
    assert done.stdout == f"60. {only}\n"


@pytest.mark.parametrize("script", ["lid.sh", "run.sh"])
@pytest.mark.parametrize("name", NOTED)
def test_an_option_without_effect_is_accepted_and_says_so(recipe: Recipe, name: str, script: str):
    value = "true" if name.startswith("multi") else "1000"
    (line,) = noted(recipe, "--stop_stage", "1", f"--{name}", value, script=script)
    assert line.startswith(f"--{name} has no effect: {NOTED[name]}")


def test_who_never_used_espnet_reads_nothing_about_it(recipe: Recipe):
    assert noted(recipe, script="run.sh") == []


def test_what_is_different_in_silence_is_said_where_it_applies(recipe: Recipe):
    limits = "--min_wav_duration 1.0 and --max_wav_duration 60.0 act on training and validation sets"
    formatting = (*SETS, "--stop_stage", "3")
    espnet = ("--fold_length", "8000", *formatting)
    assert noted(recipe, *formatting) == []
    assert noted(recipe, *espnet)[1:] == [f"{limits}; ESPnet ignores them"]
    own = noted(recipe, *formatting, "--max_wav_duration", "30")
    assert own == [limits.replace("60.0", "30") + "; ESPnet ignores them"]
    assert len(noted(recipe, *espnet, "--skip_train", "true")) == 1
    speed = noted(recipe, *SETS, "--speed_perturb_factors", "0.9 1.0", "--stop_stage", "2")
    assert speed == ["copies at another speed are named sp0.9-UTTERANCE, not UTTERANCE-sp0.9"]


def test_differences_of_the_configuration_are_part_of_the_list(recipe: Recipe):
    note = "*check_config.py*) echo 'a note'; echo another ;;"
    recipe.stand_in.write_text(recipe.stand_in.read_text().replace('case "$*" in', f'case "$*" in\n{note}'))
    block = noted(recipe, *SETS, *CONF)
    assert block[1:] == ["a note", "another"]
    assert block[0].startswith("--min_wav_duration 1.0 and")  # the configuration comes from ESPnet


def test_checkpoints_within_an_epoch_are_not_espnets_option(recipe: Recipe):
    mini = ("run.sh", "--corpus", "mini", "--ngpu", "0", "--stop_stage", "5")
    assert recipe.stages(*mini, "--checkpoint_interval", "1000")[-1].endswith(" --checkpoint_minutes 15")
    assert recipe.stages(*mini, "--checkpoint_minutes", "2.5")[-1].endswith(" --checkpoint_minutes 2.5")


@pytest.mark.parametrize("sets", ["test", "dev\ttest"])
def test_the_validation_set_is_identified_and_scored_once(recipe: Recipe, sets: str):
    options = (*CONF, "--eval_valid_set", "true", "--stop_stage", "7")
    calls = recipe.stages("lid.sh", *SETS, *options, "--test_sets", sets)
    for script in ("score.py", "infer.py merge"):
        assert sum(script in call and "--data_dir dump/raw/dev " in call for call in calls) == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "lid_x_raw"),
        (("--feats_type", "raw_copy"), "lid_x_raw_copy"),
        (("--lid_args", "--max_epoch 3"), "lid_x_raw"),
        (("--speed_perturb_factors", "0.9 1.0"), "lid_x_raw_sp"),
        (("--lid_tag", "y"), "lid_y"),
    ],
)
def test_the_experiment_has_espnets_name(recipe: Recipe, options: tuple[str, ...], name: str):
    train = recipe.stages("lid.sh", *SETS, *CONF, *options, "--stop_stage", "5")[-1]
    assert f"--output_dir exp/{name} " in train


def test_stage_6_alone_finds_what_stage_5_wrote(recipe: Recipe):
    training = (*CONF, "--lid_args", "--max_epoch 3", "--stop_stage", "5")
    words = recipe.stages("lid.sh", *SETS, *training)[-1].split()
    experiment = recipe.path / words[words.index("--output_dir") + 1]
    for made in (experiment, recipe.path / "dump/raw/test"):
        made.mkdir(parents=True, exist_ok=True)
    (experiment / "valid.accuracy.best.pth").touch()
    options = ("--stage", "6", "--stop_stage", "6", "--test_sets", "test", "--ngpu", "0", *CONF)
    assert "infer.py" in recipe.stages("lid.sh", *options)[-1]


def test_the_model_to_use_is_checked_unless_it_is_there_or_not_used(recipe: Recipe):
    options = (*SETS, *CONF, "--inference_model", "valid.loss.best.pth")

    def checked(*more: str) -> str:
        call = next(call for call in recipe.stages("lid.sh", *options, *more) if "check_config.py" in call)
        return call.partition("--inference_model")[2].strip()

    assert checked() == "valid.loss.best.pth"
    assert checked("--stop_stage", "5") == ""
    (recipe.path / "exp/lid_x_raw").mkdir(parents=True, exist_ok=True)
    (recipe.path / "exp/lid_x_raw/valid.loss.best.pth").touch()
    assert checked() == ""


def test_a_corpus_without_directory_is_refused_before_another_is_prepared(recipe: Recipe):
    done = recipe.run("lid.sh", "--python", str(recipe.stand_in), *VOXLINGUA107)
    line = (recipe.path / "db.sh").read_text().splitlines().index("VOXLINGUA107=") + 1
    assert done.returncode == 2
    assert done.stderr == (
        f"error: db.sh:{line}: VOXLINGUA107 is empty, and stage 1 would prepare mini instead of "
        "train_voxlingua107 (set it to the directory that contains the corpus, or to which it should be "
        "downloaded)\n"
    )
    assert recipe.calls() == []


def test_another_corpus_is_refused_with_the_option_that_chooses_it(recipe: Recipe):
    sets = ("--train_set", "train_prompts", "--valid_set", "dev_prompts", "--test_sets", "test_prompts")
    options = ("--python", str(recipe.stand_in), "--stop_stage", "1", *sets)
    done = recipe.run("lid.sh", *options)
    assert done.returncode == 2
    advice = 'stage 1 would prepare mini instead of train_prompts (add --local_data_opts "--corpus prompts")'
    assert done.stderr == f"error: {recipe.path}/lid.sh: {advice}\n"
    assert recipe.run("lid.sh", *options, "--local_data_opts", "--corpus prompts").returncode == 0
    for name in ("train_prompts", "dev_prompts", "test_prompts"):
        (recipe.path / "data" / name).mkdir(parents=True)
    assert recipe.run("lid.sh", *options).returncode == 0


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["musan_music", "musan_noise", "musan_speech"]),
        (("--datadir", "elsewhere"), ["musan_music", "musan_noise", "musan_speech"]),
        (("--skip_stages", "1"), []),
        (("--local_data_opts", "--corpus mini"), []),
    ],
)
def test_lists_of_noise_that_stage_1_makes_are_known(
    recipe: Recipe, options: tuple[str, ...], names: list[str]
):
    recipe.set_db(VOXLINGUA107="corpus", MUSAN="sounds")
    for name in ("train_voxlingua107", "dev_voxlingua107"):
        (recipe.path / "data" / name).mkdir(parents=True)
    recipe.stages("lid.sh", *VOXLINGUA107, "--ngpu", "0", *options)
    _, _, listed = (recipe.path / "calls").read_text().partition("--sounds_to_come ")
    folder = "elsewhere" if "elsewhere" in options else "data"
    assert listed.partition(" --espnet ")[0].split() == [f"{folder}/{name}.scp" for name in names]


@pytest.mark.slow
def test_a_missing_list_of_noise_ends_the_run_before_stage_1(recipe: Recipe):
    recipe.set_db(VOXLINGUA107="corpus")
    lay_conf(recipe, preprocessor_conf={"noise_apply_prob": 0.5})
    done = recipe.run("lid.sh", *VOXLINGUA107, "--ngpu", "0")
    assert done.returncode == 2
    assert "error: dump/raw/musan_speech.scp: does not exist; also looked in data" in done.stderr
    assert not (recipe.path / "data").exists()


def lay_conf(recipe: Recipe, **changes: dict[str, object]) -> None:
    """Give a recipe ESPnet's configuration with a small model and a short training."""
    (recipe.path / "conf").unlink()
    (recipe.path / "conf").mkdir()
    small = {
        **{"frontend": "default", "frontend_conf": {"n_mels": 16}, "num_workers": 0, "use_amp": False},
        **{"encoder_conf": {"model_scale": 4, "ndim": 16, "output_size": 24}, "max_epoch": 1},
        **{"projector_conf": {"output_size": 8}, "num_iters_per_epoch": 2, "batch_bins": 320000},
    }
    raw = {**yaml.safe_load(MMS_ECAPA), **small}
    raw |= {key: {**raw[key], **values} for key, values in changes.items()}
    (recipe.path / "conf/mms_ecapa_baseline.yaml").write_text(yaml.safe_dump(raw))


@pytest.mark.slow
def test_espnets_command_for_voxlingua107(recipe: Recipe):
    recipe.set_db(VOXLINGUA107="corpus")
    lay_zips(recipe.path / "corpus")
    write_zip(recipe.path / "corpus/dev.zip", {f"{code}/{name}.wav": wav(code, 1.5) for code, name in DEV})
    (recipe.path / "corpus/zip_urls.txt").unlink()
    lay_conf(recipe)
    rehearsal = recipe.run("lid.sh", *VOXLINGUA107, "--dry_run", "true", timeout=300)
    assert rehearsal.returncode == 0, rehearsal.stderr
    assert {"data", "dump", "exp_voxlingua107_raw"}.isdisjoint(path.name for path in recipe.path.iterdir())
    done = recipe.run("lid.sh", *VOXLINGUA107, timeout=600)
    assert done.returncode == 0, done.stderr
    documented = (ROOT / "docs/espnet.md").read_text(encoding="utf-8")
    block = re.findall(r"^    (Different from ESPnet .*|  \S.*)$", documented, re.MULTILINE)
    assert len(block) == 6
    assert done.stderr.count("\n".join([*block, "20"])) == 1  # then the first stage, with the date
    test = recipe.path / "exp_voxlingua107_raw/lid_mms_ecapa_baseline_raw/inference/valid.accuracy.best"
    test /= "dev_voxlingua107"
    assert json.loads((test / "results.json").read_text())["utterances"] == len(DEV)
    for name in ("dev_voxlingua107_lids", "embeddings.scp", "tsne_plots/tsne.png"):
        assert (test / name).stat().st_size > 0
