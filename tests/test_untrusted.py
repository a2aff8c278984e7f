"""The same attacks on every kind of model from a stranger: folder, Hub's cache, zip, tar, compressed tar."""

from __future__ import annotations

import io
import os
import pickle
import resource
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import ForeignModel
from lid_toolkit.untrusted import Untrusted
from lid_toolkit.untrusted_text import LARGEST_YAML

KINDS = ("folder", "repository", "zip", "nemo", "compressed nemo")
ARCHIVES = KINDS[2:]
GOOD = {"config.yaml": b"a: 1\n", "deep/er/text": "größer\n".encode()}
Edit = Callable[[tarfile.TarInfo], None]


def packed(kind: str, place: Path, files: dict[str, bytes]) -> Path:
    """Write files as a kind of model."""
    if kind == "folder":
        for name, data in files.items():
            (place / "m" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "m" / name).write_bytes(data)
        return place / "m"
    if kind == "repository":
        snapshot = place / "models--me--lid" / "snapshots" / "abc"
        blobs = place / "models--me--lid" / "blobs"
        blobs.mkdir(parents=True)
        for number, (name, data) in enumerate(files.items()):
            (blobs / str(number)).write_bytes(data)
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).symlink_to(os.path.relpath(blobs / str(number), (snapshot / name).parent))
        return snapshot
    if kind == "zip":
        with zipfile.ZipFile(place / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return place / "m.zip"
    with tarfile.open(place / "m.nemo", "w:gz" if kind == "compressed nemo" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}" if name in GOOD else name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return place / "m.nemo"


def link(kind: str, path: Path, target: str) -> None:
    """Add a link named ``evil`` to a model, or a pipe if there is no target."""
    if kind in KINDS[:2]:
        (path / "evil").symlink_to(target)
    elif kind == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            entry = zipfile.ZipInfo("evil")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
    else:
        info = tarfile.TarInfo("evil")
        info.type, info.linkname = tarfile.SYMTYPE, target
        with tarfile.open(path, "w:gz" if kind == "compressed nemo" else "w") as tar:
            tar.addfile(info)


def refusal(read: Callable[[], object]) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LidError) as caught:
        read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # kB
    said = str(caught.value)
    assert len(said) < 800
    assert "\n" not in said
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_good_is_read(kind, tmp_path):
    model = Untrusted(packed(kind, tmp_path, GOOD))
    assert model.names() == ["config.yaml", "deep/er/text"]
    assert model.yaml("config.yaml") == {"a": 1}
    assert model.text("deep/er/text") == "größer\n"
    assert (model.find("text"), model.find("none")) == ("deep/er/text", None)
    with model.unpacked() as folder:
        assert (folder / "deep/er/text").read_bytes() == GOOD["deep/er/text"]
    with model.unpacked(["config.yaml"]) as folder:
        assert (folder / "config.yaml").read_bytes() == b"a: 1\n"
    assert "none is missing" in refusal(lambda: model.text("none"))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil-untrusted", "..\\evil", "a\nb"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_names_that_lead_out(kind, name, tmp_path):
    path = packed(kind, tmp_path, {**GOOD, name: b"x"})
    assert "leads out of the folder" in refusal(lambda: Untrusted(path).text("config.yaml"))
    assert not Path("/tmp/evil-untrusted").exists()
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../etc/passwd"])
@pytest.mark.parametrize("kind", KINDS)
def test_links(kind, target, tmp_path):
    path = packed(kind, tmp_path, GOOD)
    link(kind, path, "/etc/passwd" if kind in KINDS[:2] else target)
    assert "evil" in (said := refusal(lambda: Untrusted(path).text("evil")))
    assert "is a link" in said


@pytest.mark.parametrize("kind", ["zip", "compressed nemo"])
def test_bombs(kind, tmp_path):
    path = packed(kind, tmp_path, {**GOOD, "bomb": bytes(200 * 2**20)})
    assert path.stat().st_size < 2**20

    def read() -> None:
        with Untrusted(path).unpacked(["bomb"]):
            pass

    assert "unpacks to" in refusal(read)


