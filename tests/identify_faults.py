#!/usr/bin/env python3
"""Identify inputs of which some are broken, in twelve ways; kill the command twice and continue it.

    tests/identify_faults.py --inputs 10000

Every input must give one record, exactly the broken ones must have failed, and the records must be those of
an uninterrupted run. The tests run it with few inputs and without processes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from data.corpus import LANGUAGES, RATE, beeps

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = 40
ROUNDING = 1e-5
"""Scores depend on the batch by rounding, and batches on where a run was continued."""

Row = dict[str, str]


def write_recordings(folder: Path) -> list[str]:
    """Write recordings that many inputs share; return their names."""
    folder.mkdir(parents=True)
    names = []
    for number in range(RECORDINGS):
        names.append(f"{number:02d}.{'flac' if number % 2 else 'wav'}")
        samples = 6000 + 200 * number
        soundfile.write(folder / names[-1], beeps(LANGUAGES[number % 3], samples, number), RATE)
    return names


def write_broken_files(folder: Path) -> None:
    """Write the broken recordings."""
    whole = (folder / "00.wav").read_bytes()
    (folder / "empty.wav").touch()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "text.wav").write_text("not audio")
    (folder / "folder.wav").mkdir()
    (folder / "truncated.flac").write_bytes((folder / "01.flac").read_bytes()[:200])
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan, np.float32), RATE, subtype="FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), RATE)


BROKEN_ROWS: tuple[Callable[[str], str], ...] = (
    lambda key: f"empty.wav,,,{key}\n",
    lambda key: f"missing.wav,,,{key}\n",
    lambda key: f"truncated.wav,,,{key}\n",
    lambda key: f"text.wav,,,{key}\n",
    lambda key: f"folder.wav,,,{key}\n",
    lambda key: f"truncated.flac,,,{key}\n",
    lambda key: f"nan.wav,,,{key}\n",
    lambda key: f"none.wav,,,{key}\n",
    lambda key: f"00.wav,0,99,{key}\n",
    lambda key: f"00.wav,soon,,{key}\n",
    lambda key: f'"00.wav,,,{key}\n',
    lambda key: f"00.wav,{key}\n",
)
"""Rows of a table that cannot be identified. In two of them, the last ones, the id cannot be read either."""


def write_table(folder: Path, names: Sequence[str], inputs: int, one_in: int) -> tuple[Path, set[int]]:
    """Write a table in which one of ``one_in`` rows is broken; return it and the numbers of these rows."""
    table, broken = folder / "table.csv", set()
    with open(table, "w", newline="") as stream:
        stream.write("path,start,end,id\n")
        for number in range(inputs):
            key = f"u{number:06d}"
            if number % one_in == one_in // 2:
                stream.write(BROKEN_ROWS[len(broken) % len(BROKEN_ROWS)](key))
                broken.add(number)
            elif number % 7:
                stream.write(f"{names[number % len(names)]},,,{key}\n")
            else:
                stream.write(f"{names[number % len(names)]},0.01,0.36,{key}\n")
    return table, broken


def write_shard(folder: Path, names: Sequence[str], inputs: int, one_in: int) -> tuple[Path, set[int]]:
    """Write a tar shard in which one of ``one_in`` members is broken."""
    shard, broken = folder / "shard.tar", set()
    with tarfile.open(shard, "w") as archive:
        for number in range(inputs):
            name = names[number % len(names)]
            member = tarfile.TarInfo(f"{number:06d}{Path(name).suffix}")
            content = (folder / name).read_bytes()
            if number % one_in == one_in // 2:
                broken.add(number)
                if len(broken) % 2:
                    member.type, member.linkname, content = tarfile.SYMTYPE, "/etc/passwd", b""
                else:
                    content = content[: len(content) // 3]
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            label = tarfile.TarInfo(f"{number:06d}.cls")
            label.size = 1
            archive.addfile(label, io.BytesIO(b"0"))
    return shard, broken


def write_inputs(folder: Path, inputs: int, one_in: int) -> tuple[list[str], set[int]]:
    """Write a table and a shard; return the words that name them, and the numbers of broken inputs."""
    names = write_recordings(folder)
    write_broken_files(folder)
    rows = inputs * 3 // 4
    table, broken = write_table(folder, names, rows, one_in)
    shard, broken_members = write_shard(folder, names, inputs - rows, one_in)
    return [str(table), str(shard)], broken | {rows + number for number in broken_members}


def read(output: Path) -> list[dict]:
    """Return the records of a file."""
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def differences(rows: Sequence[dict], expected: Sequence[dict]) -> list[str]:
    """Return how records differ from those expected."""
    if len(rows) != len(expected):
        return [f"{len(rows)} records instead of {len(expected)}"]
    found = []
    for row, other in zip(rows, expected, strict=True):
        exact = ("id", "status", "language", "duration", "windows", "reason", "vad")
        found += [f"{row['id']}: {name}" for name in exact if row[name] != other[name]]
        scores = {label: row["scores"].get(label, 9.0) - score for label, score in other["scores"].items()}
        if any(abs(difference) > ROUNDING for difference in scores.values()):
            found.append(f"{row['id']}: scores")
    return found


def faults(rows: Sequence[dict], inputs: int, broken: set[int]) -> list[str]:
    """Return what is wrong with the records of a run."""
    failed = {number for number, row in enumerate(rows) if row["status"] == "failed"}
    found = [] if len(rows) == inputs else [f"{len(rows)} records of {inputs} inputs"]
    found += [f"record {number}: failed without reason" for number in failed - broken]
    return found + [f"record {number}: broken, but identified" for number in broken - failed]


def killed_runs(command: Sequence[str], output: Path, inputs: int, kills: int) -> None:
    """Kill the command after more and more records, and tear the last line each time."""
    for kill in range(kills):
        process = subprocess.Popen([*command, *(["--resume"] if kill else [])], stderr=subprocess.DEVNULL)
        wanted = inputs * (kill + 1) // (kills + 1)
        while process.poll() is None and lines_in(output) < wanted:
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit(f"the command ended with {process.returncode} before it was killed")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with open(output, "a", encoding="utf-8") as stream:
            stream.write('{"id": "torn')
        print(f"killed after {lines_in(output)} records", flush=True)


def lines_in(path: Path) -> int:
    """Return the number of lines of a file that may not exist yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def straight_run(command: Sequence[str], output: Path, broken: int) -> list[str]:
    """Run the command without interruption; return what is wrong with its messages and its exit code."""
    done = subprocess.run([*command, str(output)], stderr=subprocess.PIPE, text=True, check=False)
    lines = done.stderr.splitlines()
    print(*(line for line in lines if not line.startswith("error:")), sep="\n", flush=True)
    named = sum(line.startswith("error: ") for line in lines) - 1
    found = [] if done.returncode == 2 else [f"exit code {done.returncode}"]
    return found if named == broken else [*found, f"{named} of {broken} failures named"]


def main() -> None:
    """Write the inputs, run the command, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--model", required=True)
    parser.add_argument("--folder", type=Path, help="keep all files; a second call only kills again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        straight, killed = folder / "straight.jsonl", folder / "killed.jsonl"
        shutil.rmtree(folder / "in", ignore_errors=True)
        killed.unlink(missing_ok=True)
        words, broken = write_inputs(folder / "in", options.inputs, one_in=100)
        lid = [sys.executable, "-m", "lid_toolkit.commands", "identify", *words, "--model", options.model]
        lid += ["--vad", "none", "--device", "cpu", "--output"]
        found = [] if straight.exists() else straight_run(lid, straight, len(broken))
        found += faults(read(straight), options.inputs, broken)
        killed_runs([*lid, str(killed)], killed, options.inputs, options.kills)
        last = subprocess.run([*lid, str(killed), "--resume"], stderr=subprocess.DEVNULL, check=False)
        found += differences(read(killed), read(straight))
        found += [] if last.returncode == 2 else [f"exit code {last.returncode}"]
        print(*found, f"{len(broken)} of {options.inputs} inputs broken, {len(found)} faults", sep="\n")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
