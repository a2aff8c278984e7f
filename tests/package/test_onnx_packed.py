"""The exported model in a packed model: the same answers without PyTorch, never another model's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import call
from data.corpus import RATE
from hub.hub_server import Repository, serving
from importers.onnx_files import exported_model, moments_model, moments_scores
from package.packed import LABELS, hub_settings, packed, packing, rewritten, settings, write_experiment
from without_torch import BLOCK_TORCH

from lid_toolkit import LanguageIdentifier
from lid_toolkit.commands import languages
from lid_toolkit.errors import LidError
from lid_toolkit.hub.upload import upload
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.package.onnx_format import OnnxRecord
from lid_toolkit.package.policy import replace_policy
from lid_toolkit.package.write import pack
from lid_toolkit.steps import digest

POLICY = DecisionPolicy(calibration=Calibration(scale=0.5), min_score=0.4, fallback="fra")
ANSWERS = (
    BLOCK_TORCH
    + """import json
import soundfile
from lid_toolkit import LanguageIdentifier
from lid_toolkit.commands.main import dispatch
for source in sys.argv[2:]:
    lid = LanguageIdentifier.from_pretrained(source, "cpu", backend="onnx")
    print(json.dumps([lid.languages, lid.identify(sys.argv[1], vad="none").scores]))
model = ["--model", sys.argv[2], "--backend", "onnx", sys.argv[1]]
dispatch(["identify", *model, "--vad", "none", "--output", "a.jsonl"])
dispatch(["embed", *model, "--output", "a.npz"])
dispatch(["segment", *model, "--vad", "none"])
"""
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An experiment with a policy, and ``model.onnx`` beside it, which says that it is of this model."""
    model = write_experiment(tmp_path_factory.mktemp("exported") / "lid_tiny")
    POLICY.to_yaml(model.parent / "policy.yaml")
    (model.parent / "model.onnx").write_bytes(exported_model(record_of(model)))
    return model


def record_of(model: Path) -> OnnxRecord:
    return OnnxRecord("1", LABELS, RATE, 2, "float32", {}, "apache-2.0", model=digest(model))


@pytest.fixture(scope="module")
def both(exported) -> Path:
    """The same, packed with the ONNX file."""
    return packed(exported, onnx=exported.parent / "model.onnx", output=exported.parent / "both.zip")


def wave() -> np.ndarray:
    return np.random.default_rng(0).normal(size=RATE).astype(np.float32) / 10


def expected(samples: np.ndarray, scale: float) -> np.ndarray:
    """Return the posteriors of the exported model, calibrated."""
    scaled = scale * moments_scores(samples, len(LABELS))
    return np.exp(scaled) / np.exp(scaled).sum()


def test_every_source_gives_the_answers_of_the_graph_with_the_policy_of_the_package(both, exported, tmp_path):
    with zipfile.ZipFile(both) as archive:
        archive.extractall(tmp_path / "folder")
    for source in (both, tmp_path / "folder", exported.parent):
        lid = LanguageIdentifier.from_pretrained(source, "cpu", backend="onnx")
        assert (lid.languages, lid.policy) == (LABELS, POLICY)
        record = lid.identify(wave(), vad="none")
        scores = [record.scores[label] for label in LABELS]
        assert scores == pytest.approx(expected(wave(), 0.5), abs=1e-6)
    torch = LanguageIdentifier.from_pretrained(both, "cpu")
    assert (torch.languages, torch.policy) == (LABELS, POLICY)
    assert list(torch.identify(wave(), vad="none").scores.values()) != pytest.approx(
        sorted(scores, reverse=True)
    )


def test_another_policy_in_the_package_is_the_one_that_counts(both, tmp_path):
    path = shutil.copy(both, tmp_path / "x.zip")
    replace_policy(Path(path), {"calibration": {"scale": 2.0}})
    record = LanguageIdentifier.from_pretrained(path, "cpu", backend="onnx").identify(wave(), vad="none")
    assert [record.scores[label] for label in LABELS] == pytest.approx(expected(wave(), 2.0), abs=1e-6)


def test_without_torch_from_a_zip_a_folder_and_the_hub(both, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", wave(), RATE, subtype="FLOAT")
    with zipfile.ZipFile(both) as archive:
        archive.extractall(tmp_path / "folder")
    with serving() as hub:
        files = {
            p.relative_to(tmp_path / "folder").as_posix(): p.read_bytes()
            for p in (tmp_path / "folder").rglob("*")
            if p.is_file()
        }
        hub.repositories["me/lid"] = Repository(private=False, files=files)
        command = [sys.executable, "-c", ANSWERS, "a.wav", str(both), "folder", "me/lid"]
        environment = settings(tmp_path, **hub_settings(tmp_path / "hf", hub.url))
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()[:3]]
    for labels, scores in found:
        assert tuple(labels) == LABELS
        assert [scores[label] for label in LABELS] == pytest.approx(expected(wave(), 0.5), abs=1e-6)
    record = json.loads((tmp_path / "a.jsonl").read_text())
    assert record["scores"] == pytest.approx(found[0][1], abs=1e-6)
    assert np.load(tmp_path / "a.npz")["embeddings"].shape == (1, 2)
    assert not list((tmp_path / "hf").rglob("model.safetensors"))  # not needed, so not downloaded


