"""Components from outside: the documentation's example, what is refused, and what is never run."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lid_toolkit import LanguageIdentifier
from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.models.external import ENVIRONMENT, EVERY
from lid_toolkit.package.write import Packing, pack
from lid_toolkit.training.checkpoint import load_model, save_model
from lid_toolkit.training.config import parse_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding_a_component.md").read_text(encoding="utf-8")
PACKAGE, LANGUAGES = "my_package", ("deu", "eng", "fra")
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = {title or kind: text for kind, title, text in BLOCK.findall(PAGE)}
SETTINGS = yaml.safe_load(CODE["yaml"])
TRAP = "raise SystemExit('code of a packed model was run')\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write the page's package, importable, and forget it afterwards."""
    folder = tmp_path / "site" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "site" / f"{PACKAGE}/encoders.py").write_text(CODE[f"{PACKAGE}/encoders.py"])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE, "other_package")]:
        del sys.modules[name]


@pytest.fixture
def experiment(package, tmp_path):  # noqa: ARG001 - which must be importable
    """Save a model with the page's encoder as a training does."""
    config = parse_config(SETTINGS, "page")
    torch.manual_seed(0)
    model = build_model(config.model_description(), len(LANGUAGES), EVERY)
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    path = folder / "valid.accuracy.best.pth"
    save_model(path, model.state_dict(), config.model_description(), LANGUAGES, 16000)
    return path


@pytest.fixture
def packed(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, PACKAGE)
    output = tmp_path / "model.zip"
    pack(
        Packing(
            model_file=experiment,
            inference_dirs=(),
            output=output,
            repository=None,
            licence=None,
            datasets=(),
            command="train",
        )
    )
    monkeypatch.delenv(ENVIRONMENT)
    return output


@pytest.mark.usefixtures("package")
def test_the_example_gives_the_same_answer_in_any_batch():
    model = build_model(parse_config(SETTINGS, "page").model_description(), 3, EVERY).eval()
    assert model.encoder.output_size == 2 * 128
    waves = torch.randn(2, 4000)
    lengths = torch.tensor([4000, 1234])
    with torch.no_grad():
        together, alone = model.embed(waves, lengths), model.embed(waves[1:, :1234], lengths[1:])
    assert torch.allclose(together[1], alone[0], atol=1e-5)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"unit": 3}, "encoder_conf: unknown argument 'unit' of encoder .*did you mean 'units'"),
        ({"units": 0}, "encoder_conf: units: Input should be greater than 0"),
        ({"input_size": 3}, "unknown argument 'input_size'"),
    ],
)
def test_arguments_are_checked(conf, message):
    with pytest.raises(LidError, match=message):
        build_model({**SETTINGS, "encoder_conf": conf}, 3, EVERY)


