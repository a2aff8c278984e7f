"""Pack a trained model into one zip that works on any machine.

The same experiment gives the same bytes, and no path of this machine is left in them.
:mod:`lid_toolkit.package.format` describes the layout.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

import torch
import yaml
from safetensors.torch import save_file

import lid_toolkit
from lid_toolkit.audio.reader import audio_info
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import input_files
from lid_toolkit.files import write_whole
from lid_toolkit.package.card import Facts, model_card
from lid_toolkit.package.files import sha256
from lid_toolkit.package.format import (
    CARD,
    CONFIG,
    IMAGES,
    LANGUAGES,
    META,
    MODEL,
    MODEL_ONNX,
    POLICY,
    RESULTS,
    WEIGHTS,
    Description,
    Labels,
    Meta,
    without_places,
)
from lid_toolkit.package.licences import UNKNOWN, encoders, model_licence
from lid_toolkit.package.onnx_format import read_record
from lid_toolkit.steps import Step, digest, recorded
from lid_toolkit.training.checkpoint import SavedModel, load_model
from lid_toolkit.untrusted import BLOCK

SCORED = ("results", "results.json", "confusion.png")
PICTURES = "tsne_plots/*.png"
WORK = ".packing"
# The directories of an absolute path inside a text. Spaces in it are escaped as in a shell. For example
# "/data/my\ x/" in "--conf /data/my\ x/a.yaml"; the "//" of "https://example.org/a" is not matched.
DIRECTORIES = re.compile(r"""(?<![^\s=:,'"])~?/(?!/)(?:\\.|[^\s\\'"])*/(?=[^\s'"])""")
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can store
FILE_MODE = 0o644 << 16
ANSWERS = ("answers", "languages", "failures")
SAMPLES = "samples"
LONGEST_SAMPLE_S = 60
"""Seconds of a sample; it is downloaded by everyone who looks at the card."""
CARD_COMPONENTS = ("frontend", "normalize", "encoder", "pooling", "projector", "loss")


@dataclass(frozen=True)
class Packing:
    """The settings for packing a model.

    Attributes:
        model_file: the trained model, in its experiment directory.
        inference_dirs: the identified sets whose scores and pictures are packed.
        output: the zip to write.
        repository: the repository on the Hub that the card's example loads; None for the zip.
        licence: an identifier of the Hub; None for what an imported model states, else that of the pretrained
            encoder, else Apache-2.0.
        datasets: training data, for the card.
        command: the training command, for the card.
        policy: content of ``policy.yaml``, which is not checked here; None for the default policy.
        onnx: the same model as a file of ``lid export --format onnx``; None for none.
        samples: recordings to try the model with: files, which are packed, or addresses.
    """

    model_file: Path
    inference_dirs: tuple[Path, ...]
    output: Path
    repository: str | None
    licence: str | None
    datasets: tuple[str, ...]
    command: str
    policy: Mapping[str, object] | None = None
    onnx: Path | None = None
    samples: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """The training configuration beside the model."""
        return self.model_file.parent / CONFIG

    def extras(self) -> dict[str, Path]:
        """Return the paths of the scores and pictures that exist, by their names in the zip."""
        pictures = sorted(self.model_file.parent.glob("images/*.png"))
        found = {f"{IMAGES}/{path.name}": path for path in pictures}
        if self.onnx is not None:
            found[MODEL_ONNX] = self.onnx
        found.update({packed_name(sample): Path(sample) for sample in self.samples if not is_address(sample)})
        for directory in self.inference_dirs:
            paths = [directory / name for name in SCORED] + sorted(directory.glob(PICTURES))
            found.update(
                (f"{RESULTS}/{directory.name}/{path.relative_to(directory)}", path)
                for path in paths
                if path.exists()
            )
        return found


def pack(packing: Packing, dry_run: bool = False) -> None:
    """Write the zip, unless it is current.

    Raises:
        LidError: the model or its configuration is missing or damaged, results or the ONNX file are damaged
            or those of another model, or no licence is given and that of what the model was made from is
            unknown.
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
            "policy": packing.policy,
            "samples": [packed_name(sample) for sample in packing.samples],
            "version": lid_toolkit.__version__,
        },
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("packing", lock=packing.output.parent) as work:
        if work is None:
            return
        folder = packing.output.parent / WORK
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            saved = load_model(packing.model_file)
            check_calibration(packing, work.digests["model"])
            check_onnx(packing, work.digests["model"])
            check_licence(packing, saved)
            check_samples(packing)
            for directory in packing.inference_dirs:
                check_results(directory, work.digests["model"])
            files = gather(packing, saved, folder)
            with write_whole(packing.output, "wb") as stream:
                write_zip(stream, files)
        finally:
            shutil.rmtree(folder)
        work.finish([packing.output])
    logging.info("%s: %.1f MB, %d files", packing.output, packing.output.stat().st_size / 1e6, len(files))


