"""The report of a scored set: what it gathers, when it is made again, its warnings, and what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import call
from datadir.vectors import write_pairs
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.cautions import cautions
from lid_toolkit.evaluation.experiment import experiment_of, job_hours
from lid_toolkit.evaluation.recordings import Recording, find_recordings
from lid_toolkit.evaluation.report import data_dir_of, read_mistakes, read_results, write_report
from lid_toolkit.evaluation.score import score
from lid_toolkit.evaluation.similarity_picture import similarity_picture
from lid_toolkit.evaluation.tsne import plot_tsne
from lid_toolkit.steps import Run, Step, recorded_run

EPOCH = {
    "epoch": 1,
    "updates": 1234,
    "train_loss": 2.0,
    "valid_loss": 1.0,
    "train_accuracy": 0.5,
    "valid_accuracy": 0.25,
    "valid_macro_accuracy": 0.2,
    "valid_per_language": {"deu": 0.5, "nld": 0.1},
    "lr": 1e-3,
    "seconds": 5400.0,
    "audio_s": 7200.0,
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an experiment with a scored set, which tests may copy but not change."""
    truth = {f"d{n:02d}": "deu" for n in range(4)} | {f"n{n:02d}": "nld" for n in range(4)}
    answers = truth | {"d00": "nld", "d01": "fra", "n00": "deu"}
    made = write_set(tmp_path_factory.mktemp("scored"), truth, answers, ["deu", "fra", "nld"], {})
    score(made.data_dir, made.inference_dir)
    return made.inference_dir.parents[2]


def with_training(made: WrittenSet) -> Path:
    """Write what a training leaves in the directory of the experiment, and return that directory."""
    experiment = made.inference_dir.parents[2]
    (experiment / ".done").mkdir()
    (experiment / "config.yaml").write_text(
        f"# The best epochs are selected on {made.data_dir}\nencoder: <ecapa>\n"
    )
    (experiment / "metrics.jsonl").write_text(json.dumps(EPOCH) + "\n")
    train = made.data_dir.with_name("train set")
    write_table(train / "utt2lang", [("d00", "deu"), ("x", "deu")])
    write_table(train / "utt2spk", [("d00", "ann"), ("x", "bob")])
    run = Run(f"pyscripts/train.py --train_dir '{train}' --epochs '<b>'", {"lid_toolkit": "9.9"}, 1.0, "now")
    (experiment / ".done" / "train.json").write_text(json.dumps({"run": run.__dict__}))
    return experiment


def test_it_has_training_commands_and_cautions(small_set: WrittenSet):
    with_training(small_set)
    write_table(
        small_set.data_dir / "utt2spk",
        [(f"d{n:02d}", "ann") for n in range(10)] + [(f"n{n:02d}", "cat") for n in range(6)],
    )
    score(small_set.data_dir, small_set.inference_dir)
    page = (small_set.inference_dir / "report.html").read_text()
    for text in (
        "1 epoch, 1,234 updates, 2.0 h of audio, 1.50 h of computing without validation.",
        "--epochs &#39;&lt;b&gt;&#39;",
        "encoder: &lt;ecapa&gt;",
        "lid_toolkit 9.9",
        "2 languages with fewer than 20 utterances (Dutch (nld), German (deu))",
        "1 of the 16 utterances of this set is also in the training set (d00)",
        "1 of the 2 speakers of this set is also in the training set (ann)",
        "The best epochs were selected on this set",
        'aria-label="loss of each epoch"',
    ):
        assert text in page
    images = sorted(path.name for path in (small_set.inference_dir / "images").iterdir())
    assert images == sorted(
        f"{name}.{form}"
        for name in ("coverage", "detection", "durations", "reliability")
        for form in ("png", "svg")
    )


def test_a_caution_needs_a_cause(small_set: WrittenSet):
    score(small_set.data_dir, small_set.inference_dir)
    results = read_results(small_set.inference_dir)
    assert len(cautions(results, small_set.data_dir, None)) == 1
    results["per_language"] = {
        label: {**row, "utterances": 20} for label, row in results["per_language"].items()
    }
    experiment = experiment_of(small_set.inference_dir)
    assert cautions(results, small_set.data_dir, experiment) == []
    with_training(small_set)
    (small_set.data_dir.with_name("train set") / "utt2lang").write_text("x deu\n")
    experiment = experiment_of(small_set.inference_dir)
    assert len(cautions(results, small_set.data_dir, experiment)) == 1  # selected on it
    assert cautions(results, None, experiment) == []


