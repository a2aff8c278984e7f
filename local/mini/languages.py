"""The languages and the speakers of corpus `mini`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """A language under its three names.

    Attributes:
        label: ISO 639-3.
        locale: the CLDR locale its text comes from.
        voice: the espeak-ng voice that reads it.
        latin: whether it is written in Latin letters.
    """

    label: str
    locale: str
    voice: str
    latin: bool = True


LANGUAGES = (
    Language("ara", "ar", "ar", latin=False),
    Language("cmn", "zh", "cmn", latin=False),
    Language("deu", "de", "de"),
    Language("eng", "en", "en-us"),
    Language("fin", "fi", "fi"),
    Language("fra", "fr", "fr"),
    Language("hin", "hi", "hi", latin=False),
    Language("kor", "ko", "ko", latin=False),
    Language("rus", "ru", "ru", latin=False),
    Language("spa", "es", "es"),
    Language("swa", "sw", "sw"),
    Language("tur", "tr", "tr"),
)

PARTS = ("train", "dev", "test")

# espeak-ng variants that change the voice (formants, pitch, breath, glottal model) and nothing of the
# language. None is in two parts; the klatt family, alike but for the glottal model, is in one part.
SPEAKERS = {
    "train": (
        *("m1", "m2", "m3", "m5", "m6", "m8", "f1", "f2", "f4", "klatt", "klatt2", "klatt3"),
        *("Andy", "Annie", "Mario", "Alicia", "Lee", "Hugo", "belinda", "david", "edward", "benjamin"),
        *("grandma", "ian", "michel", "rob", "victor", "zac", "aunty", "boris"),
    ),
    "dev": ("m4", "f3", "linda", "paul", "marcelo", "pablo"),
    "test": ("m7", "f5", "shelby", "steph", "max", "john", "anika", "travis"),
}
