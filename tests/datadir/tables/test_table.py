"""Tables against plain dictionaries, and every fault of their text named with its line."""

import logging
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir.tables import keys as keys_module
from lid_toolkit.datadir.tables import scan as scan_module
from lid_toolkit.datadir.tables import table as table_module
from lid_toolkit.datadir.tables.table import (
    Table,
    merge_tables,
    merged_blocks,
    parse_table,
    read_table,
    scan_bytes,
    table_from_pairs,
    write_table,
)
from lid_toolkit.errors import LidError

VISIBLE = st.characters(min_codepoint=33, exclude_characters=" \x7f", exclude_categories=["Cs"])
KEYS = st.text(VISIBLE, min_size=1, max_size=20)
VALUES = st.lists(KEYS, min_size=1, max_size=3).map("  ".join)
fuzz = settings(deadline=None, max_examples=40)
ROWS = st.dictionaries(KEYS, VALUES, max_size=30)


@fuzz
@given(ROWS)
def test_a_table_is_a_sorted_dict(rows):
    table = table_from_pairs(rows.items())
    assert list(table) == sorted(rows.items(), key=lambda row: row[0].encode())
    for row, (key, value) in enumerate(table):
        assert (table.key(row), table.value(row), table[key]) == (key, value, value)
        assert key in table
    assert len(table) == len(rows)


@fuzz
@given(ROWS, st.lists(KEYS, max_size=20))
def test_rows_finds_what_is_there(rows, others):
    table = table_from_pairs(rows.items())
    names = list(table.keys())
    wanted = [*others, *names, *reversed(names)]
    expected = [names.index(key) if key in names else -1 for key in wanted]
    assert table.rows(wanted).tolist() == expected
    for key in others:
        assert (key in table) == (key in rows)


@fuzz
@given(ROWS, st.randoms(use_true_random=False))
def test_reads_back_what_any_order_wrote(tmp_path_factory, rows, random):
    path = tmp_path_factory.mktemp("table") / "t"
    shuffled = list(rows.items())
    random.shuffle(shuffled)
    write_table(path, shuffled)
    written = path.read_bytes()
    assert dict(read_table(path, allow_empty=True)) == rows
    write_table(path, read_table(path, allow_empty=True))
    assert path.read_bytes() == written
    path.write_bytes("".join(f"{key}\t{value} \r\n" for key, value in shuffled).encode())
    assert dict(read_table(path, allow_empty=True)) == rows


@fuzz
@given(st.binary(max_size=60) | st.text("ab \t\r\n\ufeff\0é", max_size=30).map(str.encode))
def test_any_bytes_give_a_table_or_a_message(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("table") / "t"
    path.write_bytes(raw)
    try:
        table = read_table(path)
    except LidError as error:
        message = str(error)
    else:
        message = f"{path}: fine"
        assert list(table.keys()) == sorted(set(table.keys()), key=str.encode)
    assert message.startswith(str(path))


@fuzz
@given(ROWS, ROWS)
def test_same_keys(one, other):
    a, b = table_from_pairs(one.items()), table_from_pairs(other.items())
    assert a.same_keys(b) == (one.keys() == other.keys())
    assert a.same_keys(table_from_pairs((key, "x") for key in one))


@fuzz
@given(ROWS)
def test_select_and_blocks(rows):
    table = table_from_pairs(rows.items())
    assert list(table.select(np.arange(0, len(table), 2))) == list(table)[::2]
    assert b"".join(table.blocks()) == table.text
    assert list(Table.of_blocks(table.blocks(1))) == list(table)[1:]


@fuzz
@given(st.lists(VALUES | st.sampled_from(["eng", "en", "a language of a long name"]), max_size=30))
def test_codes_number_the_distinct_values(values):
    table = table_from_pairs((f"{i:03d}", value) for i, value in enumerate(values))
    names, codes = table.codes()
    assert names == tuple(sorted(set(values), key=str.encode))
    assert [names[code] for code in codes] == values


@fuzz
@given(st.lists(ROWS, max_size=4))
def test_merging_is_a_union_of_dicts(parts):
    tables = [table_from_pairs(part.items()) for part in parts]
    union = {key: value for part in parts for key, value in part.items()}
    if sum(map(len, parts)) == len(union):
        assert list(merge_tables(tables)) == sorted(union.items(), key=lambda row: row[0].encode())
    else:
        with pytest.raises(LidError, match="duplicate key"):
            merge_tables(tables)


@fuzz
@given(ROWS, ROWS)
def test_rows_that_are_alike_may_come_again(one, other):
    tables = [table_from_pairs({**one, **other}.items()), table_from_pairs(other.items())]
    assert b"".join(merged_blocks(tables, repeats=True)) == tables[0].text


def test_order_is_that_of_bytes(tmp_path):
    keys = ["é", "z", "Z", "a-b", "a", "a b".replace(" ", "!"), "ab", "abcdefgh", "abcdefghi", "日本"]
    write_table(tmp_path / "t", [(key, "1") for key in keys])
    lines = (tmp_path / "t").read_bytes().splitlines()
    assert [line.split()[0] for line in lines] == sorted(key.encode() for key in keys)


def test_merge_interleaves_and_refuses_common_keys():
    one, other = table_from_pairs([("a", "1"), ("c", "3")]), table_from_pairs([("b", "2")])
    assert list(merge_tables([one, other])) == [("a", "1"), ("b", "2"), ("c", "3")]
    with pytest.raises(LidError, match="duplicate key 'a'"):
        merge_tables([one, one])


def test_mended_tables_say_so_once(tmp_path, caplog):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfb\t2 3 \r\n\r\n  a 1")
    with caplog.at_level(logging.WARNING):
        assert list(read_table(tmp_path / "t")) == [("a", "1"), ("b", "2 3")]
    assert len(caplog.records) == 1
    for fault in ("byte order mark", "carriage returns", "unsorted rows"):
        assert fault in caplog.text


def test_tidy_tables_say_nothing(tmp_path, caplog):
    (tmp_path / "t").write_text("a /x  y/1.wav\nb 2")
    assert read_table(tmp_path / "t")["a"] == "/x  y/1.wav"
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "t: the table is empty"),
        (b"\n \r\n", "t: the table is empty"),
        (b"a 1\nb\nc 3\n", "t:2: key 'b' has no value"),
        (b"a 1\n\nb \n", "t:3: key 'b' has no value"),
        (b"b 1\na 2\n\nb 3\n", r"t:4: duplicate key 'b' \(first in line 1\)"),
        (b"a 1\na 1\n", r"t:2: duplicate key 'a' \(first in line 1\)"),
        (b"a 1\nb \xff\n", "t:2: not UTF-8"),
        (b"a \0\n", "NUL"),
    ],
)
def test_faults_are_named(tmp_path, raw, message):
    (tmp_path / "t").write_bytes(raw)
    with pytest.raises(LidError, match=message):
        read_table(tmp_path / "t")


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(LidError, match="none: does not exist"):
        read_table(tmp_path / "none")
    with pytest.raises(LidError, match="is a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "pair", [("", "1"), ("a b", "1"), ("a", ""), ("a", " 1"), ("a", "1\n"), ("a", "\udcff")]
)
def test_writing_refuses_what_could_not_be_read_back(tmp_path, pair):
    with pytest.raises(LidError):
        write_table(tmp_path / "t", [pair])
    assert not (tmp_path / "t").exists()


