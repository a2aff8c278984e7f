"""Random sentences of names, dates, times and quantities, from the CLDR locale data in ``babel``."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from babel import Locale, dates, lists, localedata

from local.mini.languages import Language

Reads = Callable[[str], bool]


@dataclass(frozen=True)
class Phrasebook:
    """The building blocks of sentences in a language.

    Attributes:
        locale: locale with the patterns of lists, dates and times.
        names: names of territories, of languages and of currencies, each sorted.
        units: patterns of each unit by plural form, e.g. ``{"one": "{0} metre", "other": "{0} metres"}``.
    """

    locale: Locale
    names: tuple[tuple[str, ...], ...]
    units: dict[str, dict[str, str]]


def phrasebook(language: Language, reads: Reads) -> Phrasebook:
    """Collect the units of a language, and its CLDR names for which ``reads`` returns True."""
    data = localedata.load(language.locale)
    kinds = (
        [name for code, name in data["territories"].items() if code.isalpha()],
        data["languages"].values(),
        data["currency_names"].values(),
    )
    names = tuple(
        tuple(sorted({name for name in kind if is_plain(name, language.latin) and reads(name)}))
        for kind in kinds
    )
    units = {
        unit: forms["long"]
        for unit, forms in sorted(data["unit_patterns"].items())
        if "{0}" in forms.get("long", {}).get("other", "")
    }
    return Phrasebook(Locale.parse(language.locale), names, units)


def is_plain(name: str, latin: bool) -> bool:
    """Return whether a name has no digits, no brackets and, unless ``latin``, no Latin letters."""
    foreign = not latin and any("a" <= character.lower() <= "z" for character in name)
    return not foreign and not any(character.isdigit() or character in "()[]（）" for character in name)


def sentence(book: Phrasebook, random: Random) -> str:
    """Return a text of one to three clauses; at least one clause is a list of names."""
    clauses = [names(book, random)]
    others = (names, date, moment, quantities)
    clauses += [random.choice(others)(book, random) for _ in range(random.randint(0, 2))]
    random.shuffle(clauses)
    return " ".join(f"{clause}." for clause in clauses)


def names(book: Phrasebook, random: Random) -> str:
    """Return a list of one to four names of one kind."""
    return listing(book, random.sample(random.choice(book.names), random.randint(1, 4)))


def date(book: Phrasebook, random: Random) -> str:
    """Return a full date with weekday and year."""
    day = datetime.date(random.randint(1900, 2099), random.randint(1, 12), random.randint(1, 28))
    return dates.format_date(day, "full", locale=book.locale)


def moment(book: Phrasebook, random: Random) -> str:
    """Return a day of a month and a time of day."""
    day = datetime.date(2000, random.randint(1, 12), random.randint(1, 28))
    time = datetime.time(random.randint(0, 23), random.randint(0, 59))
    return (
        f"{dates.format_skeleton('MMMMd', day, locale=book.locale)}, "
        f"{dates.format_time(time, 'short', locale=book.locale)}"
    )


def quantities(book: Phrasebook, random: Random) -> str:
    """Return a list of one or two numbers with units."""
    chosen = random.sample(sorted(book.units), random.randint(1, 2))
    return listing(book, [quantity(book, random.randint(2, 99), unit) for unit in chosen])


def quantity(book: Phrasebook, number: int, unit: str) -> str:
    """Return a number with its unit in the correct plural form."""
    forms = book.units[unit]
    return forms.get(book.locale.plural_form(number), forms["other"]).replace("{0}", str(number))


def listing(book: Phrasebook, items: list[str]) -> str:
    """Return the items joined as is usual in the language, e.g. "a, b and c"."""
    return str(lists.format_list(items, locale=book.locale))
