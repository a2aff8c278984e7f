"""Options of run.sh and lid.sh: whatever is wrong ends in one line and exit code 2, before any work."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from shell.recipe import Recipe

DESIGNED = set(
    """stage stop_stage skip_stages skip_data_prep skip_train skip_eval skip_packing skip_upload_hf
    ngpu num_nodes nj gpu_inference dumpdir expdir python train_set valid_set test_sets tsne_set
    speed_perturb_factors feats_type audio_format fs min_wav_duration max_wav_duration lid_exp lid_tag
    lid_config lid_args pretrained_model ignore_init_mismatch inference_model inference_batch_size
    extract_embd checkpoint_interval checkpoint_minutes max_utt_per_lang_for_tsne perplexity max_iter
    hf_repo""".split()  # noqa: SIM905
)


SHARED = ("utils/stages.sh", "utils/checks.sh", "path.sh")  # what lid.sh reads


@pytest.mark.parametrize("script", ["run.sh", "lid.sh"])
def test_help_lists_every_designed_option_with_its_default(recipe: Recipe, script: str):
    done = recipe.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = dict(re.findall(r"^  --(\w+) .*\(default: (.*)\)$", done.stdout, re.MULTILINE))
    assert set(listed) >= DESIGNED
    assert listed["audio_format"] == "wav"
    assert ("corpus" in listed) == (script == "run.sh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--trian_set x", "unknown option --trian_set (did you mean '--train_set'?)"),
        ("--corpsu mini", "unknown option --corpsu (did you mean '--corpus'?)"),
        ("--zzzzzzzzzz 1", "unknown option --zzzzzzzzzz (see --help)"),
        # Names that share letters with known ones, but are no typing errors of them.
        ("--dev_set x", "unknown option --dev_set (see --help)"),
        ("--max_updates 1", "unknown option --max_updates (see --help)"),
        ("--speech_fold_length 1", "unknown option --speech_fold_length (see --help)"),
        ("stage 3", "unexpected argument 'stage'"),
        (
            "--corpus klingon",
            "--corpus: 'klingon' is not valid (give auto or mini or prompts or voices or voxlingua107"
            " or voxlingua107_dev)",
        ),
        ("--stage three", "--stage: 'three' is not valid (give a whole number of at least 1)"),
        ("--stage", "--stage needs a value"),
        ("--nj 0", "--nj: '0' is not valid (give auto or a whole number of at least 1)"),
        ("--fs high", "lid.sh: argument --fs: 'high' is not"),
        ("--min_wav_duration -1", "--min_wav_duration: '-1' is not valid"),
        ("--extract_embd yes", "--extract_embd: 'yes' is not valid (give true or false)"),
        (
            "--audio_format mp3",
            "--audio_format: 'mp3' is not valid (give wav or flac or wav.ark or flac.ark)",
        ),
        ("--skip_stages 2,8", "--skip_stages: '2,8' is not valid"),
        # Bash would take the first for 8, and compares the last as text.
        ("--stage 010", "--stage: '010' is not valid (give a whole number of at least 1)"),
        ("--stage 08", "--stage: '08' is not valid (give a whole number of at least 1)"),
        ("--feats_copies 00", "--feats_copies: '00' is not valid (give a whole number)"),
        ("--skip_stages 02", "--skip_stages: '02' is not valid (give whole numbers separated by spaces)"),
        ("--train_set --valid_set x", "--train_set: '--valid_set' is not valid"),
        ("--speed_perturb_factors abc", "--speed_perturb_factors: 'abc' is not valid"),
        ("--max_failed 3", "lid.sh: argument --max_failed: '3' is not"),
        ("--max_failed 11e-1", "lid.sh: argument --max_failed: '11e-1' is not"),
        ("--crop_seconds one", "--crop_seconds: 'one' is not valid"),
        ("--crop_seconds=1\t0.0", "--crop_seconds: a crop of 0 s has no speech (give numbers above 0)"),
        ("--leave_out some", "--leave_out: 'some' is not valid (give folds or each or no)"),
        ("--calibration best", "--calibration: 'best' is not valid (give none or temperature or affine)"),
        ("--max_iter 249", "lid.sh: argument --max_iter: '249' is not a whole number of at least 250"),
        ("--perplexity 0", "lid.sh: argument --perplexity: '0' is not a number of at least 1"),
        ("--perplexity 9e-1", "--perplexity: '9e-1' is not"),
        ("--perplexity 1e999", "--perplexity: '1e999' is not"),
        ("--speed_perturb_factors=0\t1", "speed factors: '0' is not a number from 0.1 to 10"),
        ("--speed_perturb_factors 10.1", "speed factors: '10.1' is not a number from 0.1 to 10"),
        ("--speed_perturb_factors=.9\t1\t0.90", "speed factors: 0.90 is given twice"),
        ("--num_nodes 0", "--num_nodes: '0' is not valid (give a whole number of at least 1)"),
        ("--feats_copies 3", "--feats_copies needs --feats_type extracted"),
        ("--stage 6", "valid.accuracy.best.pth: does not exist (run stage 5, or give another checkpoint)"),
        ("--stage 3 --datadir nowhere", "nowhere/train_mini: does not exist"),
        (
            "--stage 5 --train_set nope",
            "dump/mini/raw/nope: does not exist (run stage 3, or check --train_set)",
        ),
        ("--stage 4", "dump/mini/raw/train_mini: does not exist (run stage 3, or check --train_set)"),
        ("--stage 4 --skip_stages 4", "raw/train_mini: does not exist (run stage 3, or check --train_set)"),
        (
            "--stage 2 --stop_stage 2 --speed_perturb_factors 0.9",
            "data/train_mini: does not exist (run stage 1, or check --train_set)",
        ),
        ("--stage 7 --stop_stage 7", "test_mini_lids: does not exist (run stage 6, or check --test_sets)"),
        ("--stage 8 --tsne_set x", "dump/mini/raw/x: does not exist (run stage 3, or check --tsne_set)"),
        ("--stage 4 --stop_stage 2", "--stage 4 is after --stop_stage 2"),
        ("--stage 9", "stages 9 and 10 are skipped (add --skip_packing false or --skip_upload_hf false)"),
        (
            "--stage 9 --skip_packing false",
            "valid.accuracy.best.pth: does not exist (run stage 5, or give another checkpoint)",
        ),
        ("--skip_upload_hf false", "--hf_repo is missing (stage 10 needs it: USER/NAME)"),
        ("--hf_repo lid", "--hf_repo lid: not a repository name (give USER/NAME)"),
        ("--hf_private yes", "--hf_private: 'yes' is not valid (give true or false)"),
    ],
)
def test_faults_end_in_one_line_before_any_work(recipe: Recipe, options: str, message: str):
    corpus = () if "--corpus" in options else ("--corpus", "mini")
    done = recipe.run("run.sh", *corpus, *options.split(" ", 1)[:1], *options.split(" ")[1:])
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert {entry.name for entry in recipe.path.iterdir()}.isdisjoint({"data", "dump", "exp", ".venv"})


@pytest.mark.parametrize("option", ["--lid_args", "--local_data_opts"])
@pytest.mark.parametrize("text", ["--max_epoch 3 '--optim_conf.lr 1e-4", '--name "a b', "--name 'a\nb'"])
@pytest.mark.parametrize("script", ["run.sh", "lid.sh"])
def test_quote_that_is_not_closed_is_refused(recipe: Recipe, script: str, option: str, text: str):
    done = recipe.run(script, "--stop_stage", "1", "--dry_run", "true", option, text)
    assert done.returncode == 2
    assert done.stdout == ""
    line = text.replace("\n", " ")
    message = f"{option}: '{line}' is not valid (give options with balanced quotes)"
    assert done.stderr == f"error: {recipe.path}/{script}: {message}\n"


@pytest.mark.parametrize(
    "text",
    ["", " ", "''", "a ''", "a '' \"\"", "'' a", "--x 'b  c' \"it's\" d\\ e", "-n --help", "'$HOME' * \n b"],
)
def test_words_are_split_as_in_a_shell_without_expansion(recipe: Recipe, text: str):
    script = '. utils/parse_options.sh; split_words "$1"; '
    script += 'for word in "${words[@]}"; do printf "%s\\0" "${word}"; done'
    done = subprocess.run(
        ["bash", "-c", script, "bash", text], cwd=recipe.path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "".join(f"{word}\0" for word in shlex.split(text))


def test_lid_needs_its_sets(recipe: Recipe):
    done = recipe.run("lid.sh", "--lid_config", "conf/mini_ecapa.yaml")
    assert done.returncode == 2
    assert done.stderr == f"error: {recipe.path}/lid.sh: --train_set is missing (stage 3 needs it)\n"


@pytest.mark.parametrize(
    ("type_", "fit", "unfit"),
    [
        ("int", ["0", "7", "999999999"], ["", "00", "07", "1000000000", "-1", "1.0"]),
        ("int+", ["1", "10"], ["0", "01", "0x1"]),
        ("ints", ["", " ", "0", "2 8", " 10\t2 "], ["02", "2 08", "12345678901", "2,8"]),
        ("float", ["0", "1", "1.0", ".01", "5e-3"], ["-0.1", "", "1e", "nan"]),
        ("floats", ["", "0.9 1 1.1", " .5 2. "], ["1.1.1", "1,1", "-1"]),
    ],
)
def test_numbers_that_fit(recipe: Recipe, type_: str, fit: list[str], unfit: list[str]):
    script = '. utils/parse_options.sh; for v in "${@:2}"; do fits "$1" "$v" && echo fits || echo no; done'
    command = ["bash", "-c", script, "bash", type_, *fit, *unfit]
    done = subprocess.run(command, cwd=recipe.path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fits"] * len(fit) + ["no"] * len(unfit)


def test_outermost_numbers_are_taken(recipe: Recipe):
    options = (
        "--max_failed",
        "1",
        "--max_iter",
        "250",
        "--perplexity",
        "1",
        "--speed_perturb_factors",
        "0.1 10",
    )
    done = recipe.run("run.sh", "--corpus", "mini", "--stop_stage", "1", "--dry_run", "true", *options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", [("--nj=3",), ("--nj", "3")])
def test_both_forms_of_an_option_and_hyphens_for_underscores(recipe: Recipe, form: tuple[str, ...]):
    calls = recipe.stages("run.sh", "--corpus", "mini", "--stop-stage", "1", *form)
    assert len(calls) == 2
    assert "--nj 3 " in calls[1]


def test_values_with_blanks_and_letters_beyond_ascii(recipe: Recipe, tmp_path: Path):
    calls = recipe.stages("run.sh", "--corpus", "mini", "--stop_stage", "1", "--datadir", f"{tmp_path}/ð ä")
    assert f"--datadir {tmp_path}/ð ä " in calls[1]


def test_every_option_is_used(recipe: Recipe):
    """An option that nothing reads would be a promise not kept."""
    text = (recipe.path / "lid.sh").read_text()
    declared, body = text.split("# end of options")
    shared = "".join((recipe.path / name).read_text() for name in SHARED)
    for name in re.findall(r"^(\w+)=.*# \S+: ", declared, re.MULTILINE):
        assert name == "num_nodes" or re.search(rf"\b{name}\b", body + shared), name
