"""Configurations of backends, in the format of Kaldi's conf/queue.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.jobs.config import Machine, read_config

# The default that Kaldi's slurm.pl has built in, line by line as its users know it.
KALDI = """# Default configuration
command sbatch --export=PATH  -S /bin/bash   # a comment
option time=* --time $0
option mem=* --mem-per-cpu $0
option mem=0          # Do not add anything to qsub_opts
option num_threads=* --cpus-per-task $0 --ntasks-per-node=1
option num_threads=1 --cpus-per-task 1  --ntasks-per-node=1
default gpu=0
option gpu=0 -p shared
option gpu=* -p gpu --gres=gpu:$0 --time 4:0:0
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "x.conf"
    path.write_text(text)
    return path


def test_kaldis_own_configuration(tmp_path: Path):
    config = read_config(write(tmp_path, KALDI))
    assert config.command == ("sbatch", "--export=PATH", "-S", "/bin/bash")
    assert config.defaults == {"gpu": "0"}
    assert config.options == ["gpu", "mem", "num_threads", "time"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mem": "4G"}, ["--mem-per-cpu", "4G"]),
        ({"mem": "0"}, []),
        ({"num_threads": "1"}, ["--cpus-per-task", "1", "--ntasks-per-node=1"]),
        (
            {"gpu": "2", "num_threads": "8"},
            ["--cpus-per-task", "8", "--ntasks-per-node=1", "-p", "gpu", "--gres=gpu:2", "--time", "4:0:0"],
        ),
        ({"gpu": "0"}, ["-p", "shared"]),
    ],
)
def test_one_value_wins_over_any_and_the_files_order_holds(
    tmp_path: Path, values: dict[str, str], words: list[str]
):
    assert read_config(write(tmp_path, KALDI)).words_for(values) == words


def test_quoted_words_and_hyphens_in_names(tmp_path: Path):
    config = read_config(write(tmp_path, "command qsub\noption my-queue=* -q '$0 with blank'\n"))
    assert config.words_for({"my_queue": "a"}) == ["-q", "a with blank"]


def test_option_that_no_line_explains(tmp_path: Path):
    with pytest.raises(LidError, match=r"x.conf: --num-nodes 2 is not defined \(add: option num_nodes=\* "):
        read_config(write(tmp_path, KALDI)).words_for({"num_nodes": "2"})


def test_machines_of_ssh(tmp_path: Path):
    config = read_config(write(tmp_path, "command ssh -p 22\nmachine a 16 2\nmachine me@b 4\n"))
    assert config.machines == (Machine("a", 16, 2), Machine("me@b", 4, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the submit command is missing"),
        ("command\n", "x.conf:1: 'command' is not valid"),
        ("command qsub\noption mem --mem $0\n", "x.conf:2: 'option mem"),
        ("command qsub\ndefault gpu\n", "x.conf:2"),
        ("command qsub\nopton gpu=0\n", "x.conf:2: 'opton gpu=0' is not valid"),
        ("command ssh\nmachine a many\n", "x.conf:2"),
        ("command qsub 'open\n", "x.conf:1: cannot be parsed"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(LidError, match=message):
        read_config(write(tmp_path, text))


def test_missing_file_and_a_folder(tmp_path: Path):
    for path in (tmp_path / "none.conf", tmp_path):
        with pytest.raises(LidError, match="cannot be read"):
            read_config(path)


@pytest.mark.parametrize("name", ["slurm", "sge", "pbs", "ssh"])
def test_configurations_of_the_recipe_can_be_read(name: str):
    assert read_config(Path(__file__).resolve().parents[2] / "conf" / f"{name}.conf").command
