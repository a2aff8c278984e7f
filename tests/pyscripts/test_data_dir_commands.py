"""The commands about data directories: what they print and their exit codes."""

from pathlib import Path

import pytest
from commands import call as run
from datadir.directories import PLAIN, write_files

from lid_toolkit.datadir.datadir import read_data_dir

ROOT = Path(__file__).parents[2]


def test_validate_fix_validate(tmp_path):
    path = write_files(tmp_path / "set", {**PLAIN, "utt2lang": "c eng\nb\na eng\nd deu\n", "lang2utt": None})
    done = run("validate_data_dir.py", path)
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        f"{path}/utt2lang:2: key 'b' has no value (add one, or remove the line)",
        f"{path}/wav.scp:2: utterance 'b' is not in utt2lang "
        "(add it there, or remove it with fix_data_dir.py)",
        f"{path}/utt2lang:4: utterance 'd' is not in wav.scp "
        "(add it there, or remove it with fix_data_dir.py)",
        *(
            f"{path}/wav.scp:{line}: '{key}': {key}.wav: does not exist (fix its path in wav.scp)"
            for line, key in enumerate("abc", start=1)
        ),
        f"note: {path}/lang2utt does not exist; nothing needs it (fix_data_dir.py writes it)",
    ]
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {path}: 6 faults: 1 empty value, 2 key in one table")
    done = run("fix_data_dir.py", path)
    assert (done.returncode, done.stdout) == (0, "b not in utt2lang\nd not in wav.scp\n")
    done = run("validate_data_dir.py", path, "--check_audio", "none")
    assert (done.returncode, done.stdout) == (0, f"{path}: no faults in 2 utterances\n")
    done = run("validate_data_dir.py", path, "--check_audio", "none", "--train_dir", path)
    assert (done.returncode, "same as the checked directory" in done.stderr) == (2, True)
    (tmp_path / "none").mkdir()
    done = run("validate_data_dir.py", path, "--check_audio", "none", "--train_dir", tmp_path / "none")
    assert (done.returncode, "none: lacks utt2lang, wav.scp" in done.stderr) == (2, True)


def test_combine_split_subset_copy(tmp_path):
    path = write_files(tmp_path / "set", PLAIN)
    for name, arguments, last in (
        (
            "copy_data_dir.py",
            [path, tmp_path / "copy", "--utt_prefix", "x-", "--iso639_3", "true"],
            "3 utterances",
        ),
        ("combine_data_dirs.py", [tmp_path / "all", path, tmp_path / "copy"], "6 utterances"),
        ("split_data_dir.py", [tmp_path / "all", 2], "2 parts"),
        ("subset_data_dir.py", [tmp_path / "all", tmp_path / "some", "--per_lang", 1], "2 utterances"),
    ):
        done = run(name, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f": {last}\n")
    assert list(read_data_dir(tmp_path / "all/split2/2").utt2lang) == [
        ("x-a", "eng"),
        ("x-b", "fra"),
        ("x-c", "eng"),
    ]
    (tmp_path / "list").write_text("b whatever\nx-c\n")
    done = run("subset_data_dir.py", tmp_path / "all", tmp_path / "some", "--utt_list", tmp_path / "list")
    assert done.returncode == 0, done.stderr
    assert list(read_data_dir(tmp_path / "some").utt2lang) == [("b", "fra"), ("x-c", "eng")]


def test_a_subset_with_augmented_copies(tmp_path):
    keys = [*"abc", *(f"aug{copy}-{key}" for copy in (1, 2, 3) for key in "abc")]
    keys.remove("aug2-b")
    files = {"utt2lang": "".join(f"{key} eng\n" for key in keys), "failed": "aug2-b broken\n"}
    files["wav.scp"] = "".join(f"{key} {key}.wav\n" for key in keys)
    path = write_files(tmp_path / "set", files)
    (tmp_path / "list").write_text("a eng\nb eng\n")
    target = tmp_path / "some"
    done = run("subset_data_dir.py", path, target, "--utt_list", tmp_path / "list", "--copies", 2)
    assert done.returncode == 0, done.stderr
    assert {key for key, _ in read_data_dir(target).utt2lang} == {"a", "b", "aug1-a", "aug1-b", "aug2-a"}


