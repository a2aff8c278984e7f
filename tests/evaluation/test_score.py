"""Stage 7 as a whole: its files, and when it runs again."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from commands import call
from evaluation.written_set import DOLLARS, WrittenSet, write_set
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers
from lid_toolkit.evaluation.confusion_picture import (
    _cell_colours,
    _write_counts,
    confusion_picture,
    drawn_confusion,
)
from lid_toolkit.evaluation.metrics import evaluate
from lid_toolkit.evaluation.results_json import as_dict
from lid_toolkit.evaluation.score import OUTPUTS, Counting, score
from lid_toolkit.evaluation.style import DPI
from lid_toolkit.files import locked


def test_writes_results_and_skips_when_current(small_set: WrittenSet, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    score(small_set.data_dir, small_set.inference_dir)
    assert json.loads((small_set.inference_dir / "results.json").read_text())["accuracy"]["value"] == 0.75
    assert image.imread(small_set.inference_dir / "confusion.png").ndim == 3
    before = {name: (small_set.inference_dir / name).read_bytes() for name in OUTPUTS}
    caplog.clear()
    score(small_set.data_dir, small_set.inference_dir)
    assert "current, skipped" in caplog.text
    (small_set.inference_dir / "results").write_text("tampered")
    score(small_set.data_dir, small_set.inference_dir)
    assert {name: (small_set.inference_dir / name).read_bytes() for name in OUTPUTS} == before


def test_dry_run_writes_nothing(small_set: WrittenSet, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    before = sorted(small_set.inference_dir.iterdir())
    score(small_set.data_dir, small_set.inference_dir, dry_run=True)
    assert "score test_x: to do (not done yet)" in caplog.text
    assert sorted(small_set.inference_dir.iterdir()) == before


def test_durations_follow_the_sampling_rate_of_the_set(tmp_path: Path):
    truth = {"a": "deu", "b": "fra"}
    made = write_set(tmp_path, truth, truth, ["deu", "fra"], {}, seconds=3.0, sampling_rate=8000)
    score(made.data_dir, made.inference_dir)
    buckets = json.loads((made.inference_dir / "results.json").read_text())["duration_buckets"]
    assert [(bucket["from_s"], bucket["utterances"]) for bucket in buckets if bucket["utterances"]] == [
        (3.0, 2)
    ]


def test_a_set_without_its_sampling_rate_is_not_scored(small_set: WrittenSet):
    (small_set.data_dir / "sampling_rate").unlink()
    with pytest.raises(LidError, match="sampling_rate: missing file: this set does not record") as caught:
        score(small_set.data_dir, small_set.inference_dir)
    assert caught.value.redo == "formatting"
    (small_set.data_dir / "sampling_rate").write_text("16k\n")
    with pytest.raises(LidError, match="'16k' is not a sampling rate in Hz"):
        score(small_set.data_dir, small_set.inference_dir)
    assert not (small_set.inference_dir / "results").exists()


def test_merging_macrolanguages_scores_anew_and_says_so(tmp_path: Path):
    made = write_set(tmp_path, {"a": "cmn", "b": "fra"}, {"a": "zho", "b": "fra"}, ["fra", "zho"], {})
    for merge, accuracy in ((False, 0.5), (True, 1.0)):
        score(made.data_dir, made.inference_dir, counting=Counting(merge=merge))
        results = json.loads((made.inference_dir / "results.json").read_text())
        assert (results["accuracy"]["value"], results["merged_macrolanguages"]) == (accuracy, merge)
        for name in ("results", "report.html"):
            assert ("one language with their members" in (made.inference_dir / name).read_text()) == merge


def test_a_second_run_at_once_is_told(small_set: WrittenSet):
    with locked(small_set.inference_dir, "scoring"), pytest.raises(LidError, match="in use: scoring"):
        score(small_set.data_dir, small_set.inference_dir)


def test_bad_answers_leave_old_results_alone(small_set: WrittenSet):
    score(small_set.data_dir, small_set.inference_dir)
    before = (small_set.inference_dir / "results").read_bytes()
    write_table(small_set.answers, [("d00", "deu")])
    with pytest.raises(LidError, match="have neither an answer nor a recorded failure"):
        score(small_set.data_dir, small_set.inference_dir)
    assert (small_set.inference_dir / "results").read_bytes() == before


def test_report_is_self_contained_and_shows_names_as_text(tmp_path: Path):
    truth = {"<b>a</b>": "<script>alert(1)</script>", "b": "deu"}
    made = write_set(tmp_path, truth, {"<b>a</b>": "deu"}, ["<script>alert(1)</script>", "deu"], {"b": "<i>"})
    score(made.data_dir, made.inference_dir)
    report = (made.inference_dir / "report.html").read_text()
    assert "<script>alert" not in report
    assert '<td class="code">&lt;b&gt;a&lt;/b&gt;</td>' in report
    assert "&lt;i&gt;" in report
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)=", report)
    assert report.count("<svg ") >= 3


def test_confusion_shows_true_rows_and_used_columns(small_set: WrittenSet):
    evaluation = evaluate(read_answers(small_set.data_dir, small_set.inference_dir))
    confusion = drawn_confusion(as_dict(evaluation))
    assert confusion.rows == ("Dutch (nld)", "German (deu)")
    assert confusion.columns == ("Dutch (nld)", "German (deu)", "French (fra)", "(failed)")
    assert confusion.counts.tolist() == [[4, 1, 0, 1], [1, 8, 1, 0]]
    assert confusion.recalls == ("66.7 % of 6", "80.0 % of 10")
    assert confusion.shares.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("count", [3, 45])  # 45 names stand on both sides
@pytest.mark.usefixtures("no_formulas")
def test_labels_with_dollars_are_no_formulas(tmp_path: Path, count: int):
    labels = [*DOLLARS, *(f"l{number:03d}" for number in range(count - 3))]
    truth = {str(number): label for number, label in enumerate(labels)}
    made = write_set(tmp_path, truth, truth, labels, {}, name="$test$")
    score(made.data_dir, made.inference_dir)
    assert image.imread(made.inference_dir / "confusion.png").ndim == 3


def test_a_picture_of_107_languages_has_room_for_each(tmp_path: Path):
    labels = [f"l{number:03d}" for number in range(107)]
    truth = {f"{label}-{number}": label for label in labels for number in range(2)}
    made = write_set(tmp_path, truth, truth, labels, {})
    evaluation = evaluate(read_answers(made.data_dir, made.inference_dir))
    figure = confusion_picture(as_dict(evaluation)).figure
    assert min(figure.get_size_inches()) * DPI > 107 * 20
    (axes,) = figure.axes
    assert not axes.get_yticklabels()  # no language has errors
    assert not axes.collections  # no counts


def test_confused_languages_are_beside_each_other_and_many_are_named_only_if_confused(tmp_path: Path):
    labels = [f"l{number:03d}" for number in range(60)]
    truth = {f"{label}-{number}": label for label in labels for number in range(4)}
    pairs = {"l000": "l059", "l030": "l010", "l010": "l030"}
    answers = {key: pairs.get(label, label) if key.endswith("-0") else label for key, label in truth.items()}
    made = write_set(tmp_path, truth, answers, labels, {})
    results = as_dict(evaluate(read_answers(made.data_dir, made.inference_dir)))
    rows = drawn_confusion(results).rows
    assert abs(rows.index("l000") - rows.index("l059")) == abs(rows.index("l030") - rows.index("l010")) == 1
    assert set(rows[:4]) == {"l000", "l059", "l030", "l010"}
    assert list(rows[4:]) == sorted(rows[4:])
    (axes,) = confusion_picture(results).figure.axes
    assert sorted(text.get_text() for text in axes.get_yticklabels()) == ["l000", "l010", "l030"]
    assert sorted(text.get_text() for text in axes.get_xticklabels()) == ["l010", "l030", "l059"]


def test_counts_stand_in_the_middle_of_their_cells(small_set: WrittenSet):
    """The picture has ink in each cell with a count, as far to the left and right, and in no other."""
    evaluation = evaluate(read_answers(small_set.data_dir, small_set.inference_dir))
    confusion = drawn_confusion(as_dict(evaluation))
    axes = Figure(figsize=(4, 2), dpi=100).add_axes((0, 0, 1, 1))
    axes.imshow(_cell_colours(confusion), aspect="auto", interpolation="nearest")
    _write_counts(axes, confusion, letters=20)
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=2)
    for row, column in np.ndindex(2, 4):
        cell = grey[100 * row + 5 : 100 * row + 95, 100 * column + 5 : 100 * column + 95]
        inked = np.flatnonzero((abs(cell - cell[0, 0]) > 50).any(axis=0))
        assert bool(len(inked)) == bool(confusion.counts[row, column])
        if len(inked):
            assert inked.min() + inked.max() == pytest.approx(89, abs=3)


def test_two_tables_are_scored_without_a_system(small_set: WrittenSet, tmp_path: Path):
    truth, answers = small_set.data_dir / "utt2lang", small_set.answers
    done = call("score", "--pred_lids", answers, "--target_lids", truth)
    assert "accuracy          75.00 % [50.50, 89.82]  12 of 16 correct" in done.stdout
    assert "seconds" not in done.stdout  # durations are not known
    written = tmp_path / "results"
    done = call(
        "score",
        "--pred_lids",
        answers,
        "--target_lids",
        truth,
        "--results",
        written,
        "--espnet_files",
        "true",
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert written.read_text().startswith("Overall Accuracy: 75.00%\n")
    assert "Prediction: failed" in written.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--data_dir: missing (give it, or --pred_lids and --target_lids)"),
        (("--pred_lids", "x"), "--pred_lids and --target_lids: both tables are needed"),
        (("--pred_lids", "x", "--target_lids", "y"), "y: does not exist"),
    ],
)
def test_what_is_scored_must_be_given(words: tuple[str, ...], message: str):
    done = call("score", *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {message}"


def test_answers_to_other_utterances_are_refused(small_set: WrittenSet, tmp_path: Path):
    (tmp_path / "answers").write_text("nobody deu\n")
    done = call(
        "score", "--pred_lids", tmp_path / "answers", "--target_lids", small_set.data_dir / "utt2lang"
    )
    assert "answers for utterances that are not in the set: nobody" in done.stderr


BOM = "\ufeff"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("", "answers: the table is empty"),
        ("a deu\na fra\nb fra\n", "answers:2: duplicate key 'a' (first in line 1)"),
        ("a deu\nz fra\n", "answers: answers for utterances that are not in the set: z"),
        ("a\nb fra\n", "answers:1: "),
        (b"a deu\nb \xff\n", "answers:2: "),
    ],
)
def test_answers_with_faults_are_named(tmp_path: Path, answers: str | bytes, message: str):
    (tmp_path / "truth").write_text("a deu\nb fra\n")
    (tmp_path / "answers").write_bytes(answers if isinstance(answers, bytes) else answers.encode())
    done = call("score", "--pred_lids", tmp_path / "answers", "--target_lids", tmp_path / "truth")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "answers",
    [
        "b fra\na deu\nc fra\n",
        "a deu\r\nb fra\r\nc fra\r\n",
        "a\tdeu\nb  fra \n\nc fra",
        f"{BOM}a deu\nb fra\nc fra\n",
    ],
)
def test_answers_in_any_order_and_with_any_line_ends_are_read(tmp_path: Path, answers: str):
    (tmp_path / "truth").write_text("a deu\nb fra\nc deu\n")
    (tmp_path / "answers").write_bytes(answers.encode())
    done = call("score", "--pred_lids", tmp_path / "answers", "--target_lids", tmp_path / "truth")
    assert "2 of 3 correct" in done.stdout


def test_utterances_without_an_answer_and_labels_that_the_truth_lacks_are_wrong(tmp_path: Path):
    (tmp_path / "truth").write_text("a deu\nb fra\nc deu\n")
    (tmp_path / "answers").write_text("a deu\nb xxx\n")
    tables = ("--pred_lids", tmp_path / "answers", "--target_lids", tmp_path / "truth")
    done = call("score", *tables)
    assert "1 of 3 correct" in done.stdout
    assert "1 failed; without them 50.00 %" in done.stdout
    done = call("score", *tables, "--espnet_files", "true")
    assert done.stdout.startswith("Overall Accuracy: 33.33%\n")
    assert "Key: b, Target: fra, Prediction: xxx" in done.stdout
    assert "Key: c, Target: deu, Prediction: failed" in done.stdout


def test_all_wrong_answers_are_listed(small_set: WrittenSet):
    score(small_set.data_dir, small_set.inference_dir)
    head, *rows = (small_set.inference_dir / "errors.tsv").read_text().splitlines()
    assert head.split("\t") == ["utt", "lang", "predicted", "posterior", "posterior_of_lang", "seconds"]
    truth = dict(read_answers(small_set.data_dir, small_set.inference_dir).truth)
    assert len(rows) == 3  # one more failed
    for row in rows:
        utt, lang, predicted, posterior, _, seconds = row.split("\t")
        assert (truth[utt], seconds) == (lang, "3.00")
        assert predicted != lang
        assert 0 <= float(posterior) <= 1
