"""espeak-ng through ctypes: convert text to phonemes and to speech.

The package ``espeakng-loader`` contains the library and its data. The library keeps state between calls
that changes later speech, so :func:`local.parallel.isolated` runs each utterance in its own process.
Phonemes and speech are never made in the same process, because this has crashed.
The API is declared in espeak-ng's ``speak_lib.h`` and ``espeak_ng.h``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import espeakng_loader
import numpy as np
import numpy.typing as npt

OUTPUT_SYNCHRONOUS, DONT_EXIT = 2, 0x8000
TEXT_IS_UTF8, PHONEMES_AS_IPA = 1, 2
POSITION_CHARACTER = 1
RATE, VOLUME, PITCH, RANGE, WORD_GAP = 1, 2, 3, 4, 7  # espeak_PARAMETER
HEADROOM_VOLUME = 80  # at the default of 100 some voices clip
SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Manner:
    """Voice settings of an utterance.

    Attributes:
        voice: espeak-ng voice name, ``LANGUAGE+VARIANT``.
        rate: words per minute.
        pitch, pitch_range: 0 to 100; 50 is the default of the voice.
        word_gap: additional pause between words, in units of 10 ms.
        seed: seed of the library's random numbers, used for breath and flutter.
    """

    voice: str
    rate: int
    pitch: int
    pitch_range: int
    word_gap: int
    seed: int


def load() -> tuple[ctypes.CDLL, int]:
    """Initialise the library; return it and its sampling rate, 22050 Hz."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
        *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
    ]
    rate = library.espeak_Initialize(
        OUTPUT_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), DONT_EXIT
    )
    if rate <= 0:
        raise RuntimeError(f"espeak_Initialize returned {rate}")
    return library, rate


def set_voice(library: ctypes.CDLL, voice: str) -> None:
    """Select a voice by name."""
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {voice}")


def phonemes(library: ctypes.CDLL, text: str) -> str:
    """Return ``text`` in IPA as the selected voice reads it. ``(xx)`` marks a switch to the voice of xx."""
    rest, spoken = ctypes.c_char_p(text.encode()), []
    while rest.value is not None:
        clause = library.espeak_TextToPhonemes(ctypes.byref(rest), TEXT_IS_UTF8, PHONEMES_AS_IPA)
        spoken.append((clause or b"").decode())
    return " ".join(spoken)


def speak(text: str, manner: Manner) -> tuple[npt.NDArray[np.int16], int]:
    """Return ``text`` as speech: 16-bit samples (samples,) and their sampling rate in Hz."""
    library, rate = load()
    blocks: list[npt.NDArray[np.int16]] = []

    def keep(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = SYNTH_CALLBACK(keep)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(manner.seed)
    set_voice(library, manner.voice)
    settings = {
        RATE: manner.rate,
        VOLUME: HEADROOM_VOLUME,
        PITCH: manner.pitch,
        RANGE: manner.pitch_range,
        WORD_GAP: manner.word_gap,
    }
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    data = text.encode() + b"\0"
    library.espeak_Synth(data, len(data), 0, POSITION_CHARACTER, 0, TEXT_IS_UTF8, None, None)
    library.espeak_Synchronize()
    return np.concatenate([*blocks, np.zeros(0, np.int16)]), rate
