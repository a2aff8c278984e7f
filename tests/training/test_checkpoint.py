"""Files that run nothing, damage in one line, and averages."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training.experiment import ROOT

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import average, load, load_labels, load_model, point_to, save, save_model
from lid_toolkit.training.config import default_settings, parse_config
from lid_toolkit.training.state import read_checkpoint

DESCRIPTION = parse_config(
    {
        "frontend": "default",
        "frontend_conf": {"n_mels": 20},
        "normalize": "utterance_mvn",
        "encoder": "ecapa_tdnn",
        "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
        "projector_conf": {"output_size": 8},
        "loss": "aamsoftmax_sc_topk",
    },
    "test",
).model_description()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.pth"
    save_model(file, build_model(DESCRIPTION, 3).state_dict(), DESCRIPTION, ("a", "b", "c"), 8000)
    return file


def test_a_model_comes_back_as_it_was(path, tmp_path):
    saved = load_model(path)
    assert (saved.languages, saved.rate, saved.embedding_size) == (("a", "b", "c"), 8000, 8)
    assert not saved.model.training
    save_model(tmp_path / "again.pth", saved.model.state_dict(), DESCRIPTION, saved.languages, saved.rate)
    again = load_model(tmp_path / "again.pth").model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in saved.model.state_dict().items())


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_not_run(tmp_path, write):
    write({"format": 1, "model": Malicious(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(LidError, match=r"bad\.pth: "):
        load_model(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_one_line(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(LidError, match=r"model\.pth: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text\n", b"\x80\x04junk", bytes(1000)])
def test_other_files_are_one_line(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(LidError, match=r"x\.pth: "):
        load_model(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": torch.zeros(3)}, {"format": 99}])
def test_checkpoints_of_others_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(LidError, match=r"x\.pth: "):
        load_model(tmp_path / "x.pth")


def test_weights_that_do_not_fit_are_refused(path):
    content = load(path)
    content["languages"] = ["a", "b"]
    save(path, content)
    with pytest.raises(LidError, match="weights do not fit the description"):
        load_model(path)


def test_no_file_and_a_directory(tmp_path):
    with pytest.raises(LidError, match="does not exist"):
        load(tmp_path / "none.pth")
    with pytest.raises(LidError):
        load(tmp_path)


def test_an_interrupted_save_leaves_the_last_one(path):
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        save(path, {"model": lambda: None})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.pth"]


FILL_DISK = """
import resource, sys, torch
from pathlib import Path
from lid_toolkit.training.checkpoint import save
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
save(Path(sys.argv[1]), {"a": torch.zeros(1_000_000)})
"""


def test_a_full_disk_is_one_line_and_leaves_the_last_file(path):
    before = path.read_bytes()
    command = [sys.executable, "-c", FILL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.splitlines()[-1].startswith("lid_toolkit.errors.LidError: ")
    assert "model.pth: cannot be written: File too large (free some space;" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.pth"]


def test_averages():
    states = [
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([2.0, 6.0]), "n": torch.tensor(9)},
    ]
    mean = average(states)
    assert mean["w"].tolist() == [1.5, 4.0]
    assert mean["w"].dtype == torch.float32
    assert mean["n"] == 3
    far_apart = [{"w": torch.tensor([value])} for value in (1e8, 1.0, -1e8)]
    assert average(far_apart)["w"].item() == pytest.approx(1 / 3)


def test_a_pointer_moves(tmp_path):
    for target in ("1epoch.pth", "2epoch.pth"):
        point_to(tmp_path / "best.pth", target)
        assert (tmp_path / "best.pth").readlink().name == target


def test_a_pointer_that_moves_is_there_all_the_time(tmp_path, monkeypatch):
    link, make = tmp_path / "best.pth", Path.symlink_to
    link.symlink_to("1epoch.pth")

    def symlink_to(path, target):
        make(path, target)
        assert link.readlink().name == "1epoch.pth"

    monkeypatch.setattr(Path, "symlink_to", symlink_to)
    point_to(link, "2epoch.pth")
    assert link.readlink().name == "2epoch.pth"


def test_a_checkpoint_fits_one_identity(tmp_path):
    parts = dict.fromkeys(("model", "optimizer", "scaler", "sampler", "state"))
    save(tmp_path / "checkpoint.pth", {"identity": {"seed": 1, "list noise.scp": "ab"}, **parts})
    assert read_checkpoint(tmp_path / "checkpoint.pth", {"seed": 1, "list noise.scp": "ab"})
    for identity, named in (
        ({"seed": 2, "list noise.scp": "ab"}, "seed (1 -> 2)"),
        ({"seed": 1}, "list noise.scp (ab -> None)"),
        ({"seed": 1, "list noise.scp": "ab", "lr": 3}, "lr (None -> 3)"),
    ):
        with pytest.raises(LidError, match=f": {re.escape(named)} "):
            read_checkpoint(tmp_path / "checkpoint.pth", identity)


def test_a_key_that_a_checkpoint_does_not_know_had_its_default(tmp_path):
    parts = dict.fromkeys(("model", "optimizer", "scaler", "sampler", "state"))
    save(tmp_path / "checkpoint.pth", {"identity": {"seed": 1}, **parts})
    usual = default_settings()["grad_clip"]
    assert read_checkpoint(tmp_path / "checkpoint.pth", {"seed": 1, "grad_clip": usual})
    with pytest.raises(LidError, match=r"grad_clip \(.* -> 7.0\)"):
        read_checkpoint(tmp_path / "checkpoint.pth", {"seed": 1, "grad_clip": 7.0})


def test_weights_of_espnet_are_no_model_file(tmp_path):
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "theirs.pth")
    with pytest.raises(LidError, match=r"theirs\.pth: not a model file .*; lid import imports"):
        load_labels(tmp_path / "theirs.pth")
