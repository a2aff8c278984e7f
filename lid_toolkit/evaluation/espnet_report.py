"""The results of scoring in the format of ESPnet's recipe ``lid1``, for scripts that read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.metrics import Evaluation

NO_ANSWER = "failed"
"""What stands for the answer of an utterance that has none; ESPnet's recipe refuses such a set."""

UNKNOWN = "unknown"
"""What stands for the answer if a policy gives none, unless it has another label for it."""


def espnet_report(evaluation: Evaluation, answers: Answers) -> str:
    """Return accuracy, precision, recall and F1 of the set and of each language, and every wrong answer."""
    accuracy = evaluation.accuracy.estimate.value
    precision = evaluation.answered.estimate.value if evaluation.answered else 0.0
    results = evaluation.per_language
    macro_recall = evaluation.macro_accuracy.value
    macro_precision = float(np.mean([result.precision or 0.0 for result in results]))
    macro_f1 = float(np.mean([result.f1 for result in results]))
    f1 = 2 * precision * accuracy / (precision + accuracy) if precision + accuracy else 0.0
    blocks = [
        _metrics("Overall ", "", accuracy, precision, accuracy, f1),
        _metrics("Macro ", " across Languages", macro_recall, macro_precision, macro_recall, macro_f1),
        ["Per-Language Metrics:"],
    ]
    for result in results:
        recall = result.recall.estimate.value
        blocks[-1] += [
            f"{result.label}:",
            *_metrics("  ", "", recall, result.precision or 0.0, recall, result.f1),
        ]
    wrong = [*_wrong_answers(answers)]
    if wrong:
        counts = Counter(f"{true}->{answer}" for _, true, answer in wrong)
        pairs = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        blocks.append(["Error Frequency (Target->Prediction):", *(f"{pair}: {n}" for pair, n in pairs)])
    listed = (f"Key: {key}, Target: {true}, Prediction: {answer}" for key, true, answer in wrong)
    blocks.append(["Detailed Incorrect Predictions:", *listed])
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def _metrics(before: str, after: str, *values: float) -> list[str]:
    names: Sequence[str] = ("Accuracy", "Precision", "Recall", "F1")
    return [f"{before}{name}{after}: {value:.2%}" for name, value in zip(names, values, strict=True)]


def _wrong_answers(answers: Answers) -> Iterable[tuple[str, str, str]]:
    """Yield utterance, true language and answer, sorted by utterance."""
    for row in np.flatnonzero(answers.true != answers.predicted).tolist():
        key, answer = answers.truth.key(row), int(answers.predicted[row])
        without = NO_ANSWER if key in answers.failed else (answers.policy or {}).get("unknown", UNKNOWN)
        named = str(without) if answer == FAILED else answers.languages[answer]
        yield key, answers.languages[answers.true[row]], named
