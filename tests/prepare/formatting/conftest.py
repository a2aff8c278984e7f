"""A set of recordings at several rates, and a count of what is decoded."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import soundfile
from prepare.formatting.sets import tone

from lid_toolkit.audio.reader import open_audio
from lid_toolkit.datadir.datadir import write_data_dir
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.prepare.formatting import job as job_module
from lid_toolkit.prepare.formatting import plan as plan_module


@pytest.fixture
def source(tmp_path):
    """Twelve one-second utterances of two languages at several rates, in a directory with a blank."""
    audio = tmp_path / "au dio"
    audio.mkdir()
    rows = []
    for i in range(12):
        path = audio / f"é{i}.{('wav', 'flac')[i % 2]}"
        soundfile.write(
            path, tone(1.0, (16000, 8000, 44100)[i % 3], 300 + 20 * i), (16000, 8000, 44100)[i % 3]
        )
        rows.append((f"utt{i:02d}", str(path)))
    utt2lang = table_from_pairs((key, ("eng", "fra")[i % 2]) for i, (key, _) in enumerate(rows))
    write_data_dir(
        tmp_path / "data", rows, utt2lang, {"utt2spk": table_from_pairs((key, "s") for key, _ in rows)}
    )
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(plan_module, "UTTERANCES_PER_PART", 3)


@pytest.fixture
def decoded(monkeypatch):
    """The references of all decodings since."""
    calls = []

    @contextlib.contextmanager
    def counted(ref, reading):
        with open_audio(ref, reading) as recording:

            def read(start, stop):
                calls.append(ref)
                return recording.read(start, stop)

            yield dataclasses.replace(recording, read=read)

    monkeypatch.setattr(job_module, "open_audio", counted)
    return calls