def test_recordings_that_training_has_too(small_set: WrittenSet):
    with_training(small_set)
    train = small_set.data_dir.with_name("train set")
    write_table(train / "segments", [("d00", "tape1 0 1"), ("x", "tape2 0 1")])
    write_table(small_set.data_dir / "segments", [(f"d{n:02d}", f"tape{n} {n} {n + 1}") for n in range(10)])
    score_results = {"per_language": {}}
    experiment = experiment_of(small_set.inference_dir)
    found = cautions(score_results, small_set.data_dir, experiment)
    assert any(
        "2 of the 10 recordings of this set are also in the training set (tape1, …)" in text for text in found
    )


def test_it_is_made_again_when_there_is_more(small_set: WrittenSet, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    score(small_set.data_dir, small_set.inference_dir)
    before = (small_set.inference_dir / "report.html").read_bytes()
    write_report(small_set.inference_dir)
    assert "report test_x: current, skipped" in caplog.text
    write_report(small_set.inference_dir, dry_run=True)
    plot_tsne(small_set.data_dir, small_set.inference_dir, 3.0, 250, 1000)
    assert "report test_x (tsne_plots/tsne.csv changed)" in caplog.text
    assert b'class="points"' in (small_set.inference_dir / "report.html").read_bytes()
    assert b'class="points"' not in before
    caplog.clear()
    score(small_set.data_dir, small_set.inference_dir)  # a renewed report does not make the scores stale
    assert "score test_x: current, skipped" in caplog.text
    (small_set.inference_dir / "report.html").write_text("tampered")
    write_report(small_set.inference_dir)
    assert b'class="points"' in (small_set.inference_dir / "report.html").read_bytes()


def test_it_is_made_again_when_a_data_directory_changes(
    small_set: WrittenSet, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    with_training(small_set)
    score(small_set.data_dir, small_set.inference_dir)
    page = small_set.inference_dir / "report.html"
    assert "of the 16 utterances of this set is also" in page.read_text()
    train = small_set.data_dir.with_name("train set")
    (train / "utt2lang").write_text("x deu\n")
    write_report(small_set.inference_dir)
    assert "report test_x (train_dir/utt2lang changed)" in caplog.text
    assert "of the 16 utterances of this set is also" not in page.read_text()
    write_table(small_set.data_dir / "utt2spk", [("d00", "bob")])
    write_report(small_set.inference_dir)
    assert "report test_x (data_dir/utt2spk changed)" in caplog.text
    assert "1 of the 1 speaker of this set is also in the training set (bob)" in page.read_text()


def test_the_tree_of_the_languages_is_in_the_report(tmp_path: Path):
    labels = ["deu", "fra", "nld"]
    truth = {f"{label}{number}": label for label in labels for number in range(4)}
    made = write_set(tmp_path, truth, truth, labels, {})
    means = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0]], np.float32)
    base = made.inference_dir / "lang_embeddings"
    write_pairs(base.with_suffix(".ark"), base.with_suffix(".scp"), zip(labels, means, strict=True))
    score(made.data_dir, made.inference_dir)
    page = (made.inference_dir / "report.html").read_text()
    assert "Languages by the similarity of their mean embeddings" in page
    assert "joined at cosine distance 0.006" in page  # German and Dutch: 1 - 0.9 / hypot(0.9, 0.1)
    plot_tsne(made.data_dir, made.inference_dir, 3.0, 250, 1000)
    assert "Dutch (nld)" in (made.inference_dir / "tsne_plots" / "languages.svg").read_text()


def test_similar_languages_are_joined_first_and_stand_together():
    means = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0, 0.9, 0.5]], np.float32)
    picture = similarity_picture(("a", "b", "c", "d"), means)
    names = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert {frozenset(names[:2]), frozenset(names[2:])} == {frozenset("ac"), frozenset("bd")}
    distances = sorted(float(spot.text.rsplit(" ", 1)[1]) for spot in picture.spots)
    assert distances[:2] == pytest.approx(
        [1 - 0.9 / np.hypot(0.9, 0.1), 1 - 0.9 / np.hypot(0.9, 0.5)], abs=6e-4
    )
    same = similarity_picture(("a", "b", "c"), np.ones((3, 2), np.float32))
    assert len(same.spots) == 2


