"""Sets of recordings to format, and stage 3 in one call."""

from __future__ import annotations

import numpy as np
import soundfile

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.prepare.formatting.job import run_job
from lid_toolkit.prepare.formatting.merge import merge
from lid_toolkit.prepare.formatting.plan import FormatOptions, make_plan


def tone(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def format_set(source, target, num_jobs=2, **options):
    """Run the stage; return how many jobs it took."""
    jobs = make_plan(source, target, FormatOptions(**options), num_jobs)
    for number in range(1, jobs + 1):
        run_job(target, number)
    if jobs:
        merge(target)
    return jobs


def add(source, key, path, language="eng"):
    with open(source / "wav.scp", "a") as wav_scp, open(source / "utt2lang", "a") as utt2lang:
        wav_scp.write(f"{key} {path}\n")
        utt2lang.write(f"{key} {language}\n")
    (source / "utt2spk").unlink(missing_ok=True)


def waves(target):
    return {key: read_audio(ref)[0] for key, ref in read_data_dir(target).wav_scp}


def plain_set(directory, languages=("eng", "fra"), **how):
    """A set of mono recordings of one second, one a language, written by soundfile with ``how``."""
    directory.mkdir()
    rows = []
    for i, language in enumerate(languages):
        path = directory / f"{language}.{how.get('name', 'wav')}"
        soundfile.write(path, tone(1.0, how.get("rate", 16000), 300 + 50 * i), how.get("rate", 16000))
        rows.append((f"utt-{language}", str(path)))
    write_data_dir(directory / "data", rows, table_from_pairs((f"utt-{name}", name) for name in languages))
    return directory / "data"
