"""The commands of stages 2 to 4 as processes: options, exit codes, and a job that is really killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import call as run

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.datadir import write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs

ROOT = Path(__file__).parents[2]


def command(name, *arguments):
    return [sys.executable, str(ROOT / "pyscripts" / name), *map(str, arguments)]


def make_set(path, utterances, seconds=1.0):
    """A data directory of noise in two languages, under paths with blanks and non-ASCII letters."""
    audio = path.parent / "für Töne"
    audio.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(utterances):
        soundfile.write(audio / f"{path.name} {i}.wav", rng.uniform(-0.5, 0.5, int(8000 * seconds)), 8000)
        rows.append((f"ü{i:03d}", str(audio / f"{path.name} {i}.wav")))
    write_data_dir(path, rows, table_from_pairs((key, f"l{i % 2}") for i, (key, _) in enumerate(rows)))
    return path


def format_set(source, target, *options):
    planned = run(
        "format_audio.py", "plan", "--data_dir", source, "--output_dir", target, "--num_jobs", 2, *options
    )
    assert planned.returncode == 0, planned.stderr
    for job in range(1, int(planned.stdout) + 1):
        assert run("format_audio.py", "job", "--output_dir", target, "--job", job).returncode == 0
    if int(planned.stdout):
        assert run("format_audio.py", "merge", "--output_dir", target).returncode == 0
    return int(planned.stdout)


def test_stages_2_to_4_in_the_c_locale(tmp_path):
    train, valid = make_set(tmp_path / "train", 4), make_set(tmp_path / "valid", 2)
    done = run("perturb_data_dir.py", "--factors", "0.9 1.0", train, tmp_path / "train_sp")
    assert done.returncode == 0, done.stderr
    assert format_set(tmp_path / "train_sp", tmp_path / "dump/train_sp", "--fs", "16k") == 1
    assert format_set(valid, tmp_path / "dump/valid") == 1
    assert format_set(valid, tmp_path / "dump/valid") == 0
    sets = ("--train_dir", tmp_path / "dump/train_sp", "--valid_dir", tmp_path / "dump/valid")
    done = run("collect_stats.py", *sets, "--out", tmp_path / "stats")
    assert done.returncode == 0, done.stderr
    shapes = dict(read_table(tmp_path / "stats/train/speech_shape"))
    assert shapes["ü000"] == "16000"
    assert shapes["sp0.9-ü000"] == "17778"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("perturb_data_dir.py", ["--factors", "0.9 abc", "a", "b"], "speed factors: 'abc' is not a number"),
        ("perturb_data_dir.py", ["a", "b"], "a: does not exist"),
        ("format_audio.py", ["plan", "--output_dir", "o"], "required: --data_dir"),
        (
            "format_audio.py",
            ["plan", "--output_dir", "o", "--data_dir", "none"],
            "none: does not exist",
        ),
        ("format_audio.py", ["job", "--output_dir", "o"], "missing or broken"),
        ("format_audio.py", ["job", "--output_dir", "o", "--jbo", "1"], "did you mean '--job'?"),
        ("format_audio.py", ["plan", "--output_dir", "o", "--fs", "0"], "--fs"),
        ("format_audio.py", ["plan", "--output_dir", "o", "--fs", "16x"], "--fs"),
        ("format_audio.py", ["plan", "--output_dir", "o", "--audio_format", "mp3"], "--audio_format"),
        (
            "format_audio.py",
            ["plan", "--output_dir", "o", "--max_failed", "1.5"],
            "'1.5' is not a number from 0 to 1",
        ),
        (
            "format_audio.py",
            ["plan", "--output_dir", "o", "--min_wav_duration", "-1"],
            "'-1' is not a number",
        ),
        (
            "collect_stats.py",
            ["--train_dir", "t", "--valid_dir", "v", "--out", "o"],
            "t: does not exist",
        ),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(tmp_path, monkeypatch, name, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run(name, *arguments)
    assert list(tmp_path.iterdir()) == []
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_killed_job_goes_on(tmp_path):
    source, target = make_set(tmp_path / "set", 120, seconds=10.0), tmp_path / "out"
    planned = run("format_audio.py", "plan", "--data_dir", source, "--output_dir", target)
    assert planned.stdout == "1\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    job = subprocess.Popen(command("format_audio.py", "job", "--output_dir", target), env=environment)
    first = target / ".format" / "done" / "0001.json"
    deadline = time.monotonic() + 60
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not first.with_name("0003.json").exists()
    kept = (target / "data" / "0001.flac.ark").stat().st_mtime_ns
    assert run("format_audio.py", "merge", "--output_dir", target).returncode == 2
    assert format_set(source, target) == 2  # jobs this time: parts do not depend on how many
    assert (target / "data" / "0001.flac.ark").stat().st_mtime_ns == kept
    table = read_table(target / "wav.scp")
    assert len(table) == 120
    assert all(len(read_audio(ref)[0]) == 160000 for ref in table.values())


def test_two_runs_of_a_job_at_once(tmp_path):
    source, target = make_set(tmp_path / "set", 4), tmp_path / "out"
    run("format_audio.py", "plan", "--data_dir", source, "--output_dir", target)
    holding = (
        "import time\nfrom lid_toolkit.files import locked\n"
        f"with locked({str(target / '.format/job.1')!r}, 'job 1'):\n"
        "    print(flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", holding], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        second = run("format_audio.py", "job", "--output_dir", target)
        assert second.returncode == 2
        assert "in use: job 1" in second.stderr
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
