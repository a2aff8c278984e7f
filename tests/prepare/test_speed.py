"""Speed perturbation of tables."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir.datadir import by_language, read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.speed import parse_factors, perturb_data_dir


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train"
    utt2lang = table_from_pairs([("b", "fra"), ("t", "eng")])
    write_data_dir(
        path,
        [("b", "b.wav"), ("t", "a b.wav")],
        utt2lang,
        {"utt2spk": table_from_pairs([("b", "s"), ("t", "s")])},
    )
    return path


def test_factors():
    assert parse_factors(" 0.9 1.0  1.10 ") == ("0.9", "1", "1.1")
    for text, message in {
        "": "at least one factor",
        "0.9 abc": "'abc' is not a number from 0.1 to 10",
        "0": "'0' is not",
        "-1": "'-1' is not",
        "nan": "'nan' is not",
        "100": "'100' is not",
        "1 1.0": "1.0 is given twice",
    }.items():
        with pytest.raises(LidError, match=f"speed factors: {message}"):
            parse_factors(text)


def test_copies_refer_to_the_original_audio(source, tmp_path):
    perturb_data_dir(source, tmp_path / "train_sp", ("0.9", "1"))
    data = read_data_dir(tmp_path / "train_sp")
    assert dict(data.wav_scp) == {"b": "b.wav", "t": "a b.wav", "sp0.9-b": "b.wav", "sp0.9-t": "a b.wav"}
    assert dict(data.utt2lang) == {"b": "fra", "t": "eng", "sp0.9-b": "fra", "sp0.9-t": "eng"}
    assert dict(data.utt2speed) == {"b": "1", "t": "1", "sp0.9-b": "0.9", "sp0.9-t": "0.9"}
    assert dict(data.carried["utt2spk"]) == {"b": "s", "t": "s", "sp0.9-b": "sp0.9-s", "sp0.9-t": "sp0.9-s"}
    assert list(data.wav_scp.keys()) == ["b", "sp0.9-b", "sp0.9-t", "t"]


def test_segments_keep_their_times(source, tmp_path):
    (source / "wav.scp").write_text("r long.wav\n")
    (source / "segments").write_text("b r 0 1\nt r 1 2.25\n")
    perturb_data_dir(source, tmp_path / "sp", ("1.1",))
    data = read_data_dir(tmp_path / "sp")
    assert dict(data.wav_scp) == {"r": "long.wav"}
    assert dict(data.segments) == {"sp1.1-b": "r 0 1", "sp1.1-t": "r 1 2.25"}


def test_runs_once_and_again_when_stale(source, tmp_path):
    target = tmp_path / "sp"
    perturb_data_dir(source, target, ("0.9",), dry_run=True)
    assert not target.exists()
    perturb_data_dir(source, target, ("0.9",))
    before = (target / "wav.scp").stat().st_mtime_ns
    perturb_data_dir(source, target, ("0.9",))
    assert (target / "wav.scp").stat().st_mtime_ns == before
    perturb_data_dir(source, target, ("1.1",))
    assert "sp1.1-b" in read_data_dir(target).wav_scp


def test_refuses_a_perturbed_source_and_itself(source, tmp_path):
    perturb_data_dir(source, tmp_path / "sp", ("0.9", "1"))
    with pytest.raises(LidError, match="is speed-perturbed already"):
        perturb_data_dir(tmp_path / "sp", tmp_path / "sp_sp", ("0.9",))
    with pytest.raises(LidError, match="is both the source and the target"):
        perturb_data_dir(source, source.parent / "x" / ".." / "train", ("0.9",))


def test_ids_of_copies_are_refused_in_an_original(source, tmp_path):
    write_data_dir(source, [("sp0.9-b", "b.wav")], table_from_pairs([("sp0.9-b", "fra")]))
    with pytest.raises(LidError, match=r"'sp0\.9-b' has the name of a speed-perturbed copy"):
        perturb_data_dir(source, tmp_path / "sp", ("1", "0.9"))


@given(
    st.dictionaries(
        st.text("abst09.-", min_size=1, max_size=6), st.sampled_from(["eng", "fra", "x"]), min_size=1
    ),
    st.permutations(("0.9", "1", "1.1", "1.25")).flatmap(
        lambda p: st.integers(1, 4).map(lambda n: tuple(p[:n]))
    ),
)
@settings(deadline=None, max_examples=30)
def test_copies_are_the_union_of_prefixed_tables(tmp_path_factory, utt2lang, factors):
    path = tmp_path_factory.mktemp("set")
    write_data_dir(path / "a", [(key, f"{key}.wav") for key in utt2lang], table_from_pairs(utt2lang.items()))
    perturb_data_dir(path / "a", path / "sp", factors)
    copies = {
        ("" if factor == "1" else f"sp{factor}-") + key: (label, factor)
        for factor in factors
        for key, label in utt2lang.items()
    }
    data = read_data_dir(path / "sp")
    assert list(data.utt2lang) == sorted((key, label) for key, (label, _) in copies.items())
    assert dict(data.utt2speed) == {key: factor for key, (_, factor) in copies.items()}
    assert dict(read_table(path / "sp/lang2utt")) == {
        label: " ".join(rows.keys()) for label, rows in by_language(data.utt2lang)
    }
