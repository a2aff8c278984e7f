"""``results`` in ESPnet's format, as its users' scripts read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from commands import call
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.evaluation.score import score

EXPECTED = """\
Overall Accuracy: 75.00%
Overall Precision: 80.00%
Overall Recall: 75.00%
Overall F1: 77.42%

Macro Accuracy across Languages: 73.33%
Macro Precision across Languages: 84.44%
Macro Recall across Languages: 73.33%
Macro F1 across Languages: 78.47%

Per-Language Metrics:
deu:
  Accuracy: 80.00%
  Precision: 88.89%
  Recall: 80.00%
  F1: 84.21%
nld:
  Accuracy: 66.67%
  Precision: 80.00%
  Recall: 66.67%
  F1: 72.73%

Error Frequency (Target->Prediction):
deu->fra: 1
deu->nld: 1
nld->deu: 1
nld->failed: 1

Detailed Incorrect Predictions:
Key: d00, Target: deu, Prediction: nld
Key: d01, Target: deu, Prediction: fra
Key: n00, Target: nld, Prediction: deu
Key: n01, Target: nld, Prediction: failed
"""


def test_the_report_by_hand_and_back_to_the_own_one(small_set: WrittenSet):
    """German: 8 of 10 correct, 9 answers. Dutch: 4 of 6 correct, 5 answers. One utterance failed."""
    results = small_set.inference_dir / "results"
    score(small_set.data_dir, small_set.inference_dir)
    own, numbers = results.read_text(), (small_set.inference_dir / "results.json").read_text()
    done = call("score", *small_set.arguments, "--espnet_files", "true")
    assert done.returncode == 0, done.stderr
    assert results.read_text() == EXPECTED
    assert (small_set.inference_dir / "results.json").read_text() == numbers
    call("score", *small_set.arguments)
    assert results.read_text() == own


def test_a_script_reads_accuracies_and_wrong_answers(small_set: WrittenSet):
    score(small_set.data_dir, small_set.inference_dir, espnet_format=True)
    text = (small_set.inference_dir / "results").read_text()
    numbers = json.loads((small_set.inference_dir / "results.json").read_text())
    for name, key in (
        ("Overall Accuracy", "accuracy"),
        ("Macro Accuracy.*", "macro_accuracy"),
    ):
        (found,) = re.findall(rf"^{name}: (\S+)%$", text, re.MULTILINE)
        assert abs(float(found) - 100 * numbers[key]["value"]) <= 0.005
    wrong = re.findall(r"^Key: (\S+), Target: (\S+), Prediction: (\S+)$", text, re.MULTILINE)
    assert len(wrong) == numbers["utterances"] - numbers["correct"]


def test_no_mistakes_and_no_answers(tmp_path: Path):
    truth = {"a": "deu", "b": "fra"}
    perfect = write_set(tmp_path / "perfect", truth, truth, ["deu", "fra"], {})
    failed = write_set(tmp_path / "failed", truth, {"a": "fra"}, ["deu", "fra", "spa"], {"b": "broken"})
    for made, accuracy in ((perfect, "100.00%"), (failed, "0.00%")):
        score(made.data_dir, made.inference_dir, espnet_format=True)
        text = (made.inference_dir / "results").read_text()
        metrics = ("Accuracy", "Precision", "Recall", "F1")
        assert text.startswith("".join(f"Overall {metric}: {accuracy}\n" for metric in metrics))
        assert ("Error Frequency" in text) == (made is failed)
    assert (perfect.inference_dir / "results").read_text().endswith("\n\nDetailed Incorrect Predictions:\n")
