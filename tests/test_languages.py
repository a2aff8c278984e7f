"""Language names against CLDR's, and the table's own order."""

import pytest
from babel import Locale

from lid_toolkit import languages
from lid_toolkit.errors import LidError


def test_rows_are_sorted_unique_iso_639_3():
    codes = [code for code, _, _ in languages.LANGUAGES]
    assert codes == sorted(set(codes))
    assert all(len(code) == 3 and code.islower() for code in codes)


@pytest.mark.parametrize(("code", "short", "name"), languages.LANGUAGES)
def test_names_agree_with_cldr(code, short, name):
    if short:
        assert Locale("en").languages[short] == name
        assert languages.code(short) == code
    assert languages.name(code) == name
    assert languages.code(code) == code


def test_unknown_labels():
    assert languages.name("xx-unknown") == "xx-unknown"
    with pytest.raises(LidError, match=r"unknown language 'franc' \(did you mean 'fra'"):
        languages.code("franc")
