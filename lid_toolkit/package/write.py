"""Stage 9: one zip that runs anywhere, without a path of this machine and the same bytes each time."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

import lid_toolkit
from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import input_files
from lid_toolkit.files import locked, write_whole
from lid_toolkit.package.card import Facts, model_card
from lid_toolkit.package.licences import encoders, model_licence
from lid_toolkit.package.read import BLOCK, LANGUAGES, META, MODEL, PACKAGE_FORMAT, WEIGHTS, sha256
from lid_toolkit.steps import Step, digest
from lid_toolkit.training.checkpoint import SavedModel, load_model

CARD, CONFIG = "README.md", "config.yaml"
SCORED = ("results", "results.json", "confusion.png")
PICTURES = "tsne_plots/*.png"
LABELS_FORMAT = 1
WORK = ".packing"
# The directories of an absolute path within a text, with blanks escaped as in a shell.
DIRECTORIES = re.compile(r"""(?<![^\s=:,'"])~?/(?!/)(?:\\.|[^\s\\'"])*/(?=[^\s'"])""")
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
FILE_MODE = 0o644 << 16
ANSWERS = ("answers", "languages", "failures")
COMPONENTS = ("frontend", "normalize", "encoder", "pooling", "projector", "loss")


@dataclass(frozen=True)
class Packing:
    """What is packed.

    Attributes:
        model_file: the model, a file of stage 5.
        inference_dirs: stage 6's directories of the sets whose results go along.
        output: the zip.
        repository: on the Hub, as the card names it; None: the card names the zip.
        licence: an identifier of the Hub; None: the pretrained encoder's, else Apache-2.0.
        datasets: what the card says the model was trained on.
        command: what the card says trained it.
    """

    model_file: Path
    inference_dirs: tuple[Path, ...]
    output: Path
    repository: str | None
    licence: str | None
    datasets: tuple[str, ...]
    command: str

    @property
    def config(self) -> Path:
        """The training configuration beside the model."""
        return self.model_file.parent / CONFIG

    def extras(self) -> dict[str, Path]:
        """Return scores and pictures by their names in the zip."""
        found = {f"images/{path.name}": path for path in sorted(self.model_file.parent.glob("images/*.png"))}
        for directory in self.inference_dirs:
            paths = [directory / name for name in SCORED] + sorted(directory.glob(PICTURES))
            found.update(
                (f"results/{directory.name}/{path.relative_to(directory)}", path)
                for path in paths
                if path.exists()
            )
        return found


def pack(packing: Packing, dry_run: bool = False) -> None:
    """Write the zip unless it is current.

    Raises:
        LidError: no such model, results that are no results, or those of another model.
    """
    step = Step(
        name=f"pack {packing.output}",
        record=packing.output.parent / ".done" / f"pack.{packing.output.name}.json",
        inputs={"model": packing.model_file, CONFIG: packing.config, **packing.extras()},
        options={
            "repository": packing.repository,
            "licence": packing.licence,
            "datasets": list(packing.datasets),
            "command": packing.command,
            "version": lid_toolkit.__version__,
        },
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with locked(packing.output.parent, "packing"):
        if not step.due():
            return
        folder = packing.output.parent / WORK
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            saved = load_model(packing.model_file)
            for directory in packing.inference_dirs:
                check_results(directory, step.digests["model"])
            files = gather(packing, saved, folder)
            with write_whole(packing.output, "wb") as stream:
                write_zip(stream, files)
        finally:
            shutil.rmtree(folder)
        step.finish([packing.output])
    logging.info("%s: %.1f MB, %d files", packing.output, packing.output.stat().st_size / 1e6, len(files))


def gather(packing: Packing, saved: SavedModel, folder: Path) -> dict[str, Path]:
    """Write what has to be made into ``folder``; return all files of the package by their names."""
    origin = encoders(saved.description)
    facts = Facts(
        name=packing.output.stem,
        source=packing.repository or packing.output.name,
        labels=saved.languages,
        components={
            part: saved.description[part] for part in COMPONENTS if saved.description.get(part) is not None
        },
        parameters=sum(weight.numel() for weight in saved.model.parameters()),
        licence=packing.licence or model_licence(origin),
        origin=origin,
        datasets=packing.datasets,
        command=portable(packing.command),
    )
    weights = {name: tensor.contiguous().clone() for name, tensor in saved.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    texts = {
        MODEL: to_yaml({"rate": saved.rate, "description": portable(dict(saved.description))}),
        LANGUAGES: to_yaml({"version": LABELS_FORMAT, "languages": label_table(saved.languages)}),
        CONFIG: to_yaml(portable(read_config(packing.config))),
        CARD: model_card(facts, read_results(packing)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {name: folder / name for name in (*texts, WEIGHTS)} | packing.extras()
    (folder / META).write_text(to_yaml(meta(files, facts)), encoding="utf-8")
    return {**files, META: folder / META}


def meta(files: Mapping[str, Path], facts: Facts) -> dict[str, Any]:
    """Return ``meta.yaml``: the shape of ESPnet's, without its time stamp, and checksums."""
    return {
        "lid_toolkit": lid_toolkit.__version__,
        "format": PACKAGE_FORMAT,
        "files": {"lid_model_file": WEIGHTS},
        "yaml_files": {"lid_train_config": CONFIG, "lid_model": MODEL, "lid_languages": LANGUAGES},
        "torch": str(torch.__version__),
        "licence": facts.licence,
        "upstream": [asdict(encoder) for encoder in facts.origin],
        "sha256": {name: sha256(path, path.parent) for name, path in sorted(files.items())},
    }