def test_split_into_sets_and_folds(tmp_path):
    rows = [(f"{label}{number}", label, f"{label}-s{number // 2}") for label in "ab" for number in range(8)]
    files = {
        "wav.scp": "".join(f"{key} {key}.wav\n" for key, *_ in rows),
        "utt2lang": "".join(f"{key} {label}\n" for key, label, _ in rows),
        "utt2spk": "".join(f"{key} {speaker}\n" for key, _, speaker in rows),
    }
    path = write_files(tmp_path / "set", files)
    by = ("split_data_dir.py", path, "--by", "speaker")
    done = run(*by, "--shares", "0.5 0.25 0.25", "--names", "train dev test", "--output_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["language", "speakers", "utterances", "train", "dev", "test"],
        *([label, "4", "8", "4", "(50.0%)", "2", "(25.0%)", "2", "(25.0%)"] for label in "ab"),
        ["all", "16", "8", "(50.0%)", "4", "(25.0%)", "4", "(25.0%)"],
        [f"{tmp_path}:", "train,", "dev,", "test"],
    ]
    sets = [tmp_path / name for name in ("train", "dev", "test")]
    assert sum(len(read_data_dir(one).utt2lang) for one in sets) == 16
    done = run("validate_data_dir.py", *sets, "--check_audio", "none")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        f"{' '.join(map(str, sets))}: no faults in 16 utterances",
    )
    done = run(*by, "--folds", 4)
    assert done.stdout.splitlines()[-1] == f"{path}/folds4_by_speaker: 4 folds, each with train and test"
    assert len(read_data_dir(path / "folds4_by_speaker/3/train").utt2lang) == 12
    done = run("validate_data_dir.py", path, sets[1], "--check_audio", "none")
    assert done.returncode == 2
    assert done.stdout.count("this recording is also in") == 4
    assert done.stdout.count("speaker '") == 2
    assert "6 faults: 4 recording in two sets, 2 speaker in two sets" in done.stderr


def test_report(tmp_path):
    path = write_files(tmp_path / "set", {**PLAIN, "utt2num_samples": "a 8000\nb 16000\nc 24000\n"})
    done = run("report_data_dir.py", path)
    assert done.returncode == 2
    assert (
        "sampling_rate: missing file: this set does not record its sampling rate (run stage 3 again)"
        in done.stderr
    )
    (path / "sampling_rate").write_text("8000\n")
    done = run("report_data_dir.py", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("set: 3 utterances, 0.00 h, 2 languages\n")
    assert (path / "report/report.txt").read_text() == done.stdout
    assert (path / "report/hours.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("validate_data_dir.py", ["none"], "none: does not exist"),
        ("validate_data_dir.py", ["none", "--check_audio", "x"], "--check_audio"),
        ("fix_data_dir.py", ["none"], "none: does not exist"),
        ("combine_data_dirs.py", ["a"], "required: sources"),
        ("combine_data_dirs.py", ["a", "b"], "b: does not exist"),
        ("split_data_dir.py", ["a", "0"], "'0' is not a whole number of at least 1"),
        ("split_data_dir.py", ["a"], "one of num_parts, --shares and --folds is required"),
        ("split_data_dir.py", ["a", "2", "--folds", "2", "--by", "speaker"], "one of num_parts, --shares"),
        ("split_data_dir.py", ["a", "--folds", "2"], "--by belongs to --shares and --folds"),
        ("split_data_dir.py", ["a", "2", "--by", "speaker"], "--by belongs to --shares and --folds"),
        ("split_data_dir.py", ["a", "--folds", "1", "--by", "speaker"], "--folds must be at least 2"),
        ("split_data_dir.py", ["a", "2", "--names", "b c"], "--names belongs to --shares"),
        ("split_data_dir.py", ["a", "--by", "speaker", "--shares", "0.5 0.4"], "their sum must be 1"),
        ("split_data_dir.py", ["a", "--by", "speaker", "--shares", "0.5 0.5"], "a: does not exist"),
        ("validate_data_dir.py", ["a", "a"], "a: is given twice"),
        ("subset_data_dir.py", ["a", "b"], "one of --utt_list, --languages"),
        ("subset_data_dir.py", ["a", "b", "--utt_list", "none"], "none: does not exist"),
        ("subset_data_dir.py", ["a", "b", "--first", "1", "--copies", "2"], "--copies needs --utt_list"),
        (
            "subset_data_dir.py",
            ["a", "b", "--utt_list", "c", "--copies", "-1"],
            "a whole number of at least 0",
        ),
        ("copy_data_dir.py", ["a", "a"], "is both the source and the target"),
        ("report_data_dir.py", ["none"], "none: does not exist"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(tmp_path, monkeypatch, name, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run(name, *arguments)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
