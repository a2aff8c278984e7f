"""Combining, splitting, choosing and copying against the same work done on dictionaries."""

import logging

import numpy as np
import pytest
from datadir.directories import PLAIN, SEGMENTED, write_files

from lid_toolkit import languages
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.operations import Choice, combine, copy, split, subset
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.speed import perturb_data_dir

FORMATTED = {
    **PLAIN,
    "category2utt": PLAIN["lang2utt"],
    "utt2num_samples": "a 10\nb 20\nc 30\n",
    "audio_format": "flac\n",
    "feats_type": "raw\n",
    "sampling_rate": "8000\n",
    "failed": "",
}


@pytest.fixture
def large(tmp_path):
    """A directory of 90 utterances in three languages of different sizes."""
    labels = [f"l{min(i % 9, 2)}" for i in range(90)]
    keys = [f"u{i:02d}" for i in range(90)]
    write_data_dir(
        tmp_path / "large",
        [(key, f"{key}.wav") for key in keys],
        table_from_pairs(zip(keys, labels, strict=True)),
    )
    return tmp_path / "large"


def files_of(path):
    return {file.name: file.read_text() for file in path.iterdir() if not file.name.startswith(".")}


def renamed(files, prefix):
    """The files of a directory with a prefix before each key."""
    return {
        name: "".join(f"{prefix}{line}\n" for line in text.splitlines())
        for name, text in files.items()
        if name not in ("lang2utt", "category2utt", "audio_format", "feats_type", "sampling_rate", "failed")
    }


def test_split_parts_combine_to_the_whole(large, tmp_path):
    split(large, 4, tmp_path / "parts")
    parts = [tmp_path / "parts" / str(number) for number in (4, 2, 1, 3)]
    sizes = [len(read_data_dir(part).utt2lang) for part in parts]
    assert (sum(sizes), min(sizes), max(sizes)) == (90, 22, 23)
    assert combine(parts, tmp_path / "whole") == 90
    whole = files_of(tmp_path / "whole")
    assert read_table(tmp_path / "whole" / "utt2dataset").codes()[0] == ("1", "2", "3", "4")
    assert whole == {**files_of(large), "utt2dataset": whole["utt2dataset"]}
    with pytest.raises(LidError, match="cannot split 90 utterances into 91 parts"):
        split(large, 91, tmp_path / "parts")


def test_segments_speeds_and_recordings_in_common(tmp_path):
    one = write_files(tmp_path / "one", SEGMENTED)
    other = write_files(
        tmp_path / "other",
        {"wav.scp": "r2 2.wav\nr3 3.wav\n", "segments": "d r2 1 2\ne r3 0 1\n", "utt2lang": "d fra\ne eng\n"},
    )
    whole = write_files(tmp_path / "whole", renamed(PLAIN, "w"))
    perturb_data_dir(whole, tmp_path / "sp", ("0.9",))
    assert combine([one, other, tmp_path / "sp"], tmp_path / "all") == 8
    data = read_data_dir(tmp_path / "all")
    assert list(data.wav_scp.keys()) == ["r1", "r2", "r3", "sp0.9-wa", "sp0.9-wb", "sp0.9-wc"]
    assert data.segments["d"] == "r2 1 2"
    assert data.segments["sp0.9-wa"] == "sp0.9-wa 0 -1"
    assert data.utt2speed["a"] == "1"
    assert data.utt2speed["sp0.9-wa"] == "0.9"
    assert {*data.carried} == {"utt2dataset"}  # only one source has utt2spk
    assert scan_dir(tmp_path / "all").faults == ()


def test_what_is_left_out_is_said(tmp_path, caplog):
    one = write_files(tmp_path / "one", {**FORMATTED, "text": "a hello\n"})
    other = write_files(tmp_path / "other", {**renamed(PLAIN, "x"), "audio_format": "wav\n"})
    with caplog.at_level(logging.WARNING):
        combine([one, other], tmp_path / "both")
    assert f"{one}: not copied: text" in caplog.text
    assert f"utt2num_samples left out, because {other} does not have it" in caplog.text
    assert "audio_format left out, because the sources differ in it" in caplog.text
    assert set(files_of(tmp_path / "both")) == {"wav.scp", "utt2lang", "lang2utt", "utt2dataset"}