def label_table(labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what ``languages.yaml`` says of each label: index, the corpus's and ISO 639-3's code, name."""
    rows = []
    for index, label in enumerate(labels):
        try:
            code = languages.code(label)
        except LidError:
            code = None
        name = languages.name(code or label)
        rows.append({"index": index, "label": label, "iso639_3": code, "name": name})
    return rows


def portable(value: Any) -> Any:
    """Return plain values with every absolute path in them cut to its last part."""
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str):
        return value
    return PurePath(value).name if value.startswith(("/", "~/")) else DIRECTORIES.sub("", value)


def read_config(path: Path) -> Any:
    """Return a training configuration as it lies on disk."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise LidError("no training configuration", where=path, mend="run stage 5") from error


def read_results(packing: Packing) -> dict[str, Any]:
    """Return ``results.json`` of each set that was scored, by the set's name."""
    found = {}
    for directory in packing.inference_dirs:
        path = directory / "results.json"
        if not path.exists():
            logging.warning("%s: not scored, so the card says nothing of it (stage 7)", directory)
            continue
        try:
            found[directory.name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LidError("no JSON", where=path, mend="run stage 7 again") from error
    return found


def check_results(directory: Path, model: str | None) -> None:
    """Refuse scores and pictures that are not the model's.

    What stages 6 to 8 recorded is compared by content, so an experiment may be moved or copied.

    Args:
        directory: of stage 6, for one set.
        model: digest of the model's file.

    Raises:
        LidError: another model gave the answers, nobody knows which, or they have changed since.
    """
    scored = any((directory / name).exists() for name in SCORED)
    drawn = any(directory.glob(PICTURES))
    if not scored and not drawn:
        return
    made_by = recorded(directory, "identify").get("model")
    if made_by != model:
        what = "made by another model" if made_by else "no record of the model that made this"
        raise LidError(what, where=directory, mend="run stages 6 and 7 again")
    files = input_files(directory, directory)
    answers = {name: files[name] for name in ANSWERS}
    embeddings = {name: directory / name for name in ("embeddings.scp", "embeddings.ark")}
    if scored and not reads(recorded(directory, "score"), answers):
        raise LidError("scores of other answers", where=directory, mend="run stage 7 again")
    if drawn and not reads(recorded(directory, "tsne"), answers | embeddings):
        raise LidError("a map of other embeddings", where=directory, mend="run stage 8 again")


def reads(inputs: Mapping[str, str | None], files: Mapping[str, Path]) -> bool:
    """Say whether a step read these files as they are now."""
    return all(name in inputs and inputs[name] == digest(path) for name, path in files.items())


def recorded(directory: Path, step: str) -> Mapping[str, str | None]:
    """Return the digests of what a step of this directory read, by name; none without a record."""
    try:
        record = json.loads((directory / ".done" / f"{step}.json").read_text(encoding="utf-8"))
        return dict(record["inputs"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def to_yaml(value: Any) -> str:
    """Return plain values as YAML in their own order."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def write_zip(stream: Any, files: Mapping[str, Path]) -> None:
    """Write files into a zip whose bytes depend on names and contents alone."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, path in sorted(files.items()):
            info = zipfile.ZipInfo(name, DATE)
            info.external_attr = FILE_MODE
            info.compress_type = zipfile.ZIP_DEFLATED if path.suffix in (".yaml", ".md", "", ".json") else 0
            with archive.open(info, "w", force_zip64=True) as packed:
                packed.writelines(blocks(path))


def blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's content piece by piece."""
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            yield block
