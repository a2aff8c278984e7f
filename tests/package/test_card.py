"""The model card: metadata that the Hub's own library reads, results with intervals, an example that runs."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from package.packed import RESULTS, run_alone

from lid_toolkit.package.card import Facts, model_card, usage
from lid_toolkit.package.licences import PretrainedEncoder

FACTS = Facts(
    name="tiny",
    source="me/lid",
    labels=("fin", "fra", "cmn"),
    components={"encoder": "ecapa_tdnn"},
    parameters=1234567,
    licence="cc-by-nc-4.0",
    origin=[
        PretrainedEncoder("facebook/mms-1b", "0123abc", "cc-by-nc-4.0"),
        PretrainedEncoder("mine", None, "other"),
    ],
    datasets=("train_x",),
    command="./lid.sh --train_set train_x",
)


def test_metadata_are_what_the_hub_reads():
    data = ModelCard(model_card(FACTS, {"test_x": RESULTS})).data
    assert data.language == ["cmn", "fi", "fr"]
    assert (data.license, data.datasets, data.metrics) == ("cc-by-nc-4.0", ["train_x"], ["accuracy"])
    assert (data.library_name, data.pipeline_tag) == ("lid_toolkit", "audio-classification")
    assert data.base_model == ["facebook/mms-1b"]
    results = [(item.dataset_name, item.metric_type, item.metric_value) for item in data.eval_results]
    assert results == [("test_x", "accuracy", 0.9375), ("test_x", "macro_accuracy", 0.92)]


def test_text_says_results_limits_and_origin():
    text = model_card(FACTS, {"test_x": RESULTS})
    assert "On `test_x`, 16 utterances of 2 languages" in text
    assert "| accuracy | 93.75 % [50.00, 99.00] |" in text
    assert (
        "Accuracy by duration:\n\n"
        "| duration | utterances | correct | accuracy |\n|---|---:|---:|---:|\n"
        "| 1 to 2 s | 6 | 6 | 93.75 % [50.00, 99.00] |\n"
        "| 2 s and longer | 10 | 9 | 93.75 % [50.00, 99.00] |\n\n<details>"
    ) in text
    assert "0 to 1 s" not in text
    assert "| coverage | 75.00 % |" in text
    assert (
        "<details><summary>Each language</summary>\n\n"
        "| language | label | utterances | recall % | 95 % interval |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        "| French | `fra` | 8 | 93.75 | [50.00, 99.00] |\n"
        "| Finnish | `fin` | 8 | 100.00 | [50.00, 99.00] |\n\n</details>\n"
    ) in text
    assert "least recognised languages are French (93.75 % [50.00, 99.00]), Finnish" in text
    assert "- `facebook/mms-1b`, revision 0123abc, licence cc-by-nc-4.0" in text
    assert "1,234,567 parameters" in text
    assert "```sh\n./lid.sh --train_set train_x\n```" in text


def test_numbers_are_those_of_results_json_alone():
    """Another number changes the card, and a set without durations has no such table."""
    measure = {"value": 0.5125, "low": 0.4, "high": 0.6125}
    text = model_card(FACTS, {"test_x": {**RESULTS, "accuracy": measure, "duration_buckets": []}})
    assert "| accuracy | 51.25 % [40.00, 61.25] |" in text
    assert "by duration" not in text
    assert ModelCard(text).data.eval_results[0].metric_value == 0.5125


def test_samples_are_in_the_widget_and_only_if_there_are_some():
    address = "https://example.org/a/Some%20speech.flac?download=1"
    text = model_card(replace(FACTS, samples=("samples/fin.wav", address)), {})
    assert ModelCard(text).data.to_dict()["widget"] == [
        {"src": "samples/fin.wav", "example_title": "fin"},
        {"src": address, "example_title": "Some%20speech"},
    ]
    assert "widget" not in model_card(FACTS, {})


def test_the_licence_and_what_the_model_was_made_from():
    text = model_card(FACTS, {})
    assert "## Licence\n\n`cc-by-nc-4.0`\n\nIt was made from these pretrained encoders:\n\n- `fac" in text
    assert "under MIT" not in text
    whisper = replace(FACTS, origin=[PretrainedEncoder("openai/whisper-base", "1", "apache-2.0")])
    assert "in its repository github.com/openai/whisper under MIT. The cards" in model_card(whisper, {})
    own = model_card(replace(FACTS, origin=[], licence="apache-2.0"), {})
    assert "## Licence\n\n`apache-2.0`\n\n## How to cite" in own


def test_a_model_without_results_has_a_card_too():
    text = model_card(replace(FACTS, origin=[], labels=("zz-klingon", "fra")), {})
    assert "This model has not been scored." in text
    data = ModelCard(text).data
    assert (data.language, data.eval_results, data.base_model) == (["fr"], None, None)


@pytest.mark.parametrize("kind", ["python", "sh"])
@pytest.mark.usefixtures("speech")
def test_the_example_runs(kind, package, tmp_path):
    card = zipfile.ZipFile(package).read("README.md").decode()
    assert usage(package.name) in card
    example = re.search(rf"```{kind}\n(.*?)```", card, re.DOTALL)[1]
    (tmp_path / package.name).write_bytes(package.read_bytes())
    if kind == "python":
        done = run_alone(tmp_path, "-c", example)
        assert "Prediction(status='ok', language=" in done.stdout
        assert done.stdout.endswith("(1, 8)\n")
    else:
        entry = "from lid_toolkit.commands.main import main; main()"
        done = run_alone(tmp_path, "-c", entry, *example.split()[1:])
        record = json.loads(done.stdout)
        assert (record["id"], record["duration"], len(record["scores"])) == ("speech.wav", 1.0, 3)
    assert done.returncode == 0, done.stderr


def test_it_says_how_to_cite_the_model_and_its_encoders():
    card = model_card(FACTS, {})
    assert "url = {https://huggingface.co/me/lid}," in card
    assert "Cite the authors of `facebook/mms-1b` too." in card
    local = model_card(replace(FACTS, source="tiny.zip", origin=[]), {})
    assert "@misc{tiny,\n  title = {tiny: a model for spoken language identification},\n  note" in local
    assert "url = " not in local
    assert "Cite the authors" not in local
