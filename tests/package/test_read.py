"""Packed models are never trusted: what is wrong is one line, nothing is run, nothing written elsewhere."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
import yaml
from package.packed import rewritten, run_alone

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import labels_of
from lid_toolkit.models import external
from lid_toolkit.package.files import unpacked
from lid_toolkit.package.format import NEEDED
from lid_toolkit.package.read import read_package
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.untrusted_text import LARGEST_YAML


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Unpack below the test's own folder, so that what is written beside it shows."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "in" / "deep"))
    yield
    assert list((tmp_path / "in" / "deep").iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


class Evil:
    """What a pickle could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(LidError, match=message) as caught:
        read_package(path)
    assert len(str(caught.value)) < 1000


def test_zip_and_folder_hold_the_model(model, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "folder")
    saved = load_model(model)
    for source in (package, tmp_path / "folder"):
        read = read_package(source)
        assert (read.languages, read.rate) == (saved.languages, saved.rate)
        assert read.description == saved.description
        assert not read.model.training
        theirs = read.model.state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in saved.model.state_dict().items())


def test_folders_of_packed_models_are_known_to_those_who_import_components():
    assert set(external.PACKED) <= set(NEEDED)


def test_labels_are_read_without_the_weights(model, package, tmp_path):
    def drop_weights(content):
        del content["model.safetensors"], content["model.yaml"]

    path = rewritten(package, tmp_path / "x.zip", drop_weights)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    for source in (package, path, tmp_path / "folder", model, model.parent):
        assert labels_of(source) == load_model(model).languages
    with (tmp_path / "folder" / "languages.yaml").open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(LidError, match=r"languages\.yaml does not match its checksum"):
        labels_of(tmp_path / "folder")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil-packed", "..\\evil"])
def test_names_that_lead_out_of_the_folder(name, package, tmp_path):
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({name: b"x"}))
    check_refused(path, "leads out of the folder")
    assert not Path("/tmp/evil-packed").exists()


def test_a_link(package, tmp_path):
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update(other=b"x"))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    check_refused(path, "'evil' is a link")


def test_a_bomb(package, tmp_path):
    bomb = bytes(300 * 2**20)
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({"model.safetensors": bomb}))
    assert path.stat().st_size < 2 * 2**20
    check_refused(path, r"x\.zip: unpacks to 314,57\d,\d{3} bytes from")


def test_a_bomb_whose_entry_lies_of_its_packed_size(package, tmp_path):
    """The directory of a zip may claim any packed size."""
    bomb = bytes(300 * 2**20)
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({"model.safetensors": bomb}))
    with zipfile.ZipFile(path) as archive:
        packed_size = archive.getinfo("model.safetensors").compress_size
    data = path.read_bytes()
    entry = data.rindex(b"model.safetensors") - 46 + 20  # the field in the central directory
    assert struct.unpack("<I", data[entry : entry + 4]) == (packed_size,)
    path.write_bytes(data[:entry] + struct.pack("<I", 2**31) + data[entry + 4 :])
    check_refused(path, "unpacks to")


def test_a_bomb_of_many_small_files(package, tmp_path):
    many = {f"images/{number}.png": bytes(2**20) for number in range(100)}
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update(many))
    read_package(path)  # unpacks none of them
    with pytest.raises(LidError, match="unpacks to"), unpacked(path):
        pass


def test_scores_of_many_languages_are_no_bomb(package, tmp_path):
    """A confusion matrix is mostly zeros, which a zip makes 500 times smaller."""
    counts = [[10 * (row == column) for column in range(601)] for row in range(600)]
    scores = json.dumps({"confusion": {"counts": counts}}, indent=1).encode()
    assert len(scores) > 50 * len(zlib.compress(scores)) + 2**20
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({"results.json": scores}))
    read_package(path)
    with unpacked(path) as folder:
        assert (folder / "results.json").read_bytes() == scores


@pytest.mark.parametrize("name", ["meta.yaml", "model.yaml", "languages.yaml", "model.safetensors"])
def test_a_missing_file(name, package, tmp_path):
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.pop(name) and None)
    check_refused(path, f"{name} is missing")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    check_refused(tmp_path / "folder", f"{name} is missing")


@pytest.mark.parametrize("name", ["model.yaml", "languages.yaml", "model.safetensors"])
def test_a_wrong_checksum(name, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "folder")
    with (tmp_path / "folder" / name).open("ab") as stream:
        stream.write(b"\n")
    check_refused(tmp_path / "folder", f"{name} does not match its checksum")


def test_a_pickle_in_place_of_weights(package, tmp_path):
    evil = pickle.dumps({"model": Evil(tmp_path / "evil")})
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({"model.safetensors": evil}))
    check_refused(path, "model.safetensors is damaged")


