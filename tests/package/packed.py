"""A tiny experiment to pack, and commands on it in a process that has nothing else of the recipe."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from data.corpus import RATE, vowel
from huggingface_hub import constants

from lid_toolkit.commands.recipe.pack import policy_beside
from lid_toolkit.evaluation.answers import input_files
from lid_toolkit.models.build import build_model, with_architecture
from lid_toolkit.package.write import Packing, pack
from lid_toolkit.steps import Step
from lid_toolkit.training.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"  # the port of "discard", where nobody listens
LABELS = ("fin", "fra", "zz-klingon")
CONFIG: dict[str, Any] = {
    "frontend": "default",
    "frontend_conf": {"n_mels": 20, "hop_length": 256},
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "softmax",
}
MEASURE = {"value": 0.9375, "low": 0.5, "high": 0.99}
ROW = {"name": "French", "utterances": 8, "correct": 7, "recall": MEASURE}
RESULTS = {
    "accuracy": MEASURE,
    "macro_accuracy": {**MEASURE, "value": 0.92},
    "utterances": 16,
    "languages": 2,
    "coverage": 0.75,
    "per_language": {"fra": ROW, "fin": {**ROW, "recall": {**MEASURE, "value": 1.0}}},
    "duration_buckets": [
        {"from_s": 0.0, "to_s": 1.0, "utterances": 0, "correct": 0, "accuracy": None},
        {"from_s": 1.0, "to_s": 2.0, "utterances": 6, "correct": 6, "accuracy": MEASURE},
        {"from_s": 2.0, "to_s": None, "utterances": 10, "correct": 9, "accuracy": MEASURE},
    ],
}
SCORES = """import json, sys
from lid_toolkit import LanguageIdentifier
for source in sys.argv[2:]:
    lid = LanguageIdentifier.from_pretrained(source, "cpu")
    scores = lid.identify(sys.argv[1], vad="none").scores
    print(json.dumps([lid.languages, scores, lid.embed(sys.argv[1]).tolist()]))
"""


def write_experiment(directory: Path, config: Mapping[str, Any] = CONFIG) -> Path:
    """Write a model with random weights, its configuration, results and pictures; return the model file."""
    torch.manual_seed(3)
    model = build_model(config, len(LABELS)).train()
    for _ in range(3):
        model.embed(0.1 * torch.randn(4, 8000), torch.full((4,), 8000))
    scored = directory / "inference" / "valid.accuracy.best" / "test_x"
    (scored / "tsne_plots").mkdir(parents=True)
    (directory / "images").mkdir()
    path = directory / "valid.accuracy.best.pth"
    save_model(path, model.state_dict(), with_architecture(config, model.frontend), LABELS, RATE)
    plain = {
        **config,
        "init_param": f"{directory}/other.pth:a:b",
        "preprocessor_conf": {"noise_scp": "/n x/n.scp"},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(plain))
    (scored / "results.json").write_text(json.dumps(RESULTS))
    (scored / "results").write_text("test_x: 16 utterances\n")
    for picture in (directory / "images/loss.png", scored / "confusion.png", scored / "tsne_plots/tsne.png"):
        picture.write_bytes(b"\x89PNG" + bytes(range(256)) * 4 + picture.name.encode())
    record_results(path)
    return path


def record_results(model: Path) -> None:
    """Record, as stages 6 to 8 do, that the results beside a model are its own."""
    scored = model.parent / "inference" / "valid.accuracy.best" / "test_x"
    read = input_files(scored, scored)
    drawn = {name: scored / name for name in ("embeddings.scp", "embeddings.ark")}
    for name, inputs in (("identify", {"model": model}), ("score", read), ("tsne", read | drawn)):
        record(Step(name, scored / ".done" / f"{name}.json", inputs, {}), [])


def record(step: Step, outputs: Sequence[Path]) -> None:
    """Record a step as done."""
    with step.work("recording", lock=None) as work:
        if work is not None:
            work.finish(outputs)


def packing(model: Path, **changes: Any) -> Packing:
    """Return how an experiment of :func:`write_experiment` is packed."""
    usual: dict[str, Any] = {
        "model_file": model,
        "inference_dirs": (model.parent / "inference/valid.accuracy.best/test_x",),
        "output": model.parent / "tiny.zip",
        "repository": None,
        "licence": None,
        "datasets": ("train_x",),
        "command": f"./lid.sh --train_set train_x --lid_config {model.parent}/x.yaml",
        "policy": policy_beside(model),
    }
    return Packing(**{**usual, **changes})


def packed(model: Path, **changes: Any) -> Path:
    """Pack an experiment; return the zip."""
    how = packing(model, **changes)
    pack(how)
    return how.output


def write_speech(path: Path) -> Path:
    """Write a second of a vowel."""
    soundfile.write(path, vowel(1.0), RATE, subtype="PCM_16")
    return path


def settings(folder: Path, **environment: str) -> dict[str, str]:
    """Return an environment with the library, nothing else of the recipe, and a cache of its own."""
    library = folder / ".library"
    library.mkdir(exist_ok=True)
    if not (library / "lid_toolkit").exists():
        (library / "lid_toolkit").symlink_to(ROOT / "lid_toolkit")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        **{"PYTHONPATH": str(library), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
        **hub_settings(folder / ".hf", NOWHERE, token=""),
        **environment,
    }


def hub_settings(home: Path, url: str, token: str = "hf_writer") -> dict[str, str]:
    """Return the environment in which the Hub's client talks to an address and keeps files in ``home``."""
    return {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "HF_ENDPOINT": url, "HF_TOKEN": token}


def talk_to(patch: pytest.MonkeyPatch, home: Path, url: str, token: str = "hf_writer") -> None:
    """Give this process, whose client has read its environment already, that of :func:`hub_settings`."""
    patch.setenv("HF_TOKEN", token)
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_XET": True,
    }.items():
        patch.setattr(constants, name, value)


def run_alone(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder and in the environment of :func:`settings`."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=settings(folder, **environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def answers(folder: Path, speech: Path, *sources: str | Path, **environment: str) -> list[Any]:
    """Return labels, scores and embeddings from each source, computed in an otherwise empty folder."""
    done = run_alone(folder, "-c", SCORES, str(speech), *map(str, sources), **environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Copy a zip with its files' contents changed, and ``meta.yaml``'s checksums with them."""
    with zipfile.ZipFile(archive) as source:
        content = {name: source.read(name) for name in source.namelist()}
    before = dict(content)
    change(content)
    if content.get("meta.yaml") == before["meta.yaml"]:
        meta = yaml.safe_load(content["meta.yaml"])
        meta["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        content["meta.yaml"] = yaml.safe_dump(meta).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name, data in content.items():
            out.writestr(name, data)
    return target
