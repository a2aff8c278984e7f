"""Where the recordings of utterances are, for a page that plays them.

A page refers to a recording by its path relative to the page, so that both can be copied together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lid_toolkit.datadir.tables.table import Table, read_table

PLAYABLE = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".webm")
"""Files that browsers play."""


@dataclass(frozen=True)
class Recording:
    """The recording of an utterance.

    Attributes:
        source: its address for a page, relative to the page; "" if it cannot be played.
        reason: why it cannot be played; "" if it can.
    """

    source: str
    reason: str = ""


def find_recordings(data_dir: Path | None, utterances: Iterable[str], page_dir: Path) -> dict[str, Recording]:
    """Return where each of these utterances is to be heard.

    A reference in ``wav.scp`` is a path from the directory in which the recipe runs: the current one, or one
    of those above the data directory.

    Args:
        data_dir: the set, with ``wav.scp`` and perhaps ``segments``; None if it is not known.
        utterances: ids.
        page_dir: directory of the page.
    """
    if data_dir is None or not (data_dir / "wav.scp").is_file():
        reason = "the set is not where it was" if data_dir is None else "the set has no wav.scp"
        return {utterance: Recording("", reason) for utterance in utterances}
    recordings = read_table(data_dir / "wav.scp")
    segments = read_table(data_dir / "segments") if (data_dir / "segments").is_file() else None
    roots = [Path.cwd(), *data_dir.resolve().parents]
    return {name: _recording(name, recordings, segments, roots, page_dir) for name in utterances}


def _recording(
    utterance: str, recordings: Table, segments: Table | None, roots: list[Path], page_dir: Path
) -> Recording:
    """Return the recording of an utterance; of a segment, a media fragment (W3C Media Fragments 1.0)."""
    recording, part = utterance, ""
    if segments is not None and utterance in segments:
        recording, start, end, *_ = segments[utterance].split()
        part = f"#t={start}" + (f",{end}" if end != "-1" else "")
    if recording not in recordings:
        return Recording("", "not in wav.scp")
    reference = recordings[recording]
    path = Path(reference)
    if reference.rstrip().endswith("|"):
        return Recording("", "the output of a command")
    if path.suffix.lower() not in PLAYABLE:
        return Recording("", "in an archive" if ":" in reference else "not of a format that browsers play")
    found = next((root / path for root in roots if (root / path).is_file()), None)
    if found is None:
        return Recording("", f"the file is missing: {reference}")
    return Recording(quote(os.path.relpath(found.resolve(), page_dir.resolve())) + part)
