"""The model card: a description of a trained model with its results and how to use it.

Format: https://huggingface.co/docs/hub/model-cards (metadata in YAML, then Markdown).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import EvalResult, ModelCardData

from lid_toolkit import __version__, languages
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.results_json import stored_values
from lid_toolkit.package.licences import OPENAI, WHISPER, PretrainedEncoder

Results = Mapping[str, Any]
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
FEW = 5  # number of least recognised languages that are named


@dataclass(frozen=True)
class Facts:
    """The content of a card, except for the results.

    Attributes:
        name: name of the model.
        source: the argument of ``from_pretrained`` in the example: ``user/repo`` or the name of the zip.
        labels: the languages in index order.
        components: front end, encoder, pooling, projector and loss by name.
        parameters: number of weights.
        licence: an identifier of the Hub.
        origin: the pretrained encoders on which the model is based.
        datasets: names of the training data.
        command: the training command.
        samples: recordings to try the model with: names in the package, or addresses.
        exported: number format of the ONNX file in the package; None if it has none.
    """

    name: str
    source: str
    labels: Sequence[str]
    components: Mapping[str, str]
    parameters: int
    licence: str
    origin: Sequence[PretrainedEncoder]
    datasets: Sequence[str]
    command: str
    samples: Sequence[str] = ()
    exported: str | None = None


def model_card(facts: Facts, results: Mapping[str, Results]) -> str:
    """Return the card of a model.

    Args:
        facts: the content, except for the results.
        results: content of ``results.json`` of each scored set, by name of the set.
    """
    parts = [
        f"---\n{metadata(facts, results)}\n---",
        f"# {facts.name}",
        f"Identifies which of {len(facts.labels)} languages is spoken, and gives embeddings of utterances. "
        f"{_anatomy(facts)}",
        "## Results",
        *(_result(name, result) for name, result in results.items()),
        *([] if results else ["This model has not been scored."]),
        "## Use",
        usage(facts.source),
        *([] if facts.exported is None else [usage_without_torch(facts.source, facts.exported)]),
        "## Languages",
        ", ".join(f"{languages.name(label)} (`{label}`)" for label in sorted(facts.labels)),
        "## Limits",
        _limits(results),
        "## Training",
        f"```sh\n{facts.command}\n```",
        "`config.yaml` is the complete training configuration.",
        "## Licence",
        _licence(facts),
        "## How to cite",
        _citation(facts),
    ]
    return "\n\n".join(parts) + "\n"


def usage(source: str) -> str:
    """Return an example of how to use the model from Python and from the shell."""
    return (
        "```python\n"
        "from lid_toolkit import LanguageIdentifier\n\n"
        f'lid = LanguageIdentifier.from_pretrained("{source}")\n'
        'print(lid.identify("speech.wav"))\n'
        'print(lid.embed(["speech.wav"]).shape)\n'
        "```\n\n"
        "```sh\n"
        f"lid identify --model {source} speech.wav --top_k 3\n"
        "```"
    )


def usage_without_torch(source: str, numbers: str) -> str:
    """Return how to use the exported model in the package."""
    return (
        f"Without PyTorch (`pip install 'lid_toolkit[onnx]'`), by the exported `model.onnx` ({numbers}):"
        "\n\n```python\n"
        f'lid = LanguageIdentifier.from_pretrained("{source}", backend="onnx")\n'
        "```"
    )


def metadata(facts: Facts, results: Mapping[str, Results]) -> str:
    """Return the card's metadata, in the YAML format of the Hub."""
    evaluations = [
        EvalResult(
            task_type="audio-classification",
            task_name="Spoken language identification",
            dataset_type=name,
            dataset_name=name,
            metric_type=metric.key,
            metric_name=metric.title,
            metric_value=round(value.value, 4),
        )
        for name, result in results.items()
        for metric, value in stored_values(reported_metrics.main_metrics(), result)
        if isinstance(value, Estimate)
    ]
    data = ModelCardData(
        language=sorted(set(_codes(facts.labels))),
        license=facts.licence,
        datasets=list(facts.datasets) or None,
        metrics=["accuracy"],
        library_name="lid_toolkit",
        pipeline_tag="audio-classification",
        tags=["spoken-language-identification", "language-identification", "audio", "speech"],
        base_model=[encoder.name for encoder in facts.origin if encoder.revision] or None,
        model_name=facts.name,
        eval_results=evaluations or None,
    )
    if facts.samples:
        data["widget"] = [_widget(sample) for sample in facts.samples]
    return str(data.to_yaml()).strip()


def _widget(sample: str) -> dict[str, str]:
    """Return an entry of the Hub's widget for audio: a file of the repository, or an address.

    See https://huggingface.co/docs/hub/models-widgets-examples.
    """
    return {"src": sample, "example_title": PurePosixPath(urlsplit(sample).path).stem}


