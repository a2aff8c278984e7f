"""The curves of a scored set as files, for slides and print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.evaluation.html_report import Chart
from lid_toolkit.evaluation.style import FORMS
from lid_toolkit.files import write_whole


def write_pictures(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Write charts in the formats ``FORMS``, and return the files."""
    written = []
    for name, _, picture in charts:
        for form in FORMS:
            path = directory / f"{name}.{form}"
            with write_whole(path, "wb") as stream:
                stream.write(picture.file(form))
            written.append(path)
    return written