def bombs() -> dict[str, bytes]:
    """Return YAML that is larger, deeper, or other than what it seems."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    explosion = "\n".join([*lines, "format: *a11", "description: *a11", "rate: *a11", "languages: *a11"])
    return {
        "aliases": explosion.encode(),
        "large": b"a: " + b"x" * LARGEST_YAML,
        "deep flow": b"a: " + b"[" * 100_000,
        "deep block": b"- " * 100_000,
        "python": b"a: !!python/object/apply:os.mkdir [evil]",
        "digits": b"a: " + b"9" * 10_000,
        "time": b"a: !!timestamp x",
        "date": b"a: 2001-99-99",
        "bytes": b"\xff\xfe\xfa",
        "list": b"- a",
        "nothing": b"",
    }


@pytest.mark.parametrize("kind", bombs())
@pytest.mark.parametrize("name", ["meta.yaml", "languages.yaml"])
def test_yaml_bombs(kind, name, package, tmp_path):
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({name: bombs()[kind]}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_refused(path, f"{name} (is not valid YAML|is not a list|is larger than)|unpacks to")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "meta.yaml",
            "format",
            2,
            r"package format 2 is not supported \(this version of lid_toolkit reads format 1\)",
        ),
        ("meta.yaml", "sha256", None, "meta.yaml is incomplete"),
        ("model.yaml", "description", "x", "is incomplete"),
        ("model.yaml", "rate", "fast", "is incomplete"),
        ("languages.yaml", "languages", [1], "is incomplete"),
        ("languages.yaml", "languages", [], "the model has 0 languages"),
        ("languages.yaml", "languages", [{"label": "a"}, {"label": "b"}], "weights do not fit"),
    ],
)
def test_contents_that_make_no_model(name, key, value, message, package, tmp_path):
    def change(content):
        content[name] = yaml.safe_dump({**yaml.safe_load(content[name]), key: value}).encode()

    check_refused(rewritten(package, tmp_path / "x.zip", change), message)


@pytest.mark.parametrize(
    ("part", "value"),
    [("encoder", "os.system"), ("encoder", ["a"]), ("encoder_conf", {"evil": 1}), ("encoder_conf", "x")],
)
def test_descriptions_of_no_model(part, value, package, tmp_path):
    def change(content):
        model = yaml.safe_load(content["model.yaml"])
        model["description"][part] = value
        content["model.yaml"] = yaml.safe_dump(model).encode()

    check_refused(rewritten(package, tmp_path / "x.zip", change), "encoder|fit")


def test_what_is_no_zip(tmp_path):
    check_refused(tmp_path / "none.zip", "does not exist")
    (tmp_path / "x.zip").write_bytes(b"")
    check_refused(tmp_path / "x.zip", "damaged, or not a zip")
    (tmp_path / "x.zip").write_bytes(pickle.dumps(Evil(tmp_path / "evil")))
    check_refused(tmp_path / "x.zip", "damaged, or not a zip")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_zip_that_was_cut_off(share, package, tmp_path):
    content = package.read_bytes()
    (tmp_path / "x.zip").write_bytes(content[: int(share * len(content))])
    check_refused(tmp_path / "x.zip", "damaged, or not a zip")


def test_other_methods_of_packing(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("meta.yaml", "format: 1")
    check_refused(tmp_path / "x.zip", "is compressed by method 12")


def test_damage_anywhere_is_one_line(package, tmp_path):
    """Change bytes where the zip keeps its structure and its texts: never another exception."""

    def only_needed(content):
        for name in set(content) - set(NEEDED):
            del content[name]

    path, generator, refused = tmp_path / "x.zip", random.Random(1), 0
    content = rewritten(package, path, only_needed).read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(1000) * generator.choice((1, -1))] = generator.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            read_package(path)
        except LidError:
            refused += 1
    assert refused > 150  # a changed date or mode does no harm


def test_names_that_cannot_all_be_files(package, tmp_path):
    clash = {"a": b"x", "a/b": b"x"}
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update(clash))
    read_package(path)
    with pytest.raises(LidError, match="damaged, or not a zip"), unpacked(path):
        pass


def test_the_command_says_it_in_one_line(package, tmp_path):
    path = rewritten(package, tmp_path / "x.zip", lambda content: content.update({"../evil": b"x"}))
    entry = "from lid_toolkit.commands.main import main; main()"
    done = run_alone(tmp_path, "-c", entry, "identify", "--model", str(path), "speech.wav")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {path}: '../evil' leads out of the folder (do not use this file)\n"