def _codes(labels: Iterable[str]) -> list[str]:
    """Return the codes that the Hub uses for the known labels: ISO 639-1 if there is one, else ISO 639-3."""
    known = languages.languages()
    found = []
    for label in labels:
        try:
            language = known[languages.code(label)]
        except LidError:
            continue
        found.append(language.short or language.code)
    return found


def _anatomy(facts: Facts) -> str:
    names = ", ".join(f"{component} `{name}`" for component, name in facts.components.items())
    return f"{facts.parameters:,} parameters: {names}."


def _result(name: str, result: Results) -> str:
    metrics = stored_values(reported_metrics.main_metrics(), result)
    with_interval, without = (
        [(metric.title, metric.text(value)) for metric, value in metrics if metric.has_interval == wanted]
        for wanted in (True, False)
    )
    rows = [*with_interval, *without]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    return "\n\n".join(
        [
            f"On `{name}`, {result['utterances']} utterances of {result['languages']} languages, with 95 % "
            "intervals:",
            f"| | |\n|---|---|\n{table}",
            *_durations(result),
            _languages(result),
        ]
    )


def _durations(result: Results) -> list[str]:
    """Return the accuracy by duration as a table; nothing if no duration is known."""
    lines = [
        f"| {_span(bucket)} | {bucket['utterances']} | {bucket['correct']} | {_percent(bucket['accuracy'])} |"
        for bucket in result["duration_buckets"]
        if bucket["utterances"]
    ]
    heading = "| duration | utterances | correct | accuracy |\n|---|---:|---:|---:|"
    return ["\n".join(["Accuracy by duration:\n", heading, *lines])] if lines else []


def _languages(result: Results) -> str:
    """Return the metrics of each language as a table that is shown when its title is clicked."""
    rows: Mapping[str, Results] = result["per_language"]
    metrics = [m for m in reported_metrics.LANGUAGE_METRICS if all(m.key in row for row in rows.values())]
    headings = ["language", "label", "utterances", *(text for metric in metrics for text in metric.headings)]
    lines = [headings, ["---", "---", *["---:"] * (len(headings) - 2)]]
    for label, row in rows.items():
        cells = [text for metric, value in stored_values(metrics, row) for text in metric.cells(value)]
        lines.append([languages.name(label), f"`{label}`", str(row["utterances"]), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"<details><summary>Each language</summary>\n\n{table}\n\n</details>"


def _limits(results: Mapping[str, Results]) -> str:
    worst = [
        f"On `{name}` the least recognised languages are {_least(result)}."
        for name, result in results.items()
    ]
    general = (
        "The answer is always one of the languages above, also for speech in another language, music or "
        "noise. Intervals take utterances as independent; a set with few speakers or recordings says less "
        "than they suggest. Speech of other kinds than the training data may be recognised less well."
    )
    return "\n\n".join([general, *worst])


def _least(result: Results) -> str:
    ranked = sorted(result["per_language"].items(), key=lambda item: item[1]["recall"]["value"])
    return ", ".join(f"{languages.name(label)} ({_percent(row['recall'])})" for label, row in ranked[:FEW])


def _licence(facts: Facts) -> str:
    """Return the licence of the model, and those of the pretrained encoders whose weights it contains."""
    lines = [
        f"- `{encoder.name}`, revision {encoder.revision or 'unknown'}, licence {encoder.licence}"
        for encoder in facts.origin
    ]
    made = "\n\nIt was made from these pretrained encoders:\n\n" + "\n".join(lines) if lines else ""
    whisper = f"\n\n{WHISPER}" if any(one.name.startswith(OPENAI) for one in facts.origin) else ""
    return f"`{facts.licence}`{made}{whisper}"


def _citation(facts: Facts) -> str:
    """Return how to cite the model, with the pretrained encoders that it contains."""
    others = "".join(f" Cite the authors of `{encoder.name}` too." for encoder in facts.origin)
    address = (
        f"\n  url = {{https://huggingface.co/{facts.source}}}," if HUB_NAME.fullmatch(facts.source) else ""
    )
    key = re.sub(r"\W+", "_", facts.name)
    return (
        f"```bibtex\n@misc{{{key},\n  title = {{{facts.name}: a model for spoken language identification}},"
        f"{address}\n  note = {{Trained with lid_toolkit {__version__}}}\n}}\n```\n\n"
        f"Name the training data and its results from this card with it.{others}"
    )


def _percent(measure: Mapping[str, float]) -> str:
    return f"{100 * measure['value']:.2f} % [{100 * measure['low']:.2f}, {100 * measure['high']:.2f}]"


def _span(bucket: Mapping[str, object]) -> str:
    if bucket["to_s"] is None:
        return f"{bucket['from_s']:g} s and longer"
    return f"{bucket['from_s']:g} to {bucket['to_s']:g} s"
