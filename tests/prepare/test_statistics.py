"""Stage 4: lengths and labels without decoding."""

import numpy as np
import pytest
import soundfile

from lid_toolkit.data.utterances import read_languages
from lid_toolkit.datadir.datadir import write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.statistics import collect_stats


def make_set(path, languages, with_lengths=True):
    """A formatted set of one utterance per label; with lengths its audio need not exist."""
    rows = [(f"{path.name}{i}", language) for i, language in enumerate(languages)]
    wavs = [(key, f"{path}/{key}.wav") for key, _ in rows]
    lengths = table_from_pairs((key, str(1000 + i)) for i, (key, _) in enumerate(rows))
    write_data_dir(path, wavs, table_from_pairs(rows), {"utt2num_samples": lengths} if with_lengths else {})
    if not with_lengths:
        for key, wav in wavs:
            soundfile.write(wav, np.zeros(int(lengths[key])), 16000)
    return path


def test_tables(tmp_path):
    train = make_set(tmp_path / "train", ["fra", "eng", "deu", "eng"])
    valid = make_set(tmp_path / "valid", ["eng"])
    out = tmp_path / "stats"
    collect_stats(train, valid, out)
    assert dict(read_table(out / "lang2idx")) == {"deu": "0", "eng": "1", "fra": "2"}
    assert (
        out / "train" / "speech_shape"
    ).read_text() == "train0 1000\ntrain1 1001\ntrain2 1002\ntrain3 1003\n"
    assert (out / "valid" / "speech_shape").read_text() == "valid0 1000\n"
    assert (out / "train" / "batch_keys").read_text() == "speech\nlid_labels\n"
    assert (out / "train" / "stats_keys").read_text() == ""
    assert (out / "train" / "category2utt").read_text() == "deu train2\neng train1 train3\nfra train0\n"


def test_lengths_from_headers(tmp_path):
    train = make_set(tmp_path / "train", ["fra", "eng"], with_lengths=False)
    collect_stats(train, train, tmp_path / "stats")
    assert read_table(tmp_path / "stats/train/speech_shape").integers().tolist() == [1000, 1001]


def test_runs_once_and_again_when_stale(tmp_path, caplog):
    train, out = make_set(tmp_path / "train", ["fra", "eng"]), tmp_path / "stats"
    collect_stats(train, train, out, dry_run=True)
    assert not out.exists()
    collect_stats(train, train, out)
    with caplog.at_level("INFO"):
        collect_stats(train, train, out)
    assert "current, skipped" in caplog.text
    make_set(train, ["eng", "fra", "fra"])
    collect_stats(train, train, out)
    assert len(read_table(out / "train/speech_shape")) == 3
    assert list(read_table(out / "lang2idx").keys()) == ["eng", "fra"]


def test_another_set_of_languages_is_refused(tmp_path):
    train, out = make_set(tmp_path / "train", ["fra", "eng", "ita"]), tmp_path / "stats"
    collect_stats(train, train, out)
    make_set(train, ["fra", "deu", "rus"])
    with pytest.raises(
        LidError,
        match=r"the languages of the training set changed \(new: deu rus; gone: eng ita\) \(restore",
    ):
        collect_stats(train, train, out)
    assert list(read_table(out / "lang2idx").keys()) == ["eng", "fra", "ita"]


def test_labels_that_training_lacks(tmp_path):
    train = make_set(tmp_path / "train", ["fra", "eng"])
    valid = make_set(tmp_path / "valid", ["eng", "rus", "ita"])
    with pytest.raises(LidError, match="languages that are not in the training set: ita, rus"):
        collect_stats(train, valid, tmp_path / "stats")
    assert not (tmp_path / "stats/lang2idx").exists()


@pytest.mark.parametrize("labels", [["eng", "ENG", "fra"], ["Eng", "deu", "eng", "ENG"], ["DE", "de", "fr"]])
def test_a_code_in_different_case_is_refused(tmp_path, labels):
    train = make_set(tmp_path / "train", labels)
    with pytest.raises(LidError, match=r"are the same language, written in different case .*(eng|de)\)"):
        collect_stats(train, train, tmp_path / "stats")


def test_labels_that_are_no_codes_may_differ_in_case(tmp_path):
    train = make_set(tmp_path / "train", ["Dialect", "dialect"])
    collect_stats(train, train, tmp_path / "stats")
    assert list(read_table(tmp_path / "stats/lang2idx").keys()) == ["Dialect", "dialect"]


def test_one_language_is_nothing_to_tell_apart(tmp_path):
    train = make_set(tmp_path / "train", ["fra", "fra"])
    with pytest.raises(LidError, match="has only one language, 'fra'"):
        collect_stats(train, train, tmp_path / "stats")


def test_faulty_lengths(tmp_path):
    train = make_set(tmp_path / "train", ["fra", "eng"])
    (train / "utt2num_samples").write_text("train0 5\n")
    with pytest.raises(LidError, match="its utterances differ from those of the other tables"):
        collect_stats(train, train, tmp_path / "stats")


def test_unlabelled_utterances_are_for_a_teacher_and_have_no_class(tmp_path):
    valid = make_set(tmp_path / "valid", ["eng", "fra"])
    for labels, classes in (
        (["eng", "und", "deu"], ["deu", "eng"]),
        (["und", "eng"], ["eng"]),
        (["und"], []),
    ):
        out = tmp_path / f"stats{len(classes)}"
        collect_stats(make_set(tmp_path / "train", labels), valid, out)
        assert read_languages(out / "lang2idx") == tuple(classes)
        assert len(read_table(out / "train/speech_shape")) == len(labels)
    with pytest.raises(LidError, match=r"valid/utt2lang: has unlabelled utterances \('und'\)"):
        collect_stats(valid, make_set(tmp_path / "valid2" / "valid", ["eng", "und"]), tmp_path / "none")