def test_writing_refuses_duplicates_and_keeps_the_old_file(tmp_path):
    write_table(tmp_path / "t", [("a", "1")])
    with pytest.raises(LidError, match="duplicate key 'b'"):
        write_table(tmp_path / "t", [("b", "1"), ("b", "2")])
    assert dict(read_table(tmp_path / "t")) == {"a": "1"}


def test_integers_and_codes():
    table = table_from_pairs([("a", "-3"), ("b", "20"), ("c", "-3")])
    assert table.integers().tolist() == [-3, 20, -3]
    names, codes = table.codes()
    assert names == ("-3", "20")
    assert codes.tolist() == [0, 1, 0]
    with pytest.raises(LidError, match=r"b: '2\.5' is not a whole number"):
        table_from_pairs([("a", "1"), ("b", "2.5")]).integers()


def test_absent_key():
    table = table_from_pairs([("a", "1")])
    assert 5 not in table
    with pytest.raises(KeyError):
        table["b"]
    with pytest.raises(IndexError):
        table.key(1)
    assert table.value(-1) == "1"


def test_pickles_small():
    table = parse_table(b"".join(b"utt%06d /some/where/%06d.wav\n" % (i, i) for i in range(10_000)), "t")
    pickled = pickle.dumps(table)
    assert len(pickled) < len(table.text) + 17 * len(table)
    assert list(pickle.loads(pickled)) == list(table)


def test_keys_longer_than_any_word():
    keys = ["k" * n for n in (1, 7, 8, 9, 15, 16, 17, 5000)]
    table = table_from_pairs((key, "v") for key in reversed(keys))
    assert list(table.keys()) == keys
    assert table.rows(keys).tolist() == list(range(8))


@fuzz
@given(st.text("ab \t\r\n\0é", max_size=60).map(str.encode) | st.binary(max_size=60))
def test_blocks_make_no_difference(raw):
    expected = scan_bytes(raw, "t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module, "BLOCK_BYTES", 5)
        patch.setattr(table_module, "BLOCK_ROWS", 2)
        patch.setattr(keys_module, "BLOCK_KEYS", 3)
        found = scan_bytes(raw, "t")
        assert b"".join(found.table.blocks()) == expected.table.text
    rows = np.arange(len(found.table))
    assert found.lines_of(rows).tolist() == expected.lines_of(rows).tolist()
    assert found.contested.tolist() == expected.contested.tolist()
    assert [str(fault) for group in found.faults for fault in group] == [
        str(fault) for group in expected.faults for fault in group
    ]


def test_every_line_is_accounted_for():
    raw = b"c 1\na 1\nb\nc 1\n\nd \xff\na 2\ne 5\na 2\nf \0\n"
    scan = scan_bytes(raw, "t")
    assert list(scan.table) == [("a", "1"), ("c", "1"), ("e", "5")]
    assert scan.lines_of(np.arange(3)).tolist() == [2, 1, 8]
    assert scan.contested.tolist() == [0]
    assert [str(fault) for group in scan.faults for fault in group] == [
        "t:10: contains a NUL byte (is this a text file?)",
        "t:6: not UTF-8 (convert the file with iconv)",
        "t:3: key 'b' has no value (add one, or remove the line)",
        "t:4: duplicate key 'c' (first in line 1) (remove one of them)",
        "t:7: duplicate key 'a' (first in line 2) (remove one of them)",
        "t:9: duplicate key 'a' (first in line 2) (remove one of them)",
    ]
