"""pyscripts/import_data.py as a user calls it."""

from __future__ import annotations

import numpy as np
import soundfile
from commands import call


def run(*options):
    return call("import_data", *options)


def test_a_folder_becomes_a_data_directory(tmp_path):
    for label in ("de", "fr"):
        (tmp_path / "in" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / label / "a.wav", np.full(8000, 0.1), 8000)
    done = run("--folder", tmp_path / "in", "--output_dir", tmp_path / "data/mine")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/mine/utt2lang").read_text() == "deu_a deu\nfra_a fra\n"
    assert "German" in done.stdout


def test_faults_are_one_line(tmp_path):
    for options, fault in (
        ((), "one of the arguments --folder --manifest is required"),
        (("--manifest", tmp_path / "no.csv"), "no.csv: does not exist"),
        (("--folder", tmp_path, "--max_failed", "2"), "is not a number from 0 to 1"),
        (("--folder", tmp_path, "--columns", "speakr=who"), "unknown field 'speakr'"),
        (("--folder", tmp_path, "--columns", "speaker=who"), "has no manifest, so there are no columns"),
        (("--manifest", tmp_path / "no.csv", "--speakers", "false"), "--speakers belongs to --folder"),
    ):
        done = run(*options, "--output_dir", tmp_path / "out")
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert fault in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
