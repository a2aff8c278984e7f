"""The commands of cmd.sh: backends by name, and a site's own queue.pl in their place."""

from __future__ import annotations

import re

import pytest
from shell.recipe import Recipe

SETS = ("--train_set", "train", "--valid_set", "valid", "--test_sets", "test", "--nj", "2")
STAGES = ("--stage", "3", "--stop_stage", "6", "--skip_stages", "4", "--lid_config", "conf/mini_ecapa.yaml")

# Takes what Kaldi's queue.pl takes, no more: options of a value each, then JOB=1:N or not, a log, a command.
QUEUE_PL = """#!/usr/bin/env bash
printf 'queue.pl %s\\n' "$*" >>"${CALLS}"
known=" --mem --num-threads --gpu --time --max-jobs-run --config -q "
for _ in 1 2; do
  while [[ $1 == -* ]]; do
    [[ ${known} == *" $1 "* && $2 != -* ]] || { echo "queue.pl: bad option $1 $2" >&2; exit 1; }
    shift 2
  done
  [[ $1 != JOB=* ]] || { [[ $1 =~ ^JOB=1:([0-9]+)$ ]] || exit 1; last=${BASH_REMATCH[1]}; shift; }
done
(($# >= 2)) || exit 1
mkdir -p "$(dirname "$1")"
for ((n = 1; n <= ${last:-1}; n++)); do
  if [[ -n ${last:-} ]]; then set -- "${@//JOB/${n}}"; fi
  "${@:2}" || exit 1
done
"""


def lay_sets(recipe: Recipe) -> None:
    for name in ("train", "valid", "test"):
        (recipe.path / "data" / name).mkdir(parents=True)
        (recipe.path / "dump/raw" / name).mkdir(parents=True)
    (recipe.path / "exp/lid_stats_16k/train").mkdir(parents=True)
    experiment = recipe.path / "exp/lid_mini_ecapa_raw"
    experiment.mkdir()
    (experiment / "valid.accuracy.best.pth").touch()


@pytest.mark.parametrize("gpus", ["0", "2"])
def test_queue_pl_of_a_site_runs_stages_3_5_and_6(recipe: Recipe, gpus: str):
    lay_sets(recipe)
    script = recipe.path / "utils/queue.pl"
    script.write_text(QUEUE_PL)
    script.chmod(0o755)
    train, cuda = "utils/queue.pl --mem 2G", "utils/queue.pl -q gpu.q --config my.conf"
    (recipe.path / "cmd.sh").write_text(f'export train_cmd="{train}" cuda_cmd="{cuda}"\n')
    calls = recipe.stages("lid.sh", *SETS, *STAGES, GPUS=gpus)
    queued = [call for call in calls if call.startswith("queue.pl ")]
    assert len(queued) == 5
    for call, name in zip(queued[:3], ("train", "valid", "test"), strict=True):
        assert call.startswith(f"queue.pl --mem 2G JOB=1:2 dump/raw/{name}/logs/format.JOB.log ")
        assert call.endswith(" --job JOB")
    train = f"queue.pl -q gpu.q --config my.conf --gpu {gpus} exp/lid_mini_ecapa_raw/logs/train.log "
    assert queued[3].startswith(train)
    resources = (
        "-q gpu.q --config my.conf --num-threads 1 --gpu 1" if gpus == "2" else "--mem 2G --num-threads 1"
    )
    assert queued[4].startswith(f"queue.pl {resources} JOB=1:2 ")
    jobs = [call for call in calls if re.search(r"pyscripts/infer.py job .* --job [12]$", call)]
    assert len(jobs) == 2


@pytest.mark.parametrize("backend", ["ssh", "slurm", "sge", "pbs"])
def test_backend_is_chosen_for_one_run(recipe: Recipe, backend: str):
    lay_sets(recipe)
    calls = recipe.stages("lid.sh", *SETS, *STAGES, cmd_backend=backend)
    jobs = [call for call in calls if "lid_toolkit.jobs" in call]
    assert all(call.startswith(f"-m lid_toolkit.jobs {backend} ") for call in jobs)
    assert " --num-threads 4 --gpu 0 exp/lid_mini_ecapa_raw/logs/train.log " in jobs[3]


def test_unknown_backend_ends_before_any_work(recipe: Recipe):
    lay_sets(recipe)
    done = recipe.run("lid.sh", *SETS, *STAGES, "--python", str(recipe.stand_in), cmd_backend="lsf")
    assert done.returncode == 2
    assert done.stderr == ("error: cmd.sh: unknown cmd_backend 'lsf' (known: local, ssh, slurm, sge, pbs)\n")
    assert ["check_options.py" in call for call in recipe.calls()] == [True]
