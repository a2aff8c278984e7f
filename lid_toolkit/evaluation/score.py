"""Compare a system's answers with the true languages and write metrics, pictures and a report."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.evaluation.answers import (
    Answers,
    Scores,
    check_directories,
    input_files,
    read_answers,
    read_scores,
)
from lid_toolkit.evaluation.decided import Policy, decided
from lid_toolkit.evaluation.espnet_report import espnet_report
from lid_toolkit.evaluation.language_sets import language_sets
from lid_toolkit.evaluation.metrics import evaluate
from lid_toolkit.evaluation.mistakes import confident_mistakes
from lid_toolkit.evaluation.reported_metrics import as_dict, metric_keys
from lid_toolkit.evaluation.text_report import headline, text_report
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step

OUTPUTS = ("results", "results.json", "confusion.png", "report.html")


def score(
    data_dir: Path,
    inference_dir: Path,
    dry_run: bool = False,
    *,
    merge: bool = False,
    espnet_format: bool = False,
    policy: Policy | None = None,
) -> None:
    """Write ``results``, ``results.json``, ``confusion.png`` and ``report.html`` unless current.

    Args:
        data_dir: the truth, ``dump/raw/SET``.
        inference_dir: the answers, ``.../MODEL/SET``; the outputs go there too.
        dry_run: only log whether there is work to do.
        merge: count a macrolanguage and its members as one.
        espnet_format: write ``results`` in the format of ESPnet's recipe.
        policy: what answers; None for the most probable language.

    Raises:
        LidError: see :func:`lid_toolkit.evaluation.answers.read_answers`.
    """
    inference_dir = inference_dir.resolve()
    step = Step(
        name=f"score {inference_dir.name}",
        record=inference_dir / ".done" / "score.json",
        inputs={
            **input_files(data_dir, inference_dir),
            UTT2LANGS: data_dir / UTT2LANGS,
            "scores.scp": inference_dir / "scores.scp",
            "scores.ark": inference_dir / "scores.ark",
        },
        options={
            "merge_macrolanguages": merge,
            "metrics": metric_keys(),
            **({"espnet_format": True} if espnet_format else {}),
            **({} if policy is None else {"policy": dict(policy.settings)}),
        },
        version=2,
    )
    if dry_run:
        step.due(dry_run=True)
        return
    check_directories(data_dir, inference_dir)
    with step.work("scoring", lock=inference_dir) as work:
        if work is not None:
            answers = read_answers(data_dir, inference_dir, merge=merge)
            if policy is None:
                scores = read_scores(inference_dir, answers)
            else:
                answers, scores = decided(answers, inference_dir, policy)
            _write_results(inference_dir, answers, scores, data_dir / UTT2LANGS, espnet_format)
            work.finish(inference_dir / name for name in OUTPUTS)
    logging.info("see %s and %s", inference_dir / "results", inference_dir / "report.html")


def _write_results(
    inference_dir: Path, answers: Answers, scores: Scores, utt2langs: Path, espnet_format: bool
) -> None:
    # Not above: it takes longer to import matplotlib and plotly than to see that the results are current.
    from lid_toolkit.evaluation.confusion_picture import confusion_png
    from lid_toolkit.evaluation.html_report import html_report

    mistakes = confident_mistakes(answers, scores)
    evaluation = evaluate(answers, language_sets(answers, scores, utt2langs))
    numbers = json.dumps(as_dict(evaluation), indent=1, ensure_ascii=False) + "\n"
    report = html_report(evaluation, mistakes, answers.failed)
    picture = confusion_png(evaluation)
    with write_whole(inference_dir / "results") as stream:
        stream.write(espnet_report(evaluation, answers) if espnet_format else text_report(evaluation))
    with write_whole(inference_dir / "results.json") as stream:
        stream.write(numbers)
    with write_whole(inference_dir / "report.html") as stream:
        stream.write(report)
    with write_whole(inference_dir / "confusion.png", "wb") as stream:
        stream.write(picture)
    for line in headline(evaluation).splitlines():
        logging.info("%s", line)
