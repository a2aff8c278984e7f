"""The languages and speakers of corpus `mini`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """The codes of a language.

    Attributes:
        label: language label, ISO 639-3.
        locale: CLDR locale used for the text.
        voice: espeak-ng voice used for the speech.
        latin: whether the language is written in Latin script.
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

# espeak-ng variants that change the voice (formants, pitch, breath, glottal model) but not the language.
# No variant is in two parts. The klatt variants differ only in the glottal model, so they are in one part.
SPEAKERS = {
    "train": (
        *("m1", "m2", "m3", "m5", "m6", "m8", "f1", "f2", "f4", "klatt", "klatt2", "klatt3"),
        *("Andy", "Annie", "Mario", "Alicia", "Lee", "Hugo", "belinda", "david", "edward", "benjamin"),
        *("grandma", "ian", "michel", "rob", "victor", "zac", "aunty", "boris"),
    ),
    "dev": ("m4", "f3", "linda", "paul", "marcelo", "pablo"),
    "test": ("m7", "f5", "shelby", "steph", "max", "john", "anika", "travis"),
}