def test_where_recordings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe, page = tmp_path / "re cipe", tmp_path / "re cipe" / "exp" / "set"
    data = recipe / "dump" / "set"
    for directory in (data, page, recipe / "audio"):
        directory.mkdir(parents=True)
    for name in ("a #1.wav", "tape.ogg", "x.sph"):
        (recipe / "audio" / name).write_bytes(b"x")
    write_table(
        data / "wav.scp",
        [
            ("a", "audio/a #1.wav"),
            ("b", "audio/b.ark:12"),
            ("c", "sox audio/x.sph -t wav - |"),
            ("d", "audio/gone.wav"),
            ("e", "audio/x.sph"),
            ("tape", str(recipe / "audio" / "tape.ogg")),
        ],
    )
    monkeypatch.chdir(tmp_path)
    found = find_recordings(data, "abcdef", page)
    assert found["a"] == Recording("../../audio/a%20%231.wav")
    assert [found[key].reason for key in "bcdef"] == [
        "in an archive",
        "the output of a command",
        "the file is missing: audio/gone.wav",
        "not of a format that browsers play",
        "not in wav.scp",
    ]
    write_table(data / "segments", [("s1", "tape 1.5 2.25"), ("s2", "tape 3 -1")])
    found = find_recordings(data, ("s1", "s2"), page)
    assert [one.source for one in found.values()] == [
        "../../audio/tape.ogg#t=1.5,2.25",
        "../../audio/tape.ogg#t=3",
    ]
    assert find_recordings(None, ["a"], page)["a"] == Recording("", "the set is not where it was")
    assert find_recordings(page, ["a"], page)["a"] == Recording("", "the set has no wav.scp")


def test_a_moved_experiment_still_finds_its_set(small_set: WrittenSet, tmp_path: Path):
    score(small_set.data_dir, small_set.inference_dir)
    results = read_results(small_set.inference_dir)
    assert not Path(results["data_dir"]).is_absolute()
    assert data_dir_of(results, small_set.inference_dir) == small_set.data_dir
    assert data_dir_of(results, tmp_path) is None
    assert data_dir_of({}, tmp_path) is None


def test_times_of_jobs(tmp_path: Path):
    foot = "# Accounting: time={} threads=1 memory=5M\n# Ended (code 0) at now, elapsed time 2 seconds\n"
    (tmp_path / "infer.1.log").write_text("x" * 9000 + "\n" + foot.format("1800.0"))
    (tmp_path / "infer.2.log").write_text(foot.format("900.0"))
    (tmp_path / "infer.3.log").write_text("killed")
    assert job_hours(tmp_path, "infer.*.log") == (2, 0.75)
    assert job_hours(tmp_path / "none", "*") == (0, 0)


def test_a_step_records_its_command_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["pyscripts/x.py", "--name", "two words"])
    with Step("x", tmp_path / ".done" / "x.json", {}, {}).work("doing", lock=None) as work:
        work.finish([])
    run = recorded_run(tmp_path, "x")
    assert run.command == "pyscripts/x.py --name 'two words'"
    assert {"lid_toolkit", "python", "numpy"} <= run.versions.keys()
    assert run.versions["numpy"] == np.__version__
    assert 0 <= run.seconds < 60
    (tmp_path / ".done" / "x.json").write_text('{"run": {"other": 1}}')
    assert recorded_run(tmp_path, "x") is None
    assert recorded_run(tmp_path, "y") is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{", r"results\.json: not JSON"),
        ("results.json", "[]", r"results\.json: not the results of a set"),
        ("results.json", '{"set": "x"}', r"results\.json: no 'accuracy'"),
        ("errors.tsv", "", r"errors\.tsv: missing or broken"),
        ("errors.tsv", "head\na\tb\n", r"errors\.tsv: a line has not six columns"),
        ("tsne_plots/tsne.csv", "x", r"tsne\.csv: not a table of a map"),
        ("../../../metrics.jsonl", "{}\n", r"metrics\.jsonl: not the measures of a training"),
    ],
)
def test_damaged_files_are_one_line(scored: Path, tmp_path: Path, name: str, text: str, message: str):
    shutil.copytree(scored, tmp_path / "copy")
    inference_dir = tmp_path / "copy" / "inference" / "model" / "test_x"
    path = inference_dir / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(LidError, match=message):
        write_report(inference_dir)


def test_mistakes_are_read_up_to_a_number(scored: Path):
    rows = read_mistakes(scored / "inference" / "model" / "test_x" / "errors.tsv", 2)
    assert [row[0] for row in rows] == ["d00", "d01"]
    assert all(len(row) == 6 for row in rows)


def test_the_command_renews_the_reports_of_one_experiment(small_set: WrittenSet):
    experiment = small_set.inference_dir.parents[2]
    done = call("report", experiment)
    assert done.stderr.endswith(f"error: {experiment}: no set has been scored (run stage 7 again)\n")
    score(small_set.data_dir, small_set.inference_dir)
    page = small_set.inference_dir / "report.html"
    page.unlink()
    done = call("report", experiment)
    assert (done.returncode, done.stdout) == (0, f"{page}\n")
    assert page.exists()
    done = call("report", experiment, "--output", "x.html")
    assert (
        done.stderr
        == "error: --output: is for several experiments (give several experiments, or leave it out)\n"
    )
    done = call("report", experiment / "no")
    assert done.stderr.startswith(f"error: {experiment / 'no'}: does not exist")