def test_the_card_and_the_checksums_know_it(both):
    with zipfile.ZipFile(both) as archive:
        assert "model.onnx" in archive.namelist()
        assert "model.onnx:" in archive.read("meta.yaml").decode()
        card = archive.read("README.md").decode()
    assert 'from_pretrained("both.zip", backend="onnx")' in card
    assert "`model.onnx` (float32)" in card


def test_an_export_of_another_model_is_refused_by_name(exported, tmp_path):
    stale, foreign = tmp_path / "stale.onnx", tmp_path / "foreign.onnx"
    stale.write_bytes(exported_model(replace(record_of(exported), model="another")))
    foreign.write_bytes(moments_model(3))
    unknown = tmp_path / "unknown.onnx"
    unknown.write_bytes(exported_model(replace(record_of(exported), model=None)))
    for path, message in (
        (stale, r"stale\.onnx: was not exported from valid\.accuracy\.best\.pth"),
        (unknown, "was not exported from"),
        (foreign, "an ONNX file of another origin"),
        (tmp_path / "none.onnx", r"none\.onnx is missing"),
    ):
        how = packing(exported, onnx=path, output=tmp_path / "x.zip")
        with pytest.raises(LidError, match=message):
            pack(how)
        assert not how.output.exists()


def test_a_package_is_renewed_when_its_export_changes(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(exported_model(record_of(exported)))
    how = packing(exported, onnx=path, output=tmp_path / "x.zip")
    pack(how)
    path.write_bytes(exported_model(replace(record_of(exported), numbers="int8 dynamic")))
    pack(how)
    assert "(int8 dynamic)" in zipfile.ZipFile(how.output).read("README.md").decode()


def test_a_package_whose_export_was_replaced_or_is_not_there(both, exported, tmp_path):
    def load(path: Path) -> None:
        LanguageIdentifier.from_pretrained(path, "cpu", backend="onnx")

    folder = tmp_path / "folder"
    with zipfile.ZipFile(both) as archive:
        archive.extractall(folder)
    (folder / "model.onnx").write_bytes(exported_model(replace(record_of(exported), numbers="int8 static")))
    with pytest.raises(LidError, match=r"model\.onnx does not match its checksum"):
        load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(LidError, match=r"model\.onnx is missing"):
        load(folder)

    def other_languages(content: dict[str, bytes]) -> None:
        other = replace(record_of(exported), languages=("a", "b", "c"))
        content["model.onnx"] = exported_model(other)

    with pytest.raises(LidError, match=r"model\.onnx has other languages than the packed model"):
        load(rewritten(both, tmp_path / "x.zip", other_languages))
    with pytest.raises(LidError, match=r"has no exported model \(model\.onnx\)"):
        load(packed(exported, output=tmp_path / "without.zip"))


def test_an_upload_carries_it_and_a_later_one_without_it_removes_it(both, exported, tmp_path, monkeypatch):
    from package.packed import talk_to

    with serving() as hub:
        talk_to(monkeypatch, tmp_path / "hf", hub.url)
        upload(both, "me/lid", private=True)
        sent = hub.repositories["me/lid"].files
        assert {"model.onnx", "policy.yaml"} <= set(sent)
        lid = LanguageIdentifier.from_pretrained("me/lid", "cpu", backend="onnx")
        assert lid.identify(wave(), vad="none").scores["fin"] == pytest.approx(
            expected(wave(), 0.5)[0], abs=1e-6
        )
        upload(packed(exported, output=tmp_path / "x.zip", policy=None), "me/lid", private=True)
        assert not {"model.onnx", "policy.yaml"} & set(hub.repositories["me/lid"].files)


def test_a_repository_without_a_package_is_refused(tmp_path, monkeypatch):
    from package.packed import talk_to

    with serving() as hub:
        talk_to(monkeypatch, tmp_path / "hf", hub.url)
        hub.repositories["me/other"] = Repository(private=False, files={"config.json": b"{}"})
        with pytest.raises(LidError, match="holds no packed model"):
            LanguageIdentifier.from_pretrained("me/other", "cpu", backend="onnx")


def test_languages_of_an_exported_file_need_no_onnxruntime(exported, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    languages.main(["--model", str(exported.parent / "model.onnx")])
    assert capsys.readouterr().out.split("\n")[0] == "fin\tFinnish"


def test_the_command(exported, tmp_path):
    words = ["--model", exported, "--output", tmp_path / "x.zip", "--command", "./lid.sh"]
    done = call("pack", *words, "--onnx", exported.parent / "model.onnx")
    assert done.returncode == 0, done.stderr
    assert "model.onnx" in zipfile.ZipFile(tmp_path / "x.zip").namelist()
