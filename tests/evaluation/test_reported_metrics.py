"""A metric that is defined in one place appears in every output."""

from __future__ import annotations

import json
import re

import pytest
from evaluation.written_set import WrittenSet
from huggingface_hub import ModelCard

from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.reported_metrics import LANGUAGE_METRICS, METRICS, Metric
from lid_toolkit.evaluation.score import score
from lid_toolkit.package.card import Facts, model_card

FACTS = Facts("tiny", "me/lid", ("deu",), {"encoder": "e"}, 1, "mit", [], (), "./lid.sh")
ERROR_RATE = Metric(
    "error_rate",
    "error rate",
    lambda _: Estimate(0.25, 0.125, 0.5),
    has_interval=True,
    note=lambda _: "of <all> utterances",
)
COST = Metric("cost", "average cost", lambda _: 1.5, in_percent=False)
UNDEFINED = Metric("undefined", "undefined one", lambda _: None)
MISSED = Metric("missed", "missed", lambda result: 1 - result.recall.estimate.value)


@pytest.fixture
def more_metrics(small_set: WrittenSet, monkeypatch: pytest.MonkeyPatch) -> WrittenSet:
    """Score without, then with further metrics, and return the set."""
    score(small_set.data_dir, small_set.inference_dir)
    assert "error_rate" not in (small_set.inference_dir / "results.json").read_text()
    monkeypatch.setattr(reported_metrics, "METRICS", (*METRICS, ERROR_RATE, COST, UNDEFINED))
    monkeypatch.setattr(reported_metrics, "LANGUAGE_METRICS", (*LANGUAGE_METRICS, MISSED))
    score(small_set.data_dir, small_set.inference_dir)
    return small_set


def test_a_new_metric_makes_a_scored_set_out_of_date_and_appears_everywhere(more_metrics: WrittenSet):
    read = {
        name: (more_metrics.inference_dir / name).read_text()
        for name in ("results", "results.json", "report.html")
    }
    results = json.loads(read["results.json"])
    assert results["error_rate"] == {"value": 0.25, "low": 0.125, "high": 0.5}
    assert (results["cost"], results["undefined"]) == (1.5, None)
    assert results["per_language"]["deu"]["missed"] == pytest.approx(0.2)
    assert "  error rate              25.00 % [12.50, 50.00]  of <all> utterances\n" in read["results"]
    assert "  average cost              1.5\n" in read["results"]
    assert re.search(r"^label .* F1 % +missed % +mistaken for$", read["results"], re.MULTILINE)
    assert "<span>error rate</span><b>25.00 %</b>" in read["report.html"]
    assert "<span>of &lt;all&gt; utterances</span>" in read["report.html"]
    assert "<span>average cost</span><b>1.5</b>" in read["report.html"]
    assert "missed %</button></th>" in read["report.html"]
    card = model_card(FACTS, {"test_x": results})
    assert "| error rate | 25.00 % [12.50, 50.00] |\n" in card
    assert "| average cost | 1.5 |" in card
    assert "| undefined one | - |" in card
    assert re.search(r"^\| language \| label \| utterances \| .* F1 % \| missed % \|$", card, re.MULTILINE)
    assert re.search(r"^\| German \| `deu` \| \d+ \| 80\.00 \| \[.* \| 20\.00 \|$", card, re.MULTILINE)
    found = {item.metric_type: item.metric_value for item in ModelCard(card).data.eval_results}
    assert found == {"accuracy": 0.75, "macro_accuracy": 0.7333, "error_rate": 0.25}


def test_results_of_an_earlier_version_make_a_card_without_the_new_metric(more_metrics: WrittenSet):
    results = json.loads((more_metrics.inference_dir / "results.json").read_text())
    del results["cost"]
    for row in results["per_language"].values():
        del row["missed"]
    card = model_card(FACTS, {"test_x": results})
    assert "average cost" not in card
    assert "missed" not in card
