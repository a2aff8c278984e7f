"""Labels of other toolkits as ISO 639-3 codes; a label that means no known language stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lid_toolkit import languages
from lid_toolkit.errors import LidError


@dataclass(frozen=True)
class MappedLabels:
    """The labels of a foreign model.

    Attributes:
        labels: in index order: ISO 639-3 codes, and those labels of the model that could not be mapped.
        kept: the labels that could not be mapped.
    """

    labels: tuple[str, ...]
    kept: tuple[str, ...]


def map_labels(theirs: Sequence[str]) -> MappedLabels:
    """Return labels as ISO 639-3 codes.

    A label that is no known language stays, with ``_`` for spaces. So do labels that mean the same language,
    such as ``en-US`` and ``en-GB``, because two columns of a model cannot have the same name.

    >>> map_labels(["fr", "Dialect 7", "jw"])
    MappedLabels(labels=('fra', 'Dialect_7', 'jav'), kept=('Dialect_7',))
    """
    plain = ["_".join(label.split()) for label in theirs]
    codes = [_code(label) for label in theirs]
    counts = Counter(codes)
    unique = [code if code is not None and counts[code] == 1 else None for code in codes]
    taken = {code for code in unique if code is not None}
    # A label that stays may be the code of another one: then both stay.
    clash = {label for label, code in zip(plain, unique, strict=True) if code is None and label in taken}
    mapped = [
        label if code is None or code in clash else code for label, code in zip(plain, unique, strict=True)
    ]
    kept = tuple(
        label for label, found, code in zip(plain, mapped, codes, strict=True) if found == label != code
    )
    return MappedLabels(tuple(mapped), kept)


def _code(label: str) -> str | None:
    try:
        return languages.code(label)
    except LidError:
        return None
