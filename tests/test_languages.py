"""Language labels against two independent packages of ISO 639 (pycountry, iso639-lang) and against CLDR."""

import contextlib
from pathlib import Path

import iso639
import pycountry
import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from lid_toolkit import languages
from lid_toolkit.errors import LidError

TABLE = languages.languages()
LABELS = dict(
    line.split(": ")
    for line in (Path(__file__).parent / "fixtures/labels.txt").read_text().splitlines()
    if not line.startswith("#")
)


def test_rows_are_sorted_and_unique():
    assert list(TABLE) == sorted(TABLE)
    assert len({language.name for language in TABLE.values()}) == len(TABLE)


def test_codes_and_names_agree_with_iso_and_cldr():
    for code, language in TABLE.items():
        entry = pycountry.languages.get(alpha_3=code)
        assert getattr(entry, "alpha_2", "") == language.short
        names = {entry.name, Locale("en").languages.get(language.short or code, "")}
        assert short_form(language.name) in map(short_form, names)
        assert languages.code(code) == code
        assert languages.name(code) == language.name


def short_form(name):
    return name.removesuffix(" (individual language)")


def test_all_of_iso_639_1_is_there():
    shorts = {entry.alpha_2: entry.alpha_3 for entry in pycountry.languages if hasattr(entry, "alpha_2")}
    assert {language.short: language.code for language in TABLE.values() if language.short} == shorts
    given_apart = {"zh": "cmn"}
    assert {short: languages.code(short) for short in shorts} == shorts | given_apart


@pytest.mark.parametrize("alias", languages.aliases())
def test_aliases_are_what_they_say(alias):
    code, kind = languages.aliases()[alias]
    assert code in TABLE
    assert alias not in TABLE
    assert languages.code(alias.upper()) == code
    if kind == "deprecated" and len(alias) == 3:
        with pytest.raises(iso639.exceptions.DeprecatedLanguageValue) as error:
            iso639.Lang(alias)
        assert error.value.change_to == code
    elif kind == "deprecated":
        assert alias not in {language.short for language in TABLE.values()}
    elif kind == "bibliographic":
        assert iso639.Lang(pt2b=alias).pt3 == code
    elif kind == "extended":
        macro, _, member = alias.partition("-")
        assert iso639.Lang(member).macro() in (iso639.Lang(macro), iso639.Lang(code).macro())
        assert member == code


def test_all_bibliographic_codes_are_understood():
    for code in TABLE:
        short = iso639.Lang(code).pt2b
        assert not short or languages.code(short) == {"zho": "zho", "chi": "cmn"}.get(short, code)


def test_merged_labels_belong_together():
    apart = {"fil": "tgl"}  # Filipino is standardised Tagalog, but ISO 639-3 knows no macrolanguage of them
    for code, language in TABLE.items():
        assert languages.merged(language.merged) == language.merged
        if language.merged != code and apart.get(code) != language.merged:
            assert iso639.Lang(code).macro().pt3 == language.merged


def test_what_is_merged_and_what_is_not():
    same = [("zho", "cmn"), ("ara", "arb", "arz"), ("nor", "nob", "nno"), ("msa", "zsm"), ("fas", "pes")]
    for labels in same:
        assert {languages.merged(label) for label in labels} == {labels[0]}
    for label in ("yue", "nan", "ind", "prs", "ckb", "hrv", "srp", "bos", "mine"):
        assert languages.merged(label) == label


def test_labels_of_voxlingua107():
    labels = LABELS["voxlingua107"].split()
    assert len(labels) == 107
    assert sorted(map(languages.code, labels)) == LABELS["espnet"].split()


@pytest.mark.parametrize("corpus", ["babel", "fleurs", "whisper"])
def test_labels_of_other_corpora_are_understood(corpus):
    for label in LABELS[corpus].split():
        code = languages.code(label)
        assert pycountry.languages.get(alpha_3=code) is not None
        if corpus == "fleurs":
            assert label.partition("_")[0] in (code, TABLE[code].short)


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("iw", "heb"),
        ("he", "heb"),
        ("jw", "jav"),
        ("jv", "jav"),
        ("zh", "cmn"),
        ("cmn", "cmn"),
        ("zho", "zho"),
        ("en_US", "eng"),
        ("EN-us", "eng"),
        ("zh-Hant-TW", "cmn"),
        ("zh_HK", "yue"),
        ("zh-yue", "yue"),
        ("zh-yue-Hant-HK", "yue"),
        ("ar_arz", "arz"),
        ("zh-min-nan", "nan"),
        ("es_419", "spa"),
        ("rm-sursilv", "roh"),
        ("ca-valencia", "cat"),
        ("sr-Latn-RS", "srp"),
        ("de-1996", "deu"),
        ("ger", "deu"),
        ("mol", "ron"),
        ("Haitian Creole", "hat"),
        ("haitian_creole", "hat"),
        (" French ", "fra"),
        ("Norwegian Bokmål", "nob"),
    ],
)
def test_labels(label, code):
    assert languages.code(label) == code


@given(st.sampled_from([*TABLE, *languages.aliases()]), st.sampled_from(["", "_US", "-Latn", "-419"]))
def test_what_is_emitted_is_current_and_stable(label, region):
    named = languages.aliases().get(label, ("", ""))[1] == "name"
    code = languages.code(label if named else label + region)
    assert iso639.Lang(code).pt3 == code
    assert languages.code(code) == code


@given(st.text(max_size=12))
def test_any_text_is_a_language_or_a_message(text):
    with contextlib.suppress(LidError):
        assert languages.code(text) in TABLE
    assert languages.name(text) == text or text in TABLE or text in languages.aliases() or len(text) == 2


def test_names_of_other_languages_are_not_taken_for_locales(monkeypatch):
    """ISO 639-3's names are the oracle; a word that is a code itself (``Ron``) means that code."""
    monkeypatch.setattr(languages, "nearest", lambda *_, **__: "")  # slow for thousands of names
    known = {
        label.casefold() for code in TABLE for label in (code, TABLE[code].short)
    } | languages.aliases().keys()
    wrong = {}
    for entry in pycountry.languages:
        with contextlib.suppress(LidError):
            code = languages.code(entry.name)
            if code != entry.alpha_3 and entry.name.casefold() not in known:
                wrong[entry.name] = code
    assert wrong == {"Odia": "ori"}  # the name that CLDR gives the macrolanguage of ory


@pytest.mark.parametrize(
    ("label", "advice"),
    [
        ("Scots Gaelic", "'scottish-gaelic'"),
        ("Chinese Wu", "'chinese'"),
        ("English-French", "'english'"),
        ("Persian_Dari", "'persian'"),
        ("zh TW", "'zh-"),
        ("en-fra", "'fra'"),
        ("Ho-Chunk", "did you mean"),
        ("French Sign Language", "give its"),
    ],
)
def test_words_behind_a_name_make_another_language(label, advice):
    with pytest.raises(LidError, match=rf"unknown language '{label}' \(.*{advice}"):
        languages.code(label)


def test_unknown_labels():
    assert languages.name("xx-unknown") == "xx-unknown"
    with pytest.raises(LidError, match=r"unknown language 'franc' \(did you mean 'fra"):
        languages.code("franc")
    with pytest.raises(LidError, match=r"unknown language 'eng-\$' \(did you mean 'eng'"):
        languages.code("eng-$")
    with pytest.raises(LidError, match=r"'000' \(give its ISO 639-3 code\)"):
        languages.code("000")
