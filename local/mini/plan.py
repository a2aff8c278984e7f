"""The random choices of corpus `mini` (texts, speakers, voice settings, levels), made before synthesis."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from local.mini.espeak import Manner, load, phonemes, set_voice
from local.mini.languages import PARTS, SPEAKERS, Language
from local.mini.texts import phrasebook, sentence

FEWEST_PHONES, MOST_PHONES = 34, 90  # about 2 to 8 s
MOST_TRIES = 1000
UTTERANCES_OF_LONG = 4
LONG_EACH = 40  # one long recording per 40 utterances


@dataclass(frozen=True)
class Line:
    """One planned utterance: text, voice settings, peak level in dB and the pause after it in seconds."""

    text: str
    manner: Manner
    peak_db: float
    pause: float


@dataclass(frozen=True)
class Take:
    """One planned recording: id, part, language, speaker and lines. A long recording has several lines."""

    key: str
    part: str
    language: str
    speaker: str
    lines: tuple[Line, ...]


def plan_language(language: Language, counts: tuple[int, ...], seed: int) -> list[Take]:
    """Plan the recordings of one language: ``counts`` utterances in train, dev and test.

    All texts are different. This loads espeak-ng to check what the voice can read, so run it in its own
    process.
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
    """Return the number of utterances in each recording: for every 40, one recording has four, others one."""
    longs = min(-(-count // LONG_EACH), count // UTTERANCES_OF_LONG)
    return [UTTERANCES_OF_LONG] * longs + [1] * (count - UTTERANCES_OF_LONG * longs)


def direct(language: Language, part: str, index: int, texts: list[str], random: Random) -> Take:
    """Draw the speaker of a recording, and the voice settings and level of each line."""
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
