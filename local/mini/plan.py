"""All that is random in corpus `mini`, drawn before any speech is made: texts, speakers, manners, levels."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from local.mini.espeak import Manner, load, phonemes, set_voice
from local.mini.languages import PARTS, SPEAKERS, Language
from local.mini.texts import phrasebook, sentence

FEWEST_PHONES, MOST_PHONES = 34, 90  # about 2 to 8 s
MOST_TRIES = 1000
UTTERANCES_OF_LONG = 4
LONG_EACH = 40  # one long recording for so many utterances


@dataclass(frozen=True)
class Line:
    """One utterance to be: its text, how it is read, its peak in dB and the pause after it in seconds."""

    text: str
    manner: Manner
    peak_db: float
    pause: float


@dataclass(frozen=True)
class Take:
    """One recording to be: an id, what it belongs to, and its lines, more than one in a long recording."""

    key: str
    part: str
    language: str
    speaker: str
    lines: tuple[Line, ...]


def plan_language(language: Language, counts: tuple[int, ...], seed: int) -> list[Take]:
    """Return the recordings of one language: ``counts`` utterances in train, dev and test, no text twice.

    Loads espeak-ng to ask what it can read, so it needs a process of its own.
    """
    library, _ = load()
    set_voice(library, language.voice)

    def phones(text: str) -> int:
        spoken = phonemes(library, text)
        return 0 if "(" in spoken else sum(character.isalpha() for character in spoken)

    book = phrasebook(language, reads=lambda name: phones(name) > 0)
    seen: set[str] = set()

    def new_text(random: Random) -> str:
        for _ in range(MOST_TRIES):
            text = sentence(book, random)
            if text not in seen and FEWEST_PHONES <= phones(text) <= MOST_PHONES:
                seen.add(text)
                return text
        raise RuntimeError(f"{language.label}: no new sentence in {MOST_TRIES} tries")

    takes = []
    for part, count in zip(PARTS, counts, strict=True):
        for index, size in enumerate(sizes(count)):
            random = Random(f"{seed} {part} {language.label} {index}")
            texts = [new_text(random) for _ in range(size)]
            takes.append(direct(language, part, index, texts, random))
    return takes


def sizes(count: int) -> list[int]:
    """Return how many utterances each recording holds: one, but four in one recording for each forty."""
    longs = min(-(-count // LONG_EACH), count // UTTERANCES_OF_LONG)
    return [UTTERANCES_OF_LONG] * longs + [1] * (count - UTTERANCES_OF_LONG * longs)


def direct(language: Language, part: str, index: int, texts: list[str], random: Random) -> Take:
    """Draw the speaker of a recording, and the manner and the level of each of its lines."""
    variant = random.choice(SPEAKERS[part])
    lines = tuple(
        Line(
            text,
            Manner(
                voice=f"{language.voice}+{variant}",
                rate=random.randint(130, 210),
                pitch=random.randint(25, 75),
                pitch_range=random.randint(30, 70),
                word_gap=random.choice((0, 0, 1, 2)),
                seed=random.randrange(2**31),
            ),
            peak_db=random.uniform(-20, -2),
            pause=random.uniform(0.3, 1.0),
        )
        for text in texts
    )
    speaker = f"{language.label}-{variant}"
    return Take(f"{speaker}-{part}{index:04d}", part, language.label, speaker, lines)
