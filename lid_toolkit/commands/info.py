"""``lid info MODEL``: what a model is, and how good it is."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lid_toolkit import languages
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.model import MODEL_HELP, default_model
from lid_toolkit.inference.backend import is_exported, require

COMPONENTS = ("frontend", "normalize", "encoder", "pooling", "projector", "loss")
TRAINING_KEYS = ("max_epoch", "optim", "scheduler", "batch_bins", "init_param")


def main(arguments: Sequence[str]) -> None:
    """Print the description; values that are not known are left out.

    Raises:
        LidError: there is no such model, or it is damaged.
    """
    options = make_parser().parse_args(arguments)
    facts = describe(options.model or default_model())
    if options.json:
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines_of(facts)))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Describe a model: languages, size, licence, training, results and policy.")
    parser.add_argument("model", nargs="?", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def describe(source: str) -> dict[str, Any]:
    """Return what is known about a model, as plain values.

    Raises:
        LidError: there is no such model, or it is damaged.
    """
    if is_exported(source):
        return describe_exported(source)
    require("torch", "torch")
    from lid_toolkit.inference.locate import locate, open_model, policy_of
    from lid_toolkit.package.format import CONFIG, META, NEEDED, POLICY
    from lid_toolkit.package.licences import encoders, model_licence

    saved = open_model(source)
    path, kind, _ = locate(source, None, (*NEEDED, CONFIG, POLICY, "results/*"))
    with beside(path) as folder:
        meta, config = mapping(folder / META), mapping(folder / CONFIG)
        found = sorted([*folder.glob("results/*/results.json"), *folder.glob("inference/*/*/results.json")])
        origin = encoders(saved.description)
        return {
            "model": source,
            "kind": kind,
            "languages": list(saved.languages),
            "parameters": sum(weight.numel() for weight in saved.model.parameters()),
            "rate": saved.rate,
            "components": {name: saved.description.get(name) for name in COMPONENTS},
            "licence": meta.get("licence") or model_licence(saved.description),
            "pretrained_encoders": [encoder.name for encoder in origin],
            "training": {name: config[name] for name in TRAINING_KEYS if config.get(name)},
            "results": {str(file.parent.relative_to(folder)): scores(file) for file in found},
            "policy": policy_of(source).to_mapping(),
        }


def describe_exported(source: str) -> dict[str, Any]:
    """Return what an exported model says about itself, as plain values.

    Raises:
        LidError: there is no such file, or it is damaged.
    """
    from lid_toolkit.package.onnx_format import read_record

    record = read_record(Path(source))
    return {
        "model": source,
        "kind": f"exported model, {record.numbers}",
        "languages": list(record.languages),
        "parameters": None,
        "rate": record.rate,
        "components": {},
        "licence": record.licence,
        "pretrained_encoders": list(record.pretrained),
        "training": {},
        "results": {},
        "policy": dict(record.policy),
    }


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give the folder with a model's small files: of its experiment, or unpacked from its zip."""
    from lid_toolkit.package.files import unpacked
    from lid_toolkit.package.format import WEIGHTS

    if path.suffix != ".zip":
        yield path if path.is_dir() else path.parent
        return
    with zipfile.ZipFile(path) as archive:
        names = tuple(i.filename for i in archive.infolist() if not i.is_dir() and i.filename != WEIGHTS)
    with unpacked(path, names) as folder:
        yield folder


def mapping(path: Path) -> Mapping[str, Any]:
    """Return the content of a YAML file; nothing if it is missing or not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def scores(path: Path) -> dict[str, Any]:
    """Return the main values of a ``results.json``; nothing if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("accuracy", "macro_accuracy", "utterances", "languages")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def calibration_text(calibration: Mapping[str, Any]) -> str:
    """Return a calibration as a few words."""
    temperature, biases = f"temperature {1 / calibration['scale']:.3f}", len(calibration["bias"])
    fitted = f", fitted on {calibration['set']}" if calibration.get("set") else ""
    return f"{temperature}{f', and biases of {biases} languages' if biases else ''}{fitted}"


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """Return a description as lines for people."""
    labels = ", ".join(f"{label} ({languages.name(label)})" for label in facts["languages"])
    rate = f"audio at {facts['rate']} Hz"
    policy = dict(facts["policy"])
    calibration = policy.pop("calibration", None)
    rows = {
        "model": f"{facts['model']} ({facts['kind']})",
        "languages": f"{len(facts['languages'])}: {labels}",
        "size": f"{facts['parameters']:,} parameters, {rate}" if facts["parameters"] else rate,
        "components": ", ".join(f"{name} {part}" for name, part in facts["components"].items() if part),
        "licence": facts["licence"],
        "pretrained encoders": ", ".join(facts["pretrained_encoders"]),
        "training": ", ".join(f"{name} {value}" for name, value in facts["training"].items()),
        "calibration": calibration_text(calibration) if calibration else "none",
        "policy": json.dumps(policy, ensure_ascii=False) if policy else "default",
    }
    lines = [f"{name}: {value}" for name, value in rows.items() if value]
    for name, result in facts["results"].items():
        if result:
            values = result["accuracy"]
            low, high = 100 * values["low"], 100 * values["high"]
            accuracy = f"accuracy {100 * values['value']:.2f} % [{low:.2f}, {high:.2f}]"
            lines.append(f"results, {name}: {accuracy} of {result['utterances']} utterances")
    return lines