def test_many_small_files_are_a_bomb_together(tmp_path):
    """Each alone is within the limit of its archive."""
    files = {f"small/{number}": bytes(2**21) for number in range(40)}
    path = packed("zip", tmp_path, {**GOOD, **files})
    with Untrusted(path).unpacked(["small/0"]):
        pass

    def read() -> None:
        with Untrusted(path).unpacked(list(files)):
            pass

    assert "unpacks to" in refusal(read)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_too_large_or_no_texts(kind, tmp_path):
    noise = os.urandom(LARGEST_YAML // 2).hex().encode()  # shrinks by half, so it is no bomb
    path = packed(kind, tmp_path, {"large": b"a: " + noise, "bytes": b"\xff\xfe"})
    assert "large is larger than" in refusal(lambda: Untrusted(path).yaml("large"))
    assert "large is larger than" in refusal(lambda: Untrusted(path).json("large"))
    assert "bytes is not UTF-8" in refusal(lambda: Untrusted(path).text("bytes"))


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_name_that_is_there_twice(kind, tmp_path):
    """Another reader might take the other file."""
    path = packed(kind, tmp_path, GOOD)
    if kind == "zip":
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("config.yaml", b"a: 2\n")
    else:
        with tarfile.open(path, "w:gz" if kind == "compressed nemo" else "w") as tar:
            for _ in range(2):
                tar.addfile(tarfile.TarInfo("config.yaml"))
    assert "'config.yaml' is there twice" in refusal(lambda: Untrusted(path).yaml("config.yaml"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_were_cut_off(kind, share, tmp_path):
    path = packed(kind, tmp_path, {"a": os.urandom(30_000), "b": os.urandom(30_000)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    def read() -> None:
        with Untrusted(path).unpacked():
            pass

    assert "damaged, or not a" in refusal(read)


@pytest.mark.parametrize("kind", ["folder", "repository", "nemo", "compressed nemo"])
def test_pipes_and_devices(kind, tmp_path):
    path = packed(kind, tmp_path, GOOD)
    if path.is_dir():
        os.mkfifo(path / "evil")
    else:
        info = tarfile.TarInfo("evil")
        info.type = tarfile.FIFOTYPE
        with tarfile.open(path, "w:gz" if kind == "compressed nemo" else "w") as tar:
            tar.addfile(info)
    assert "not a" in refusal(lambda: Untrusted(path).text("evil"))


def yaml_bombs() -> dict[str, bytes]:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return {
        "aliases": "\n".join(lines).encode(),
        "itself": b"a: &a [*a]",
        "deep flow": b"a: " + b"[" * 100_000,
        "deep block": b"- " * 100_000,
        "python": b"a: !!python/object/apply:os.mkdir [evil]",
        "list": b"- a",
    }


@pytest.mark.parametrize("bomb", yaml_bombs())
@pytest.mark.parametrize("kind", KINDS)
def test_yaml_bombs(kind, bomb, tmp_path):
    path = packed(kind, tmp_path, {"x.yaml": yaml_bombs()[bomb], "y": os.urandom(9000)})
    assert "x.yaml is not" in refusal(lambda: Untrusted(path).yaml("x.yaml"))


def test_few_aliases_are_no_bomb(tmp_path):
    path = packed("folder", tmp_path, {"x.yaml": b"a: &a [1, 2]\nb: *a\n"})
    assert Untrusted(path).yaml("x.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"[1]", b'{"a": ' * 50_000])
@pytest.mark.parametrize("kind", KINDS)
def test_json_that_is_deep_or_damaged(kind, content, tmp_path):
    path = packed(kind, tmp_path, {"x.json": content, "y": os.urandom(9000)})
    assert "x.json is not" in refusal(lambda: Untrusted(path).json("x.json"))


class Evil:
    """What a pickle could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_hold_code_or_lie_about_their_header(kind, tmp_path):
    evil = pickle.dumps({"a": Evil(tmp_path / "ran")})
    long = struct.pack("<Q", 2**62) + b"{}"
    past = b'{"a":{"dtype":"F32","shape":[4000000000,4000000000],"data_offsets":[0,8]}}'
    lying = struct.pack("<Q", len(past)) + past + bytes(8)
    files = {"x.pth": evil, "long.safetensors": long, "lying.safetensors": lying, "evil.safetensors": evil}
    model = ForeignModel(packed(kind, tmp_path, files))
    for name in files:
        assert f"{name} is damaged, or holds more than tensors" in refusal(
            lambda name=name: model.weights(name)
        )
    assert not (tmp_path / "ran").exists()


def test_what_is_no_archive(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    (tmp_path / "x.nemo").write_bytes(b"hello")
    assert "damaged, or not a zip" in refusal(lambda: Untrusted(tmp_path / "x").names())
    assert "damaged, or not a tar" in refusal(lambda: Untrusted(tmp_path / "x.nemo").names())
    assert "does not exist" in refusal(lambda: Untrusted(tmp_path / "none").names())
