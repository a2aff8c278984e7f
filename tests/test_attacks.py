"""One list of attacks on every kind of model that may come from a stranger, as its user would load it."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import pickle
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from importers import onnx_files
from importers.onnx_files import exported_graph, exported_model, moments_model, node, tensor, with_metadata
from importers.test_onnx import hostile, little_memory
from package.conftest import model, package
from test_untrusted import Evil, link, packed

from lid_toolkit import LanguageIdentifier
from lid_toolkit.errors import LidError
from lid_toolkit.package.onnx_format import OnnxRecord
from lid_toolkit.untrusted_text import LARGEST_YAML

__all__ = ["little_memory", "model", "package"]

NEMO = Path(__file__).resolve().parent / "fixtures" / "nemo" / "tiny.nemo"
RECORD = OnnxRecord("1", ("fin", "fra", "zz-klingon"), 8000, 2, "float32", {}, "other", model="of another")
PACKED = ("folder", "repository", "zip", "zip with ONNX")
KINDS = (*PACKED, "nemo", "ONNX with labels", "exported ONNX")
ARCHIVES = ("zip", "zip with ONNX", "nemo")
DEEP = "[" * 100_000
PASSWORDS = "/etc/passwd"


@dataclass
class Case:
    """A model of a kind, as files that an attack changes before they are written, and the path after it."""

    kind: str
    place: Path
    files: dict[str, bytes]
    after: list[Callable[[Path], None]] = field(default_factory=list)

    @property
    def is_packed(self) -> bool:
        return self.kind in PACKED

    @property
    def weights(self) -> str:
        if self.kind == "zip with ONNX":
            return "model.onnx"
        return "model.safetensors" if self.is_packed else self._other("model_weights.ckpt")

    @property
    def settings(self) -> str:
        """The first file that is read."""
        return "meta.yaml" if self.is_packed else self._other("model_config.yaml")

    def _other(self, of_nemo: str) -> str:
        return of_nemo if self.kind == "nemo" else "x.onnx"

    def write(self) -> Path:
        """Write the model; return its path."""
        if self.is_packed:
            sums = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
            with_sums = yaml.safe_load(self.files["meta.yaml"]) if self.settings not in self.changed else None
            if with_sums is not None:
                self.files["meta.yaml"] = yaml.safe_dump({**with_sums, "sha256": sums}).encode()
            path = packed(self.kind.partition(" ")[0], self.place, self.files)
        elif self.kind == "nemo":
            path = packed("compressed nemo", self.place, self.files)
        else:
            for name, data in self.files.items():
                (self.place / name).write_bytes(data)
            path = self.place / "x.onnx"
        for change in self.after:
            change(path)
        return path

    changed: set[str] = field(default_factory=set)

    def put(self, name: str, data: bytes) -> None:
        """Replace a file."""
        self.files[name] = data
        self.changed.add(name)

    def folder(self, path: Path) -> Path:
        return path if path.is_dir() else path.parent

    def load(self, path: Path) -> LanguageIdentifier:
        """Load the model as its user would."""
        backend = "onnx" if self.kind in ("zip with ONNX", "exported ONNX") else "torch"
        return LanguageIdentifier.from_pretrained(path, "cpu", threads=1, backend=backend)


def good(kind: str, place: Path, package: Path) -> Case:
    """Return a model of a kind in which nothing is wrong."""
    if kind in PACKED:
        with zipfile.ZipFile(package) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith(".png")}
        if kind == "zip with ONNX":
            files["model.onnx"] = exported_model(RECORD)
        return Case(kind, place, files)
    if kind == "nemo":
        with tarfile.open(NEMO) as tar:
            members = [(info.name.removeprefix("./"), tar.extractfile(info)) for info in tar if info.isfile()]
            return Case(kind, place, {name: stream.read() for name, stream in members if stream})
    if kind == "exported ONNX":
        return Case(kind, place, {"x.onnx": exported_model(RECORD)})
    return Case(kind, place, {"x.onnx": moments_model(3), "labels.txt": b"fin\nfra\njav\n"})


def name_that_leads_out(case: Case) -> str:
    case.put("../evil", b"x")
    return "leads out of the folder"


def link_that_leads_out(case: Case) -> str:
    if case.kind in ARCHIVES:
        case.after.append(
            lambda path: link("compressed nemo" if case.kind == "nemo" else "zip", path, PASSWORDS)
        )
        return "is a link"
    name = "labels.txt" if case.kind == "ONNX with labels" else case.settings

    def replace_by_link(path: Path) -> None:
        (case.folder(path) / name).unlink()
        (case.folder(path) / name).symlink_to(PASSWORDS)

    case.after.append(replace_by_link)
    return "is a link that leads out of the folder"


def pipe(case: Case) -> str:
    if case.kind == "nemo":
        info = tarfile.TarInfo("model_weights.ckpt")
        info.type = tarfile.FIFOTYPE

        def rewrite(path: Path) -> None:
            with tarfile.open(path, "w") as tar:
                tar.addfile(info)

        case.after.append(rewrite)
        return "is not a plain file"
    name = "labels.txt" if case.kind == "ONNX with labels" else case.settings

    def replace_by_pipe(path: Path) -> None:
        (case.folder(path) / name).unlink()
        os.mkfifo(case.folder(path) / name)

    case.after.append(replace_by_pipe)
    return "is not a file"


def bomb(case: Case) -> str:
    if case.kind in ARCHIVES:
        case.put(case.weights, bytes(60 * 2**20))
        return "unpacks to"
    if case.is_packed:
        content = yaml.safe_load(case.files["model.yaml"])
        content["description"]["encoder_conf"]["ndim"] = 200_000
        case.put("model.yaml", yaml.safe_dump(content).encode())
        return "much larger than its weights"
    if case.kind == "ONNX with labels":
        case.put("x.onnx", onnx_files.bomb())
    else:
        size, unit = tensor("size", onnx_files.np.array([2**32])), node("ReduceMean", ["z"], ["embeddings"])
        nodes = [node("ConstantOfShape", ["size"], ["z"]), unit, node("ReduceSum", ["z"], ["log_posteriors"])]
        case.put("x.onnx", with_metadata(exported_graph(nodes, [size], RECORD), RECORD.to_metadata()))
    return "is smaller than requested bytes of 17179869184"


def broken_header(case: Case) -> str:
    if case.weights.endswith(".onnx"):
        content = hostile()["a tensor that lies about its size"][0]
        if case.kind != "ONNX with labels":
            content = with_metadata(content, RECORD.to_metadata())
        case.put(case.weights, content)
        return "onnxruntime cannot load the model"
    case.put(case.weights, struct.pack("<Q", 2**62) + b"{}")
    return "is damaged"


def cut_off(case: Case) -> str:
    if case.kind in ARCHIVES:
        case.after.append(lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]))
        return "damaged, or not a"
    case.put(case.weights, case.files[case.weights][: len(case.files[case.weights]) // 2])
    return "not an ONNX model: a" if case.weights.endswith(".onnx") else "is damaged"


def numbers_elsewhere(case: Case) -> str:
    """The model names a place outside it that would be read, or asked."""
    if case.weights.endswith(".onnx"):
        content = hostile()["another file"][0]
        case.put(case.weights, with_metadata(content, RECORD.to_metadata()))
        return "its weights are in another file"
    content = yaml.safe_load(case.files["model.yaml"])
    content["description"]["frontend"] = "transformers"
    content["description"]["frontend_conf"] = {"path_or_url": "../../evil"}
    case.put("model.yaml", yaml.safe_dump(content).encode())
    return "names a place outside the package"


def changed_record(case: Case, text: str) -> None:
    """Give an exported model other metadata."""
    content = exported_model(RECORD)
    bare = content[: len(content) - len(with_metadata(b"", RECORD.to_metadata()))]
    case.put(case.weights, with_metadata(bare, {"lid_toolkit": text}))


def is_exported(case: Case) -> bool:
    return case.kind in ("zip with ONNX", "exported ONNX")


def deep_metadata(case: Case) -> str:
    if is_exported(case):
        changed_record(case, DEEP)
        return "its metadata are damaged: too many levels"
    if case.kind == "ONNX with labels":
        case.put("x.onnx", hostile()["deep"][0])
        return "more than 30 levels"
    case.put(case.settings, f"a: {DEEP}".encode())
    return "is not valid YAML: more than 20 levels"


def huge_metadata(case: Case) -> str:
    noise = os.urandom(LARGEST_YAML).hex()  # so that it is no bomb
    if is_exported(case):
        changed_record(case, json.dumps({"format": 1, "toolkit": noise}))
        return "its metadata are damaged: more than"
    if case.kind == "ONNX with labels":
        case.put("labels.txt", noise.encode())
        return "labels.txt is larger than"
    case.put(case.settings, f"a: {noise}".encode())
    return "is larger than"


def metadata_of_another_type(case: Case) -> str:
    if is_exported(case):
        changed_record(case, "[1]")
        return "its metadata are damaged: not an object"
    if case.kind == "ONNX with labels":
        case.put("labels.txt", b"\xff\xfe\n\x00")
        return "labels.txt is not UTF-8"
    case.put(case.settings, b"- a")
    return "is not a list of 'key: value' lines"


def labels_that_mean_harm(case: Case) -> str:
    evil = ["fin", "\x1b[2J", "fra"]
    if is_exported(case):
        content = json.loads(RECORD.to_metadata()["lid_toolkit"])
        changed_record(case, json.dumps({**content, "languages": evil}))
    elif case.kind == "ONNX with labels":
        case.put("labels.txt", "\n".join(evil).encode())
    elif case.kind == "nemo":
        content = yaml.safe_load(case.files["model_config.yaml"])
        changed = copy.deepcopy(content)
        labels = changed["train_ds"]["labels"]
        labels[1] = evil[1]
        case.put("model_config.yaml", yaml.safe_dump(changed).encode())
    else:
        case.put("languages.yaml", yaml.safe_dump({"languages": [{"label": one} for one in evil]}).encode())
    return "is not a label"


def code(case: Case) -> str:
    """Weights that are a pickle with a command; for ONNX, an operator that only a library could have."""
    if case.weights.endswith(".onnx"):
        content = hostile()["an unknown operator"][0]
        case.put(case.weights, with_metadata(content, RECORD.to_metadata()))
        return "onnxruntime cannot load the model"
    case.put(case.weights, pickle.dumps({"a": Evil(case.place / "ran")}))
    return "is damaged"


ATTACKS: dict[str, Callable[[Case], str]] = {
    "a name that leads out": name_that_leads_out,
    "a link that leads out": link_that_leads_out,
    "a pipe": pipe,
    "a bomb": bomb,
    "a broken header": broken_header,
    "cut off": cut_off,
    "numbers elsewhere": numbers_elsewhere,
    "deep metadata": deep_metadata,
    "huge metadata": huge_metadata,
    "metadata of another type": metadata_of_another_type,
    "labels that mean harm": labels_that_mean_harm,
    "code": code,
}
IMPOSSIBLE = {
    ("a name that leads out", "folder"): "a file system has no such names",
    ("a name that leads out", "repository"): "a file system has no such names",
    ("a name that leads out", "ONNX with labels"): "no names but that of numbers elsewhere",
    ("a name that leads out", "exported ONNX"): "no names but that of numbers elsewhere",
    ("a link that leads out", "exported ONNX"): "one file, which its user names",
    ("a pipe", "zip"): "zipfile makes plain files of all members",
    ("a pipe", "zip with ONNX"): "zipfile makes plain files of all members",
    ("numbers elsewhere", "nemo"): "nothing in its configuration that is read names a place",
}
"""Pairs that do not exist, and why."""
PAIRS = [pair for pair in itertools.product(ATTACKS, KINDS) if pair not in IMPOSSIBLE]


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_model_of_each_kind_is_loaded(kind, package, tmp_path):
    case = good(kind, tmp_path, package)
    assert len(case.load(case.write()).languages) > 1


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(("attack", "kind"), PAIRS)
def test_attack(attack, kind, package, tmp_path):
    inner = tmp_path / "a/b"  # so that a file beside or above the model is still in the test's directory
    inner.mkdir(parents=True)
    case = good(kind, inner, package)
    message = ATTACKS[attack](case)
    path = case.write()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LidError) as caught:
        case.load(path)
    said = str(caught.value)
    assert message in said
    assert "\n" not in said
    assert len(said) < 800
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # kB
    assert not list(tmp_path.rglob("ran"))
    assert not list(tmp_path.rglob("evil")) or attack == "a link that leads out"


def test_metadata_that_are_there_twice_or_are_no_text(tmp_path):
    path = tmp_path / "x.onnx"
    record = RECORD.to_metadata()
    for more, message in (
        (with_metadata(b"", record), "'lid_toolkit' is there twice"),
        (onnx_files.field(14, onnx_files.field(1, b"\xff")), "can't decode byte"),
        (onnx_files.field(14, onnx_files.field(1, 7)), "a number in place of a text"),
    ):
        path.write_bytes(exported_model(RECORD) + more)
        with pytest.raises(LidError, match=message):
            LanguageIdentifier.from_pretrained(path, "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": [1]},
        {"policy": {"min_score": "high"}},
        {"policy": {"calibration": {"scale": float("inf")}}},
        {"licence": 7},
        {"toolkit": "\x1b[2J"},
        {"pretrained": "mine"},
        {"model": 3},
        {"rate": -1},
        {"embedding_size": 10**30},
        {"embedding_size": "2"},
        {"languages": ["a", "a"]},
        {"languages": "ab"},
        {"scale": 5.0},
        {"more": 1},
        {"format": 99},
    ],
)
def test_values_of_the_metadata_of_an_exported_model(changes, tmp_path):
    case = Case("exported ONNX", tmp_path, {})
    content = json.loads(RECORD.to_metadata()["lid_toolkit"])
    changed_record(case, json.dumps({**content, **changes}))
    with pytest.raises(LidError) as caught:
        case.load(case.write())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_graph_that_gives_other_sizes_than_its_metadata_say(tmp_path):
    content = exported_model(RECORD)
    bare = content[: len(content) - len(with_metadata(b"", RECORD.to_metadata()))]
    other = replace(RECORD, languages=(*RECORD.languages, "deu"))
    (tmp_path / "x.onnx").write_bytes(with_metadata(bare, other.to_metadata()))
    with pytest.raises(LidError, match=r"of shapes \(1, 3\) and \(1, 2\), not those of its metadata"):
        LanguageIdentifier.from_pretrained(tmp_path / "x.onnx", "cpu")


def test_onnxruntimes_own_format_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\x08\x00\x00\x00ORTM" + bytes(64))
    with pytest.raises(LidError, match="onnxruntime's own format"):
        LanguageIdentifier.from_pretrained(tmp_path / "x.onnx", "cpu")


def test_every_pair_is_tested_or_has_a_reason():
    assert len(PAIRS) + len(IMPOSSIBLE) == len(ATTACKS) * len(KINDS)