FAULTY = """
import torch
from torch import nn

def factory(input_size: int): return nn.Identity()
class NoSize(nn.Module):
    def __init__(self, input_size: int) -> None: super().__init__()
    def forward(self, feats, lengths): return feats, lengths
class Untyped(nn.Module):
    def __init__(self, input_size: int, units=3) -> None: super().__init__()
class Unusable(nn.Module):
    def __init__(self, input_size: int, units: "Nowhere" = 3) -> None: super().__init__()
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_package.encoder:GruEncoder", "Python module my_package.encoder is not installed"),
        ("no_such_package:GruEncoder", "Python module no_such_package is not installed"),
        ("my_package.encoders:GrueEncoder", "has no GrueEncoder .did you mean 'GruEncoder'"),
        ("my_package.faulty:factory", "not a class derived from torch.nn.Module"),
        ("os:system", "'os:system' is not a class derived from torch.nn.Module"),
        (
            "my_package.faulty:NoSize",
            "encoder: 'my_package.faulty:NoSize' cannot be used: it has no output_size .Encoder in",
        ),
        ("my_package.faulty:Untyped", "parameter units of Untyped has no type that can be checked"),
        ("my_package.faulty:Unusable", "types of Unusable's parameters cannot be checked"),
        ("my_package.broken:Encoder", "importing my_package.broken failed: ZeroDivisionError"),
        ("my_package.encoders:GruEncoder:x", "write package.module:Class"),
        ("../my_package:GruEncoder", "write package.module:Class"),
        (":GruEncoder", "write package.module:Class"),
    ],
)
def test_faults_are_one_line(package, name, message):
    (package / "faulty.py").write_text(FAULTY)
    (package / "broken.py").write_text("1 / 0\n")
    with pytest.raises(LidError, match=message) as caught:
        build_model({**SETTINGS, "encoder": name, "encoder_conf": {}}, 3, EVERY)
    assert "\n" not in str(caught.value)


def test_the_parts_of_fused_front_ends_can_come_from_outside(package):
    (package / "frontends.py").write_text(
        "from lid_toolkit.models.frontends.sliding_window import SlidingWindowFrontend as Own\n"
    )
    parts = [{"frontend_type": "my_package.frontends:Own"}, {"frontend_type": "default"}]
    settings = {**SETTINGS, "frontend": "fused", "frontend_conf": {"frontends": parts}}
    assert build_model(settings, 3, EVERY).frontend.hop_length == 32
    forget()
    with pytest.raises(LidError, match="my_package is not allowed"):
        build_model(settings, 3)


def test_model_files_and_packed_models_import_only_what_is_allowed(experiment, packed):
    wave = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    names: dict[str, object] = {"model": packed}
    exec(CODE["use"], names)
    lid = names["lid"]
    assert isinstance(lid, LanguageIdentifier)
    own = LanguageIdentifier.from_pretrained(experiment, external=[PACKAGE])
    assert lid.identify(wave, vad="none").scores == own.identify(wave, vad="none").scores
    forget()
    for source in (packed, experiment, experiment.parent):
        for external in ((), ("other_package",), ("my_packag",)):
            with pytest.raises(LidError, match=r"my_package is not allowed .*external=.'my_package'"):
                LanguageIdentifier.from_pretrained(source, external=external)
    assert PACKAGE not in sys.modules


def test_packages_can_be_allowed_by_the_environment(experiment, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "other_package, my_package")
    assert load_model(experiment).model.encoder.output_size == 256


def test_a_packed_model_holds_a_name_and_no_code(packed):
    with zipfile.ZipFile(packed) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".py", ".pyc", ".so"))]
        described = yaml.safe_load(archive.read("model.yaml"))["description"]
    assert described["encoder"] == "my_package.encoders:GruEncoder"


def test_a_package_that_is_not_installed_is_named(packed, package, monkeypatch):
    forget()
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(package.parent)])
    with pytest.raises(LidError, match=r"Python module my_package is not installed .*install the package"):
        LanguageIdentifier.from_pretrained(packed, external=[PACKAGE])


@pytest.mark.parametrize("form", ["package", "namespace", "module"])
@pytest.mark.parametrize("place", ["folder", "zip"])
def test_nothing_is_imported_from_a_packed_model(packed, place, form, tmp_path, monkeypatch):
    """As if Python were started where a packed model was unpacked, or with a zip on its path."""
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    files = {"package": "/__init__.py", "module": ".py", "namespace": "/encoders.py"}
    code = PACKAGE + files[form]
    (folder / code).parent.mkdir(exist_ok=True)
    (folder / code).write_text(TRAP)
    source = folder
    if place == "zip":
        source = tmp_path / "with_code.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in folder.rglob("*.*"):
                archive.write(path, path.relative_to(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not Path(entry, PACKAGE).exists()])
    monkeypatch.chdir(folder)
    for entry in (str(source), ""):
        monkeypatch.syspath_prepend(entry)
    with pytest.raises(LidError, match="lies in a packed model or an archive"):
        LanguageIdentifier.from_pretrained(source, external=[PACKAGE])
