"""Data directories: consistent ones are read, every inconsistency is named."""

import pytest

from lid_toolkit.datadir.datadir import (
    by_language,
    lang2utt_blocks,
    parse_segments,
    read_data_dir,
    write_data_dir,
)
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs
from lid_toolkit.errors import LidError


@pytest.fixture
def source(tmp_path):
    """A directory with two recordings, three segments and an optional table."""
    (tmp_path / "wav.scp").write_text("r1 /a b/1.wav\nr2 2.wav\n")
    (tmp_path / "utt2lang").write_text("u1 eng\nu2 fra\nu3 eng\n")
    (tmp_path / "segments").write_text("u1 r2 0 1.5\nu2 r1 1 -1\nu3 r2 1.5 2.5\n")
    (tmp_path / "utt2spk").write_text("u1 s1\nu2 s2\nu3 s1\n")
    return tmp_path


def test_reads_all_tables(source):
    data = read_data_dir(source)
    assert set(data.tables) == {"wav.scp", "utt2lang", "segments", "utt2spk"}
    assert data.wav_scp["r1"] == "/a b/1.wav"
    segments = parse_segments(data.segments, data.wav_scp)
    assert segments.recordings.tolist() == [1, 0, 1]
    assert segments.starts.tolist() == [0, 1, 1.5]
    assert segments.ends.tolist() == [1.5, -1, 2.5]


def test_written_directories_read_back_and_lose_stale_tables(source):
    data = read_data_dir(source)
    wav_scp = table_from_pairs((key, "x.wav") for key in ("u1", "u2", "u3"))
    written = write_data_dir(source, wav_scp, data.utt2lang)
    assert {path.name for path in written} == {"wav.scp", "utt2lang", "lang2utt"}
    assert {path.name for path in source.iterdir()} == {"wav.scp", "utt2lang", "lang2utt"}
    assert dict(read_table(source / "lang2utt")) == {"eng": "u1 u3", "fra": "u2"}
    assert read_data_dir(source).segments is None


def test_lang2utt_inverts_utt2lang():
    pairs = [("c", "x"), ("a", "y"), ("b", "x")]
    text = b"".join(lang2utt_blocks(by_language(table_from_pairs(pairs))))
    assert text == b"x b c\ny a\n"


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("wav.scp", "r1 a\n", "segments: 'u1': wav.scp has no recording 'r2'"),
        ("utt2lang", "u1 eng\nu2 fra\n", "utt2lang: has no row for utterance 'u3' of segments"),
        ("segments", "u1 r1 0 1\n", "segments: has no row for utterance 'u2' and 1 more of utt2lang"),
        ("utt2spk", "u1 a\nu2 b\nu4 c\n", "utt2spk: has no row for utterance 'u3'"),
        ("utt2lang", "u1 eng\nu2 fra deu\nu3 x\n", "'fra deu' is not a single label"),
        ("segments", "u1 r1 0\nu2 r1 0 1\nu3 r1 0 1\n", "'u1 r1 0' is not 'utt recording start end"),
        ("segments", "u1 r1 0 x\nu2 r1 0 1\nu3 r1 0 1\n", "'u1 r1 0 x' is not"),
        ("segments", "u1 r1 0 1\nu2 r1 3 2\nu3 r1 0 1\n", "'u2' starts at 3 s and ends at 2 s"),
        ("segments", "u1 r1 0 1\nu2 r1 2 2\nu3 r1 0 1\n", "'u2' starts at 2 s and ends at 2 s"),
        ("segments", "u1 r1 -1 1\nu2 r1 2 3\nu3 r1 0 1\n", "'u1' starts at -1 s"),
        ("segments", "u1 r1 nan 1\nu2 r1 2 3\nu3 r1 0 1\n", "'u1' starts at nan s"),
        ("segments", "u1 r1 0 inf\nu2 r1 2 3\nu3 r1 0 1\n", "'u1' starts at 0 s and ends at inf s"),
    ],
)
def test_inconsistencies_are_named(source, table, text, message):
    (source / table).write_text(text)
    with pytest.raises(LidError, match=message):
        read_data_dir(source)


def test_missing_pieces_are_named(source, tmp_path):
    with pytest.raises(LidError, match="does not exist"):
        read_data_dir(tmp_path / "none")
    (source / "utt2lang").unlink()
    with pytest.raises(LidError, match="utt2lang: does not exist"):
        read_data_dir(source)
