"""The Debian packages of corpus `voices`, and the sources in them: one language and one voice each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lid_toolkit import languages

KDE_VARIANT = re.compile(r"@.*")
"""KDE's locales may end with a script or variant: ``sr@latin``."""


@dataclass(frozen=True)
class Package:
    """A Debian package with recordings in one or more languages.

    Attributes:
        name: Debian package name.
        short: its name in the ids of sources.
        root: folder with the recordings, relative to the root of the file system.
        pattern: regular expression for the paths of recordings below ``root``. Its groups are ``name``, and
            ``locale`` and ``voice`` if they are part of the path.
        locale: the language if the path has none.
    """

    name: str
    short: str
    root: str
    pattern: str
    locale: str = ""


class Found(NamedTuple):
    """A recording in an unpacked package: language (ISO 639-3), source, name in the source, and file."""

    language: str
    source: str
    name: str
    path: Path


DRASCULA = "usr/share/scummvm/drascula"

PACKAGES = (
    Package("drascula", "drascula", DRASCULA, r"(?P<locale>en)/(?P<name>.*)\.ALS"),
    Package("drascula-spanish", "drascula", DRASCULA, r"(?P<locale>es)/(?P<name>.*)\.ALS"),
    Package("drascula-italian", "drascula", DRASCULA, r"(?P<locale>it)/(?P<name>.*)\.ALS"),
    Package(
        "klettres-data",
        "klettres",
        "usr/share/klettres",
        r"(?P<locale>[^/]+)/(?P<name>(alpha|syllab)/.*)\.ogg",
    ),
    Package(
        "ktuberling-data",
        "ktuberling",
        "usr/share/ktuberling/sounds",
        r"(?P<locale>[^/]+)/(?P<name>.*)\.(ogg|opus|wav)",
    ),
    Package(
        "tuxpaint-stamps-default",
        "tuxpaint",
        "usr/share/tuxpaint/stamps",
        r"(?P<name>.*)_desc(_(?P<locale>[a-z]{2}(_[A-Z]{2})?))?\.ogg",
        "en",
    ),
    Package("gcin-voice", "gcin", "usr/share/gcin-voice/ogg", r"(?P<name>.*)/(?P<voice>[^/]+)\.ogg", "zh_TW"),
)
"""The original of a game is before its translations: one that has the same speech is refused."""


def recordings(package: Package, tree: Path) -> Iterator[Found]:
    """Yield the recordings in an unpacked package, sorted by path.

    A source is named after its language, its package, and its locale or voice if there are several, such as
    ``eng-klettres-en_GB``. Links are skipped, because they repeat other recordings.
    """
    root = tree / package.root
    for path in sorted(root.rglob("*")):
        match = re.fullmatch(package.pattern, str(path.relative_to(root)))
        if match and path.is_file() and not path.is_symlink():
            groups = match.groupdict()
            locale = groups.get("locale") or package.locale
            language = languages.code(KDE_VARIANT.sub("", locale))
            voice = groups.get("voice") or locale
            yield Found(language, f"{language}-{package.short}-{voice}", groups["name"], path)