def test_sets_of_different_sampling_rates_are_not_combined(tmp_path):
    one = write_files(tmp_path / "one", FORMATTED)
    other = write_files(
        tmp_path / "other", {**FORMATTED, **renamed(FORMATTED, "x"), "sampling_rate": "16000\n"}
    )
    with pytest.raises(LidError, match=r"one has a sampling rate of 8000 Hz, \S+/other of 16000 Hz"):
        combine([one, other], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_formatted_directories_stay_formatted(tmp_path):
    one = write_files(tmp_path / "one", FORMATTED)
    other = write_files(tmp_path / "other", {**FORMATTED, **renamed(FORMATTED, "x")})
    combine([one, other], tmp_path / "both")
    assert subset(tmp_path / "both", tmp_path / "back", Choice(["a", "b", "c"])) == 3
    assert files_of(tmp_path / "back") == {
        **{name: text for name, text in FORMATTED.items() if name != "failed"},
        "utt2dataset": "a one\nb one\nc one\n",
    }


@pytest.fixture
def three(tmp_path):
    """Three directories of three utterances; the second says which datasets its utterances are from."""
    return [
        write_files(tmp_path / "one", PLAIN),
        write_files(tmp_path / "two", {**renamed(PLAIN, "x"), "utt2dataset": "xa cv\nxb fleurs\nxc cv\n"}),
        write_files(tmp_path / "sub" / "one", renamed(PLAIN, "y")),
    ]


@pytest.mark.parametrize(
    ("names", "first", "last"), [((), "one", "one"), (("A", "B", "C"), "A", "C"), (("A", "B", "A"), "A", "A")]
)
def test_combining_notes_the_dataset_of_each_utterance(three, tmp_path, caplog, names, first, last):
    assert combine(three, tmp_path / "all", names) == 9
    assert dict(read_table(tmp_path / "all" / "utt2dataset")) == {
        **dict.fromkeys("abc", first),
        **{"xa": "cv", "xb": "fleurs", "xc": "cv"},
        **dict.fromkeys(("ya", "yb", "yc"), last),
    }
    said = f"{three[0]} and {three[2]} are one dataset, 'one', in utt2dataset"
    assert (said in caplog.text) == (not names)


def test_each_directory_needs_a_name_if_any_has_one(three, tmp_path):
    with pytest.raises(LidError, match=r"datasets: 2 names for 3 data directories \(give one name"):
        combine(three, tmp_path / "all", ("A", "B"))
    assert not (tmp_path / "all").exists()


def test_common_utterances_and_contradicting_recordings_are_refused(tmp_path):
    one, other = (
        write_files(tmp_path / "one", PLAIN),
        write_files(tmp_path / "other", {**PLAIN, "wav.scp": "a x\nb y\nc z\n"}),
    )
    with pytest.raises(LidError, match=r"duplicate key 'a' \(add a prefix to the ids of one source"):
        combine([one, other], tmp_path / "both")
    segmented = write_files(tmp_path / "segmented", SEGMENTED)
    changed = {
        **SEGMENTED,
        **{
            name: text.replace("a ", "x ").replace("b ", "y ").replace("c ", "z ")
            for name, text in SEGMENTED.items()
            if name != "wav.scp"
        },
    }
    changed |= {"wav.scp": "r1 1.wav\nr2 other.wav\n", "lang2utt": None}
    with pytest.raises(LidError, match=r"wav\.scp: duplicate key 'r2'"):
        combine([segmented, write_files(tmp_path / "changed", changed)], tmp_path / "both")
    assert not (tmp_path / "both" / "wav.scp").exists()
    with pytest.raises(LidError, match="is both the source and the target"):
        combine([one], one)


def test_other_recordings_of_one_name_combine_with_the_prefix_that_is_advised(tmp_path):
    one, other = (
        write_files(
            tmp_path / name,
            {
                "wav.scp": f"tape1 {name}.wav\n",
                "segments": f"{name} tape1 0 1\n",
                "utt2lang": f"{name} eng\n",
            },
        )
        for name in ("a", "b")
    )
    with pytest.raises(LidError, match=r"duplicate key 'tape1' \(add a prefix"):
        combine([one, other], tmp_path / "both")
    copy(other, tmp_path / "renamed", utt_prefix="x-")
    assert combine([one, tmp_path / "renamed"], tmp_path / "both") == 2
    files = files_of(tmp_path / "both")
    assert files["wav.scp"] == "tape1 a.wav\nx-tape1 b.wav\n"
    assert files["segments"] == "a tape1 0 1\nx-b x-tape1 0 1\n"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(first=True, count=3), ["u00", "u01", "u02"]),
        (Choice(utterances=["u05", "u01", "u05"]), ["u01", "u05"]),
        (Choice(languages=("l1",), first=True, count=2), ["u01", "u10"]),
    ],
)
def test_choices_without_chance(large, tmp_path, choice, expected):
    subset(large, tmp_path / "some", choice)
    assert list(read_data_dir(tmp_path / "some").wav_scp.keys()) == expected


