"""The Debian packages with recorded prompts, and the recordings in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ASTERISK = "usr/share/asterisk/sounds"
FILLETS = "usr/share/games/fillets-ng/sound"
AUDIO_SUFFIXES = (".wav", ".gsm", ".ogg")


@dataclass(frozen=True)
class Package:
    """A Debian package with recordings.

    Attributes:
        name: Debian package name.
        language: language label, ISO 639-3.
        voice: speaker of the package, or the cast of a game.
        root: folder with the recordings, relative to the root of the file system.
        held_out: whether its speakers are used only in the test set.
    """

    name: str
    language: str
    voice: str
    root: str
    held_out: bool = False


PACKAGES = (
    Package("asterisk-core-sounds-en-wav", "eng", "allison", f"{ASTERISK}/en_US_f_Allison"),
    Package("asterisk-core-sounds-es-wav", "spa", "allison", f"{ASTERISK}/es_MX_f_Allison"),
    Package("asterisk-core-sounds-fr-wav", "fra", "june", f"{ASTERISK}/fr_CA_f_June"),
    Package("asterisk-core-sounds-it-wav", "ita", "carlo", f"{ASTERISK}/it_IT_m_Carlo"),
    Package("asterisk-core-sounds-ru-wav", "rus", "ivrvoice", f"{ASTERISK}/ru_RU_f_IvrvoiceRU"),
    Package("fillets-ng-data-cs", "ces", "fillets", FILLETS),
    Package("fillets-ng-data-nl", "nld", "fillets", FILLETS),
    Package("asterisk-prompt-es-co", "spa", "colombia", f"{ASTERISK}/es", held_out=True),
    Package("asterisk-prompt-fr-armelle", "fra", "armelle", f"{ASTERISK}/fr", held_out=True),
    Package("asterisk-prompt-it-menardi-wav", "ita", "menardi", f"{ASTERISK}/it_IT_f_Menardi", held_out=True),
)


def recordings(package: Package, tree: Path) -> Iterator[tuple[str, Path]]:
    """Yield ``(name, path)`` of each recording in an unpacked package, sorted by name.

    The name is the path relative to the package's root, without suffix, e.g. ``digits/1``. Links are
    skipped, because they repeat other recordings.
    """
    root = tree / package.root
    paths = [p for p in root.rglob("*") if p.suffix in AUDIO_SUFFIXES and p.is_file() and not p.is_symlink()]
    yield from sorted((str(path.relative_to(root).with_suffix("")), path) for path in paths)