def gather(packing: Packing, saved: SavedModel, folder: Path) -> dict[str, Path]:
    """Write the package's own files into ``folder``; return all files of the package by their names."""
    origin = encoders(saved.description)
    facts = Facts(
        name=packing.output.stem,
        source=packing.repository or packing.output.name,
        labels=saved.languages,
        components={
            part: str(saved.description[part])
            for part in CARD_COMPONENTS
            if saved.description.get(part) is not None
        },
        parameters=sum(weight.numel() for weight in saved.model.parameters()),
        licence=packing.licence or model_licence(saved.description),
        origin=origin,
        datasets=packing.datasets,
        command=portable(packing.command),
        samples=[packed_name(sample) for sample in packing.samples],
        exported=None if packing.onnx is None else read_record(packing.onnx).numbers,
    )
    weights = {name: tensor.contiguous().clone() for name, tensor in saved.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    texts = {
        MODEL: to_yaml(Description(saved.rate, without_places(portable(saved.description))).to_mapping()),
        LANGUAGES: to_yaml(Labels(saved.languages).to_mapping()),
        CONFIG: to_yaml(portable(read_config(packing.config))),
        CARD: model_card(facts, read_results(packing)),
        **({} if packing.policy is None else {POLICY: to_yaml(dict(packing.policy))}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {name: folder / name for name in (*texts, WEIGHTS)} | packing.extras()
    meta = Meta(
        toolkit=lid_toolkit.__version__,
        torch=str(torch.__version__),
        licence=facts.licence,
        upstream=tuple(origin),
        sha256={name: sha256(path) for name, path in files.items()},
    )
    (folder / META).write_text(to_yaml(meta.to_mapping()), encoding="utf-8")
    return {**files, META: folder / META}


def portable(value: Any) -> Any:
    """Return a copy of plain values in which absolute paths are replaced by their last component.

    ``/data/x/a.yaml`` becomes ``a.yaml``, alone or inside a command line.
    """
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str):
        return value
    return PurePath(value).name if value.startswith(("/", "~/")) else DIRECTORIES.sub("", value)


def read_config(path: Path) -> object:
    """Return the content of a training configuration."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise LidError("missing or damaged", where=path, redo="training") from error


def read_results(packing: Packing) -> dict[str, Any]:
    """Return the content of ``results.json`` of each scored set, by the name of the set."""
    found = {}
    for directory in packing.inference_dirs:
        path = directory / "results.json"
        if not path.exists():
            logging.warning("%s: not scored, so the model card leaves it out", directory)
            continue
        try:
            found[directory.name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LidError("not valid JSON", where=path, redo="scoring") from error
    return found


def check_calibration(packing: Packing, model: str | None) -> None:
    """Raise LidError if the policy has the calibration of another model than the one with this digest."""
    calibration = (packing.policy or {}).get("calibration")
    made_for = calibration.get("model") if isinstance(calibration, Mapping) else None
    if made_for not in (None, model):
        where, mend = packing.model_file.parent / POLICY, "run lid calibrate again, or remove it"
        raise LidError("has the calibration of another model", where=where, mend=mend)


def is_address(sample: str) -> bool:
    """Return whether a sample is an address, and not a file."""
    return sample.startswith(("https://", "http://"))


def packed_name(sample: str) -> str:
    """Return the name of a sample in the package; an address stays as it is."""
    return sample if is_address(sample) else f"{SAMPLES}/{Path(sample).name}"


def check_samples(packing: Packing) -> None:
    """Raise LidError if a sample is not a recording or is too long, or if two have the same name."""
    names = [packed_name(sample) for sample in packing.samples]
    for sample, name in zip(packing.samples, names, strict=True):
        if names.count(name) > 1:
            raise LidError(f"two samples are called {Path(name).name}", where=sample, mend="rename one")
        if is_address(sample):
            continue
        info = audio_info(sample)
        if (seconds := info.num_samples / info.rate) > LONGEST_SAMPLE_S:
            what = f"lasts {seconds:.0f} s, longer than {LONGEST_SAMPLE_S} s"
            raise LidError(what, where=sample, mend="give a shorter sample")


def check_onnx(packing: Packing, model: str | None) -> None:
    """Raise LidError if the ONNX file was not exported from the model with this digest."""
    if packing.onnx is None:
        return
    if read_record(packing.onnx).model != model:
        what = f"was not exported from {packing.model_file.name}"
        raise LidError(what, where=packing.onnx, mend="export it again: lid export --format onnx")


def check_licence(packing: Packing, saved: SavedModel) -> None:
    """Raise LidError if no licence is given, and that of what the model was made from is unknown."""
    if packing.licence is None and model_licence(saved.description) == UNKNOWN:
        made_from = ", ".join(encoder.name for encoder in encoders(saved.description)) or "the imported model"
        what = f"the licence of {made_from} is unknown: see its page"
        mend = f"give --licence, an identifier of the Hugging Face Hub, or {UNKNOWN}"
        raise LidError(what, where=packing.model_file, mend=mend)


def check_results(directory: Path, model: str | None) -> None:
    """Check that scores and pictures were made by this model.

    The files that identification, scoring and t-SNE recorded as their inputs are compared by content, so an
    experiment may be moved or copied.

    Args:
        directory: output of identification for one set.
        model: digest of the model's file.

    Raises:
        LidError: the answers come from another or an unknown model, or changed after scoring or t-SNE.
    """
    scored = any((directory / name).exists() for name in SCORED)
    drawn = any(directory.glob(PICTURES))
    if not scored and not drawn:
        return
    made_by = recorded(directory, "identify").get("model")
    if made_by != model:
        what = "results of another model" if made_by else "no record of the model that made these results"
        raise LidError(what, where=directory, redo="identification")
    files = input_files(directory, directory)
    answers = {name: files[name] for name in ANSWERS}
    embeddings = {name: directory / name for name in ("embeddings.scp", "embeddings.ark")}
    if scored and not reads(recorded(directory, "score"), answers):
        raise LidError("the answers changed after they were scored", where=directory, redo="scoring")
    if drawn and not reads(recorded(directory, "tsne"), answers | embeddings):
        what = "the embeddings changed after the t-SNE map was drawn"
        raise LidError(what, where=directory, redo="t-SNE")


def reads(inputs: Mapping[str, str | None], files: Mapping[str, Path]) -> bool:
    """Return whether a step read these files with their current content."""
    return all(name in inputs and inputs[name] == digest(path) for name, path in files.items())


def to_yaml(value: object) -> str:
    """Return plain values as YAML, keys in their given order."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def write_zip(stream: IO[bytes], files: Mapping[str, Path]) -> None:
    """Write files into a zip whose bytes depend only on their names and contents."""
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
