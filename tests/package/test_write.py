"""Packing: the same bytes from the same input, no path of the machine, everything that a model needs."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from evaluation.written_set import write_set
from models.pretrained_encoders import save_tiny
from package.packed import (
    CONFIG,
    LABELS,
    answers,
    packed,
    packing,
    record,
    record_results,
    run_alone,
    write_experiment,
    write_speech,
)
from safetensors.torch import load_file

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.score import score
from lid_toolkit.evaluation.tsne import plot_tsne
from lid_toolkit.files import locked
from lid_toolkit.inference.identification import Identification
from lid_toolkit.inference.locate import open_model
from lid_toolkit.package.files import sha256
from lid_toolkit.package.licences import PretrainedEncoder, encoders, licence_of, model_licence
from lid_toolkit.package.write import pack, portable, write_zip


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(model, package, tmp_path):
    there = tmp_path / "récipe 語 dir" / model.parent.name
    shutil.copytree(model.parent, there, ignore=shutil.ignore_patterns("*.zip", "pack.*"))
    escaped = str(there).replace(" ", r"\ ")  # as lid.sh does
    again = packed(there / model.name, command=packing(model).command.replace(str(model.parent), escaped))
    assert again.read_bytes() == package.read_bytes()


def test_bytes_of_a_zip_depend_on_names_and_contents_alone(tmp_path):
    files = {name: tmp_path / name for name in ("b.yaml", "a.png", "c.md")}
    for name, path in files.items():
        path.write_text(name * 100)
    streams = io.BytesIO(), io.BytesIO()
    write_zip(streams[0], files)
    os.utime(files["a.png"], (1, 1))
    write_zip(streams[1], dict(reversed(files.items())))
    assert streams[0].getvalue() == streams[1].getvalue()


def test_no_file_names_a_path_of_the_machine(model, package):
    with zipfile.ZipFile(package) as archive:
        for info in archive.infolist():
            content = archive.read(info)
            assert str(model.parent.parent).encode() not in content, info.filename
            assert b"/n x/" not in content, info.filename
            assert (info.date_time, info.create_system) == ((1980, 1, 1, 0, 0, 0), 3)
        config = yaml.safe_load(archive.read("config.yaml"))
    assert config["init_param"] == "other.pth:a:b"
    assert config["preprocessor_conf"] == {"noise_scp": "n.scp"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("--lid_config /data/x/a.yaml --n 1", "--lid_config a.yaml --n 1"),
        (r"--lid_args --p\ /data/my\ x/mms/", r"--lid_args --p\ mms/"),
        ("--a=/b/c.yaml '~/d/e' f/g/h", "--a=c.yaml 'e' f/g/h"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("/data/my x/a.scp", "a.scp"),
        ({"a": ["~/b/c", 1, None]}, {"a": ["c", 1, None]}),
    ],
)
def test_absolute_paths_lose_their_directories(text, wanted):
    assert portable(text) == wanted


def test_files_and_what_they_say(model, package):
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
        meta, labels = (yaml.safe_load(archive.read(name)) for name in ("meta.yaml", "languages.yaml"))
        weights = archive.read("model.safetensors")
    pictures = {"images/loss.png", "results/test_x/confusion.png", "results/test_x/tsne_plots/tsne.png"}
    results = {"results/test_x/results", "results/test_x/results.json"}
    texts = {"README.md", "config.yaml", "languages.yaml", "meta.yaml", "model.yaml"}
    assert names == {*texts, *results, *pictures, "model.safetensors"}
    assert set(meta["sha256"]) == names - {"meta.yaml"}
    assert meta["yaml_files"]["lid_train_config"] == "config.yaml"
    assert (meta["format"], meta["licence"], meta["upstream"]) == (1, "apache-2.0", [])
    assert labels["version"] == 1
    assert labels["languages"][1] == {"index": 1, "label": "fra", "iso639_3": "fra", "name": "French"}
    assert labels["languages"][2]["iso639_3"] is None
    (model.parent / "w").write_bytes(weights)
    saved = torch.load(model, weights_only=True)["model"]
    ours = load_file(model.parent / "w")
    assert ours.keys() == saved.keys()
    assert all(torch.equal(ours[name], saved[name]) for name in saved)


def test_a_current_zip_is_left_alone_and_a_stale_one_renewed(tmp_path):
    model = write_experiment(tmp_path / "lid_own")
    how = packing(model)
    pack(how, dry_run=True)
    assert not how.output.exists()
    before = packed(model).stat().st_mtime_ns
    assert packed(model).stat().st_mtime_ns == before
    (model.parent / ".packing").mkdir()  # what a killed run left
    (model.parent / "images" / "loss.png").write_bytes(b"another")
    assert packed(model).stat().st_mtime_ns > before
    assert packed(model, repository="me/lid").stat().st_size
    assert b"me/lid" in zipfile.ZipFile(how.output).read("README.md")
    assert sorted(path.name for path in model.parent.glob(".packing*")) == []


def test_what_is_missing_is_named_and_nothing_is_left(tmp_path):
    model = write_experiment(tmp_path / "lid_own")
    scored = model.parent / "inference/valid.accuracy.best/test_x"
    with locked(model.parent, "training"), pytest.raises(LidError, match="in use: training"):
        packed(model)
    (scored / "results.json").write_text("{")
    with pytest.raises(LidError, match=r"results\.json: not valid JSON \(run scoring again\)"):
        packed(model)
    (scored / "results.json").unlink()
    (model.parent / "config.yaml").unlink()
    with pytest.raises(LidError, match=r"config\.yaml: missing or damaged \(run training again\)"):
        packed(model)
    model.write_bytes(b"no model")
    with pytest.raises(LidError, match="damaged"):
        packed(model)
    assert not list(model.parent.glob("*.zip")) + list(model.parent.glob(".packing*"))


def test_a_set_that_was_not_scored_is_left_out(tmp_path, caplog):
    model = write_experiment(tmp_path / "lid_own")
    shutil.rmtree(model.parent / "inference")
    with zipfile.ZipFile(packed(model)) as archive:
        assert "This model has not been scored." in archive.read("README.md").decode()
    assert "not scored, so the model card leaves it out" in caplog.text


def test_scores_of_another_model_or_of_older_answers_are_refused(tmp_path):
    model = write_experiment(tmp_path / "lid_own")
    truth = {"a": "fin", "b": "fra"}
    made = write_set(tmp_path, truth, truth, LABELS, {})
    how = packing(model, inference_dirs=(made.inference_dir,))
    score(made.data_dir, made.inference_dir)
    with pytest.raises(
        LidError, match=r"test_x: no record of the model that made these results \(run identification"
    ):
        pack(how)
    assert not how.output.exists()
    record(Identification(model, made.data_dir, made.inference_dir).step, [made.answers])
    pack(how)
    assert "| accuracy | 100.00 %" in card_of(how.output)

    content, before = torch.load(model, weights_only=True), how.output.read_bytes()
    next(iter(content["model"].values())).add_(1)
    torch.save(content, model)
    pack(how, dry_run=True)  # stages 6 and 7 may be about to run
    with pytest.raises(LidError, match=r"test_x: results of another model \(run identification again\)"):
        pack(how)
    write_table(made.answers, {"a": "fin", "b": "fin"}.items())
    record(Identification(model, made.data_dir, made.inference_dir).step, [made.answers])
    with pytest.raises(
        LidError, match=r"test_x: the answers changed after they were scored \(run scoring again\)"
    ):
        pack(how)
    assert how.output.read_bytes() == before
    score(made.data_dir, made.inference_dir)
    pack(how)
    assert "| accuracy | 50.00 %" in card_of(how.output)


def test_a_map_of_another_models_embeddings_is_refused(tmp_path):
    model = write_experiment(tmp_path / "lid_own")
    truth = {f"{label}{number}": label for label in LABELS for number in range(3)}
    made = write_set(tmp_path, truth, truth, LABELS, {})
    how = packing(model, inference_dirs=(made.inference_dir,))
    record(Identification(model, made.data_dir, made.inference_dir).step, [made.answers])
    score(made.data_dir, made.inference_dir)
    plot_tsne(made.data_dir, made.inference_dir, 2.0, 250, 9)
    pack(how)
    (made.inference_dir / "embeddings.ark").write_bytes(b"of the same answers")
    model.with_name("config.yaml").write_text("{}")
    with pytest.raises(
        LidError, match=r"test_x: the embeddings changed after the t-SNE map was drawn \(run t-SNE again\)"
    ):
        pack(how)


def card_of(package: Path) -> str:
    with zipfile.ZipFile(package) as archive:
        return archive.read("README.md").decode()


def test_feature_statistics_travel_without_their_file(tmp_path, speech):
    config = {**CONFIG, "normalize": "global_mvn", "normalize_conf": {"stats_file": "/gone/feats_stats.npz"}}
    model = write_experiment(tmp_path / "lid_mvn", config)
    content = torch.load(model, weights_only=True)
    content["model"]["normalize.mean"] += 1.5
    torch.save(content, model)
    record_results(model)
    package = packed(model)
    assert b"/gone" not in zipfile.ZipFile(package).read("model.yaml")
    alone = tmp_path / "alone"
    alone.mkdir()
    ours, theirs = answers(alone, speech, model, package)
    assert ours == theirs
    assert float(open_model(package).model.normalize.mean[0]) == pytest.approx(1.5)


def test_samples_are_packed_checked_and_named_in_the_card(tmp_path):
    model = write_experiment(tmp_path / "lid_own")
    sample = write_speech(tmp_path / "fin.wav")
    address = "https://example.org/fra.wav"
    with zipfile.ZipFile(packed(model, samples=(str(sample), address))) as archive:
        assert archive.read("samples/fin.wav") == sample.read_bytes()
        assert "- src: samples/fin.wav" in archive.read("README.md").decode()
        assert f"- src: {address}" in archive.read("README.md").decode()
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "long.wav", np.zeros(61 * 8000), 8000)
    for samples, message in (
        ([tmp_path / "none.wav"], r"none\.wav: does not exist"),
        ([tmp_path / "text.wav"], r"text\.wav"),
        ([tmp_path / "long.wav"], "lasts 61 s, longer than 60 s"),
        ([sample, write_speech(tmp_path / "other" / "fin.wav")], "two samples are called fin.wav"),
    ):
        with pytest.raises(LidError, match=message):
            packed(model, samples=tuple(map(str, samples)))


def test_an_unknown_licence_is_asked_for(tmp_path):
    folder = save_tiny(tmp_path / "encoders", "xlsr")
    conf = {"path_or_url": str(folder), "layers": [1, 3]}
    model = write_experiment(tmp_path / "lid", {**CONFIG, "frontend": "transformers", "frontend_conf": conf})
    with pytest.raises(LidError, match=r"the licence of xlsr is unknown: see its page \(give --licence"):
        packed(model)
    with zipfile.ZipFile(packed(model, licence="other")) as archive:
        assert yaml.safe_load(archive.read("meta.yaml"))["licence"] == "other"


def test_a_pretrained_encoder_travels_without_its_folder(tmp_path, speech):
    folder = save_tiny(tmp_path / "encoders", "xlsr")
    config = {
        **CONFIG,
        "frontend": "transformers",
        "frontend_conf": {"path_or_url": str(folder), "layers": [1, 3]},
    }
    model = write_experiment(tmp_path / "lid_xlsr", config)
    package = packed(model, licence="other")
    shutil.rmtree(folder)
    alone = tmp_path / "alone"
    alone.mkdir()
    ours, theirs = answers(alone, speech, model, package)
    assert ours == theirs
    assert ours[0] == list(LABELS)
    meta = yaml.safe_load(zipfile.ZipFile(package).read("meta.yaml"))
    assert meta["upstream"] == [{"name": "xlsr", "revision": None, "licence": "other"}]


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("facebook/mms-1b", "cc-by-nc-4.0"),
        ("facebook/wav2vec2-xls-r-300m", "apache-2.0"),
        ("facebook/wav2vec2-large-100k-voxpopuli", "cc-by-nc-4.0"),
        ("openai/whisper-base", "apache-2.0"),
        ("openai/whisper-large-v3-turbo", "mit"),
        ("somebody/mms-1b", "other"),
    ],
)
def test_licences_of_encoders(name, licence):
    assert licence_of(name) == licence


def test_encoders_of_every_kind_of_front_end():
    own = {"path_or_url": "facebook/mms-1b", "architecture": {"revision": "abc"}}
    nested = {"frontend_conf": {"path_or_url": "/data/hubert/"}, "architecture": {}}
    assert encoders({"frontend": "default"}) == encoders({"frontend_conf": None}) == []
    assert encoders({"frontend_conf": own}) == [PretrainedEncoder("facebook/mms-1b", "abc", "cc-by-nc-4.0")]
    fused = {"frontend_conf": {"frontends": [own, nested]}}
    assert encoders(fused) == [
        PretrainedEncoder("facebook/mms-1b", "abc", "cc-by-nc-4.0"),
        PretrainedEncoder("hubert", None, "other"),
    ]
    licences = [model_licence(each) for each in ({"frontend_conf": own}, fused, {"frontend": "default"})]
    assert licences == ["cc-by-nc-4.0", "other", "apache-2.0"]
    assert model_licence({"frontend_conf": own, "licence": "mit"}) == "mit"
    assert model_licence({"frontend_conf": own, "licence": "evil\n# title"}) == "cc-by-nc-4.0"


def test_the_command(model, tmp_path):
    script = str(Path(__file__).resolve().parents[2] / "pyscripts/pack.py")
    words = ("--model", str(model), "--output", str(tmp_path / "x.zip"), "--command", "./lid.sh")
    done = run_alone(tmp_path, script, *words, "--hf_license", "mit", "--hf_repo", "")
    assert done.returncode == 0, done.stderr
    meta = yaml.safe_load(zipfile.ZipFile(tmp_path / "x.zip").read("meta.yaml"))
    assert meta["licence"] == "mit"
    assert meta["sha256"]["config.yaml"] != sha256(model.parent / "config.yaml")
    done = run_alone(tmp_path, script, "--model", "none.pth", *words[2:])
    assert done.returncode == 2
    assert "error: none.pth: does not exist (run stage 5 again or give another file)\n" in done.stderr
