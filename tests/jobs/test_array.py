"""Kaldi's calling convention of jobs, as DESIGN section 4 states it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lid_toolkit.errors import LidError
from lid_toolkit.jobs.array import (
    JobArray,
    Resources,
    make_array,
    parse_call,
    parse_memory,
    parse_time,
    rerun_line,
)


def parse(words: Sequence[str]) -> JobArray:
    return make_array(parse_call(words), many_nodes=True)


def test_job_is_replaced_in_log_and_command():
    array = parse(["JOB=2:4", "logs/JOB/x.JOB.log", "echo", "--n=JOB", "aJOBb"])
    assert len(array) == 3
    assert str(array.log_of(3)) == "logs/3/x.3.log"
    assert array.command_of(4) == ["echo", "--n=4", "a4b"]


def test_all_options_with_hyphens_or_underscores():
    line = "--mem 4G --num_threads 2 --gpu 1 --time 90 --max-jobs-run 8 --num-nodes 2 --nice 5 J=1:2 x.J true"
    wanted = Resources(
        memory_bytes=4 * 2**30, threads=2, gpus=1, nodes=2, time_s=5400.0, max_running=8, nice=5
    )
    assert parse(line.split()).resources == wanted


def test_options_may_follow_the_range_and_the_last_of_a_kind_counts():
    array = parse(["--mem", "4G", "--num-threads", "8", "JOB=1:2", "--num-threads", "2", "x.JOB.log", "true"])
    assert (array.resources.threads, array.resources.memory_bytes) == (2, 4 * 2**30)


def test_options_of_the_submit_command_are_kept_for_it():
    """As queue.pl takes them: one value each, two for -pe, none for -V."""
    call = parse_call(["-V", "-q", "all.q", "-pe", "smp", "4", "J=1:2", "-l", "h_vmem=2G", "x.J.log", "true"])
    assert call.passed == ("-q", "all.q", "-pe", "smp", "4", "-l", "h_vmem=2G")


def test_options_after_the_log_belong_to_the_command():
    array = parse(["JOB=1:1", "x.log", "train", "--mem", "4G"])
    assert array.command_of(1) == ["train", "--mem", "4G"]
    assert array.resources == Resources()


def test_single_command_without_a_range_is_taken_as_it_is():
    array = parse(["x.log", "echo", "JOB"])
    assert len(array) == 1
    assert array.command_of(1) == ["echo", "JOB"]


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("exp/a/logs/format.JOB.log", "format"),
        ("exp/a/.log", "job"),
        ("a b.log", "a_b"),
    ],
)
def test_name_is_the_logs(log: str, name: str):
    assert parse([log, "true"]).name == name


def test_no_limit_of_memory():
    assert parse(["--mem", "0", "JOB=1:2", "x.JOB.log", "true"]).resources.memory_bytes is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--meme 4G JOB=1:2 x.JOB.log true", "did you mean '--mem'"),
        ("--mem lots JOB=1:2 x.JOB.log true", "'lots' is not a valid size"),
        ("--mem 4000 JOB=1:2 x.JOB.log true", "'4000' is not a valid size"),
        ("--time soon JOB=1:2 x.JOB.log true", "'soon' is not a valid time"),
        ("--num-threads 0 JOB=1:2 x.JOB.log true", "at least 1"),
        ("--max-jobs-run -1 JOB=1:2 x.JOB.log true", "at least 1"),
        ("--gpu", "--gpu needs a value"),
        ("JOB=0:3 x.JOB.log true", "no jobs"),
        ("JOB=3:2 x.JOB.log true", "no jobs"),
        ("JOB=1:2 x.log true", "all jobs have the same log"),
        ("JOB=1:2 x.JOB.log", "the log or the command is missing"),
        ("", "the log or the command is missing"),
    ],
)
def test_faults_are_named(line: str, message: str):
    with pytest.raises(LidError, match=message):
        parse(line.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 5400), ("1:30", 90), ("2:00:05", 7205), ("1-2", 93600), ("1-0:30", 88200)]
)
def test_durations_are_slurms(text: str, seconds: float):
    """The forms that sbatch(1) lists under ``--time``."""
    assert parse_time(text) == seconds


@given(st.integers(1, 2**20), st.sampled_from("KMGT"))
def test_memory_units_are_powers_of_1024(amount: int, unit: str):
    assert parse_memory(f"{amount}{unit}") == amount * 1024 ** (1 + "KMGT".index(unit))


def test_rerun_line_names_one_job_keeps_options_and_survives_a_shell():
    array = parse(["--mem", "4G", "JOB=1:9", "-q", "long", "a b/x.JOB.log", "echo", "it's JOB"])
    assert rerun_line("sge", array, 7) == (
        "utils/jobs.sh sge --mem 4G -q long JOB=7:7 'a b/x.JOB.log' echo 'it'\"'\"'s JOB'"
    )