def test_choices_by_chance(large, tmp_path):
    drawn = []
    for seed in (1, 1, 2):
        subset(large, tmp_path / "some", Choice(per_language=8, seed=seed))
        data = read_data_dir(tmp_path / "some")
        assert np.bincount(data.utt2lang.codes()[1]).tolist() == [8, 8, 8]
        drawn.append(list(data.utt2lang.keys()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert subset(large, tmp_path / "some", Choice(per_language=30)) == 10 + 10 + 30
    assert subset(large, tmp_path / "some", Choice(per_language=30, count=11)) == 11
    assert subset(large, tmp_path / "some", Choice(count=1000)) == 90


def test_a_part_of_the_speakers(large, tmp_path):
    with pytest.raises(LidError, match="utt2spk: does not exist"):
        subset(large, tmp_path / "some", Choice(speakers=0.5))
    write_table(large / "utt2spk", [(f"u{i:02d}", f"s{i // 18}") for i in range(90)])
    assert subset(large, tmp_path / "some", Choice(speakers=0.4)) == 2 * 18
    spoken = dict(read_table(tmp_path / "some" / "utt2spk"))
    assert len(set(spoken.values())) == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(utterances=["u05", "zz"]), "utterance 'zz' not found"),
        (Choice(languages=("l1", "xx")), "language 'xx' not found"),
        (Choice(utterances=["u05"], languages=("l1",)), "no utterance selected"),
    ],
)
def test_choices_of_nothing_are_refused(large, tmp_path, choice, message):
    with pytest.raises(LidError, match=message):
        subset(large, tmp_path / "some", choice)
    assert not (tmp_path / "some").exists()


def test_subsets_keep_only_their_recordings(tmp_path):
    subset(write_files(tmp_path / "set", SEGMENTED), tmp_path / "some", Choice(languages=("fra",)))
    assert dict(read_data_dir(tmp_path / "some").wav_scp) == {"r1": "1.wav"}


