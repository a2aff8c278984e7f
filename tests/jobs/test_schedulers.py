"""How arrays are submitted, against golden command lines, and how listings of queues are read."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from lid_toolkit.jobs.array import OPTIONS, make_array, parse_call
from lid_toolkit.jobs.cluster_arrays import across_machines, script_text, submit_command
from lid_toolkit.jobs.config import read_config
from lid_toolkit.jobs.schedulers import (
    SCHEDULERS,
    SINGLE,
    QueueState,
    read_pbs_qstat,
    read_sge_qstat,
    read_squeue,
)

HERE = Path(__file__).resolve().parent
CONF = HERE.parents[1] / "conf"


def golden(backend: str) -> list[tuple[str, str]]:
    """Return pairs of a call and the command line it becomes."""
    lines = [
        line
        for line in (HERE / "golden" / f"{backend}.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize(
    ("backend", "call", "wanted"),
    [(backend, *pair) for backend in SCHEDULERS for pair in golden(backend)],
)
def test_submit_command_is_the_golden_one(backend: str, call: str, wanted: str):
    config = read_config(CONF / f"{backend}.conf")
    array = make_array(
        parse_call(shlex.split(call)), config.defaults, (*OPTIONS, *config.options), many_nodes=True
    )
    assert shlex.join(submit_command(SCHEDULERS[backend], array, config, Path("logs/q"))) == wanted


def test_script_goes_to_the_directory_and_takes_its_number(tmp_path: Path, monkeypatch):
    place = tmp_path / "it's 語"
    place.mkdir()
    monkeypatch.chdir(place)
    array = make_array(parse_call(["JOB=1:3", "x.JOB.log", "true"]))
    shebang, goes, runs = script_text(SCHEDULERS["slurm"], array, Path("my logs/q")).splitlines()
    assert shebang == "#!/bin/sh"
    assert shlex.split(goes) == ["cd", str(place), "||", "exit"]
    number = "${SLURM_ARRAY_TASK_ID}"
    assert shlex.split(runs) == ["exec", sys.executable, "-m", "lid_toolkit.jobs.task", "my logs/q", number]


def test_single_job_has_its_number_in_the_script():
    array = make_array(parse_call(["JOB=3:3", "x.JOB.log", "true"]))
    assert script_text(SCHEDULERS["pbs"], array, Path("q")).endswith(" q 3\n")


def test_command_across_machines_runs_once_on_each():
    call = parse_call(["--num-nodes", "3", "--num-threads", "4", "x.log", "train", "--lr", "1"])
    array = make_array(call, many_nodes=True)
    words = across_machines(array).command_of(1)
    assert words[:7] == ["srun", "--nodes", "3", "--ntasks", "3", "--ntasks-per-node", "1"]
    assert words[-4:] == ["lid_toolkit.jobs.node", "train", "--lr", "1"]


def test_slurms_queue():
    """As squeue of Slurm 22.05 prints it."""
    listing = "1|RUNNING|None\n2|PENDING|Resources\n3|PENDING|PartitionTimeLimit\n4|OUT_OF_MEMORY|None\n"
    assert read_squeue(listing, "7") == {
        1: QueueState("RUNNING", "runs"),
        2: QueueState("Resources", "waits"),
        3: QueueState("PartitionTimeLimit", "stuck"),
        4: QueueState("OUT_OF_MEMORY", "ended"),
    }


def test_grid_engines_queue():
    """As qstat -xml of Grid Engine 8.1.9 prints it, shortened: other people's arrays are there too."""
    job = "<job_list><JB_job_number>{}</JB_job_number><state>{}</state><tasks>{}</tasks></job_list>"
    running, waiting = job.format(7, "r", 2), job.format(7, "qw", "4-8:2,11")
    listing = f"""<?xml version='1.0'?>
<job_info><queue_info>{running}{job.format(8, "r", 1)}</queue_info>
<job_info>{waiting}{job.format(7, "Eqw", 3)}</job_info></job_info>"""
    states = read_sge_qstat(listing, "7")
    assert {number: state.kind for number, state in states.items()} == {
        2: "runs",
        3: "stuck",
        **dict.fromkeys((4, 6, 8, 11), "waits"),
    }


def test_queues_of_openpbs():
    """As qstat -t of OpenPBS prints an array, and a single job."""
    listing = """Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----
123[].head        format           me                       0 B workq
123[1].head       format           me                00:00:05 R workq
123[2].head       format           me                       0 Q workq
123[3].head       format           me                00:00:02 X workq
"""
    kinds = {number: state.kind for number, state in read_pbs_qstat(listing, "123[].head").items()}
    assert kinds == {1: "runs", 2: "waits", 3: "ended"}
    single = "124.head          train            me                       0 H workq\n"
    assert read_pbs_qstat(single, "124.head") == {SINGLE: QueueState("H", "waits")}
