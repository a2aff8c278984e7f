"""Stage 1 for corpus `mini`: synthesise the speech and write the train, dev and test directories."""

from __future__ import annotations

import argparse
import functools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.cli import positive_int, run
from lid_toolkit.steps import Step
from local.corpus import Utterance, alone, option_parser, report, sources, write_set, write_wav
from local.mini.espeak import speak
from local.mini.languages import LANGUAGES, PARTS, Language
from local.mini.plan import Line, Take, plan_language
from local.parallel import isolated, parallel

SIZES = (160, 25, 40)
SEED = 0


def plan(counts: tuple[int, ...], language: Language) -> list[Take]:
    """Plan one language in its own process."""
    return isolated(plan_language, language, counts, SEED)


def synthesise(folder: Path, take: Take) -> list[Utterance]:
    """Write one recording to ``folder/PART/LANGUAGE/ID.wav`` at espeak-ng's rate; return its utterances."""
    path = folder / take.part / take.language / f"{take.key}.wav"
    is_long = len(take.lines) > 1
    pieces: list[npt.NDArray[np.int16]] = []
    utterances: list[Utterance] = []
    start = 0
    for number, line in enumerate(take.lines):
        wave, rate = render(line)
        pause = np.zeros(round(line.pause * rate) if is_long else 0, np.int16)
        utterances.append(
            Utterance(
                key=f"{take.key}-{number}" if is_long else take.key,
                language=take.language,
                speaker=take.speaker,
                audio=path,
                duration=len(wave) / rate,
                recording=take.key,
                start=start / rate,
            )
        )
        pieces += [wave, pause]
        start += len(wave) + len(pause)
    write_wav(path, np.concatenate(pieces), rate)
    return utterances


def render(line: Line) -> tuple[npt.NDArray[np.int16], int]:
    """Return the speech of a line, scaled to its level: 16-bit samples (samples,) and their sampling rate."""
    wave, rate = isolated(speak, line.text, line.manner)
    gain = 32767 * 10 ** (line.peak_db / 20) / max(int(np.abs(wave.astype(np.int32)).max(initial=1)), 1)
    return np.rint(wave * gain).astype(np.int16), rate


def prepare(datadir: Path, corpus_dir: Path, counts: tuple[int, ...], jobs: int, dry_run: bool) -> None:
    """Make the three data directories unless they are current, and print a summary."""
    step = Step(
        "prepare mini",
        datadir / ".done" / "mini.json",
        sources(__file__),
        {
            "utts_per_lang": counts,
            "corpus_dir": str(corpus_dir),
            **{name: metadata.version(name) for name in ("espeakng-loader", "babel")},
        },
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("preparing mini", lock=None) as work:
        if work is not None:
            work.finish(make(datadir, corpus_dir, counts, jobs))


def make(datadir: Path, corpus_dir: Path, counts: tuple[int, ...], jobs: int) -> list[Path]:
    """Synthesise the corpus, write its data directories, and return all files written."""
    fresh, final = corpus_dir / ".wav.new", corpus_dir / "wav"
    shutil.rmtree(fresh, ignore_errors=True)
    plans = parallel(functools.partial(plan, counts), LANGUAGES, jobs, "plan mini", "language")
    takes = [take for takes in plans for take in takes]
    spoken = list(parallel(functools.partial(synthesise, fresh), takes, jobs, "synthesise mini"))
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)
    sets: dict[str, list[Utterance]] = {f"{part}_mini": [] for part in PARTS}
    for take, utterances in zip(takes, spoken, strict=True):
        sets[f"{take.part}_mini"] += [
            replace(u, audio=final / u.audio.relative_to(fresh)) for u in utterances
        ]
    tables = [path for name, members in sets.items() for path in write_set(datadir / name, members)]
    print(report(sets))
    return [*tables, *sorted(final.rglob("*.wav"))]


def sizes(text: str) -> tuple[int, ...]:
    """Parse the numbers of utterances in train, dev and test."""
    counts = tuple(positive_int(word) for word in text.split())
    if len(counts) != len(PARTS):
        raise argparse.ArgumentTypeError(f"must be three numbers, e.g. '160 25 40', not '{text}'")
    return counts


def main(arguments: Sequence[str]) -> None:
    """Parse the options and prepare the corpus."""
    parser = option_parser("mini", "Prepare corpus mini: synthetic speech in twelve languages.")
    parser.add_argument(
        "--utts_per_lang",
        type=sizes,
        default=SIZES,
        metavar='"TRAIN DEV TEST"',
        help="utterances per language",
    )
    options = parser.parse_args(arguments)
    corpus_dir, counts = options.corpus_dir.absolute(), options.utts_per_lang
    with alone("mini", corpus_dir, options.datadir, dry_run=options.dry_run):
        prepare(options.datadir, corpus_dir, counts, options.nj, options.dry_run)


if __name__ == "__main__":
    run(main)