def test_copies_with_prefix_and_iso_labels(tmp_path):
    plain = write_files(
        tmp_path / "plain", {**PLAIN, "utt2lang": "a en_US\nb iw\nc English\n", "utt2spk": "a s\nb s\nc t\n"}
    )
    copy(plain, tmp_path / "copy", utt_prefix="x-", label=languages.code)
    assert files_of(tmp_path / "copy") == {
        "wav.scp": "x-a a.wav\nx-b b.wav\nx-c c.wav\n",
        "utt2lang": "x-a eng\nx-b heb\nx-c eng\n",
        "lang2utt": "eng x-a x-c\nheb x-b\n",
        "utt2spk": "x-a x-s\nx-b x-s\nx-c x-t\n",
    }
    copy(write_files(tmp_path / "segmented", SEGMENTED), tmp_path / "copy", utt_prefix="x-")
    data = read_data_dir(tmp_path / "copy")
    assert dict(data.segments) == {"x-a": "x-r1 0 1.5", "x-b": "x-r1 1.5 -1", "x-c": "x-r2 0 1"}
    assert dict(data.wav_scp) == {"x-r1": "1.wav", "x-r2": "2.wav"}
    with pytest.raises(LidError, match="unknown language"):
        copy(large_label(tmp_path), tmp_path / "copy2", label=languages.code)
    with pytest.raises(LidError, match="utt_prefix: 'a b' contains a space"):
        copy(plain, tmp_path / "copy2", utt_prefix="a b")
    assert not (tmp_path / "copy2").exists()


def large_label(tmp_path):
    return write_files(tmp_path / "odd", {"wav.scp": "a a.wav\n", "utt2lang": "a 000\n"})


def test_lengths_of_other_utterances_are_refused(tmp_path):
    path = write_files(tmp_path / "set", {**PLAIN, "utt2num_samples": "a 1\nb 1\n"})
    with pytest.raises(LidError, match="utterances differ from those of the other tables"):
        copy(path, tmp_path / "copy")


def test_a_target_loses_what_it_had(tmp_path):
    target = write_files(tmp_path / "target", {**SEGMENTED, **FORMATTED})
    copy(write_files(tmp_path / "plain", PLAIN), target)
    assert files_of(target) == PLAIN
    assert dict(read_table(target / "wav.scp"))["a"] == "a.wav"


def test_a_subset_keeps_references_to_features(tmp_path):
    features = {**FORMATTED, "feats.scp": "a x.npy[0:1]\nb x.npy[1:2]\nc x.npy[2:3]\n", "features.json": "{}"}
    source = write_files(tmp_path / "s", features)
    subset(source, tmp_path / "t", Choice(utterances=["c", "a"]))
    assert (tmp_path / "t/feats.scp").read_text() == "a x.npy[0:1]\nc x.npy[2:3]\n"
    assert (tmp_path / "t/features.json").read_text() == "{}"
    (source / "features.json").unlink()
    (source / "feats.scp").unlink()
    subset(source, tmp_path / "t", Choice(utterances=["c", "a"]))
    assert not (tmp_path / "t/feats.scp").exists()
    assert not (tmp_path / "t/features.json").exists()


def test_features_of_other_utterances_are_refused(tmp_path):
    source = write_files(tmp_path / "s", {**FORMATTED, "feats.scp": "a x.npy[0:1]\n", "features.json": "{}"})
    with pytest.raises(LidError, match=r"feats.scp: its utterances differ .*feature extraction"):
        subset(source, tmp_path / "t", Choice(count=1))


def test_a_subset_by_duration(tmp_path):
    lengths = "a 8000\nb 16000\nc 24000\n"
    source = write_files(tmp_path / "s", {**FORMATTED, "utt2num_samples": lengths})
    assert subset(source, tmp_path / "t", Choice(shortest_s=2.0)) == 2
    assert subset(source, tmp_path / "t", Choice(longest_s=1.0)) == 1
    assert subset(source, tmp_path / "t", Choice(shortest_s=1.5, longest_s=2.5)) == 1
    with pytest.raises(LidError, match="utt2num_samples: has no durations"):
        subset(write_files(tmp_path / "plain", PLAIN), tmp_path / "t", Choice(shortest_s=1.0))


def test_utterances_that_formatting_left_out_may_be_listed(tmp_path, caplog):
    source = write_files(tmp_path / "s", {**FORMATTED, "failed": "x broken\n", "dropped": "y too short\n"})
    assert subset(source, tmp_path / "t", Choice(utterances=["a", "x", "y"])) == 1
    assert "2 utterances of the list were left out before" in caplog.text
    with pytest.raises(LidError, match="utterance 'z' not found"):
        subset(source, tmp_path / "t", Choice(utterances=["a", "x", "z"]))
