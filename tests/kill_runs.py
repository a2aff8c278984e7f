#!/usr/bin/env python3
"""Kill small runs of the recipe again and again, run them to their end, and compare their files.

    tests/kill_runs.py --kills 200 --seed 1 [--processes 2] [--directory DIR]

One run of stages 1 to 8 is not interrupted. The others are killed, and started again with the stage that
they had reached. After its last kill, the whole command is run once more. Then every file in data/, dump/
and exp/ must have the bytes of the uninterrupted run, except locks, logs, records and what holds times. After
each kill, all processes of the run must end by themselves. The exit code is 1 if anything differs.

There are ten kinds of faults, tried in turn: 200 kills are 20 of each. Each kind has the stages where it can
happen, also in turn: a kill waits for its stage to begin, and then for a random part of the time that the
stage usually takes. Some wait for an update of the training instead. The table counts a kill at the stage
that ran when it happened, which may be the next one; "5u" is after the first update of the training. A kill
that finds nothing to kill is tried again in another run.

The moments depend on the seed, but also on the speed of the machine. Linux only, because it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kills.results import contents, differences
from kills.runs import KINDS, LONGEST_RUN_S, PARTS, UPDATE, Run
from shell.recipe import lay_recipe

EVERYWHERE = (0, 1, 2, 3, 4, 5, UPDATE, UPDATE, 6, 7, 8)
ONLY = {"job": (3, 6), "guard": (3, 6), "runner": (3, 6), "reading": (5, UPDATE), "training": (5, UPDATE)}
KILLS_OF_A_RUN = 30
UPDATES_S = 1.0


@dataclass(frozen=True)
class Trial:
    """A kill that is to be made: one of ``KINDS``, and the moment that it waits for."""

    moment: float
    kind: str


@dataclass
class Kill:
    """One kill and what came of it.

    Attributes:
        kind: one of ``KINDS``.
        place: the stage that was running, "0" before the first, "5u" after the first update.
        code: exit code of the run.
        left: processes that had not ended by themselves.
        held: whether the files of the run are those of the uninterrupted one, and nothing was left.
    """

    kind: str
    place: str
    code: int
    left: list[str] = field(default_factory=list)
    held: bool = False


def trials(count: int, rng: random.Random) -> list[Trial]:
    """Return so many trials in random order, with kinds in turn, and for each kind its moments in turn."""
    moments = {}
    for kind in KINDS:
        possible = ONLY[PARTS[kind]] if kind in PARTS else EVERYWHERE
        moments[kind] = rng.sample(possible, len(possible))
    found = []
    for number in range(count):
        turn, kind = number // len(KINDS), KINDS[number % len(KINDS)]
        found.append(Trial(moments[kind][turn % len(moments[kind])], kind))
    rng.shuffle(found)
    return found


def killed_run(
    recipe: Path, seconds: dict[float, float], wanted: list[Trial], processes: int, rng: random.Random
) -> tuple[list[Kill], list[Trial], bool]:
    """Run to the end, with kills in the order of their moments.

    Returns:
        The kills, the trials that found nothing to kill, and whether the last run succeeded.
    """
    kills: list[Kill] = []
    missed: list[Trial] = []
    run, stage = Run(recipe, 1, processes), 0
    for trial in sorted(wanted, key=lambda trial: trial.moment):
        stage = max(run.stage, stage)
        if int(trial.moment) < stage:
            missed.append(trial)
            continue
        if run.ended:
            run = Run(recipe, max(stage, 1), processes)
        run.reach(trial.moment)
        run.wait_until(lambda: False, rng.uniform(0, seconds[trial.moment]))
        place = run.place
        if not run.strike(trial.kind, rng):
            missed.append(trial)
            continue
        left = run.end()
        kills.append(Kill(trial.kind, place, run.process.returncode, left))
        say(f"  stage {place}: {trial.kind}: exit code {run.process.returncode}")
        say("".join(f"    left: {words[:200]}\n" for words in left))
        shutil.copy(run.log, recipe / f"killed.{len(kills)}.out")
    run.wait_until(lambda: False, LONGEST_RUN_S)
    run.end()
    last = Run(recipe, 1, processes)
    last.wait_until(lambda: False, LONGEST_RUN_S)
    left = last.end()
    if last.process.returncode:
        say(f"  the last run ended with {last.process.returncode}:\n{last.log.read_text()[-2000:]}")
    return kills, missed, last.process.returncode == 0 and not left


def uninterrupted(recipe: Path, kept: Path, processes: int) -> dict[float, float]:
    """Run without a kill, unless an earlier call left such a run in ``kept``, and move it there.

    Returns:
        How long each moment lasts in seconds: 0, the start; 5, the training before its first update.
    """
    if not kept.exists():
        run = Run(lay_recipe(recipe).path, 1, processes)
        began: dict[float, float] = {0: time.monotonic()}

        def look() -> bool:
            began.setdefault(run.moment, time.monotonic())
            return False

        run.wait_until(look, LONGEST_RUN_S)
        began[max(began) + 1] = time.monotonic()
        run.end()
        if run.process.returncode:
            sys.exit(f"the uninterrupted run failed:\n{run.log.read_text()[-2000:]}")
        moments = sorted(began)
        seconds = {a: began[b] - began[a] for a, b in pairwise(moments)} | {UPDATE: UPDATES_S}
        (recipe / "seconds.json").write_text(json.dumps(seconds))
        recipe.rename(kept)
    saved = json.loads((kept / "seconds.json").read_text())
    return {float(moment): value for moment, value in saved.items()}


def table(kills: list[Kill]) -> str:
    """Return the rows "fault | tried | withstood"."""
    lines = ["| fault | tried | withstood |", "|---|---|---|"]
    for kind in KINDS:
        these = [kill for kill in kills if kill.kind == kind]
        places = ", ".join(f"{p}: {n}" for p, n in sorted(Counter(kill.place for kill in these).items()))
        codes = " ".join(sorted({str(kill.code) for kill in these}))
        held = sum(kill.held for kill in these)
        lines.append(f"| {kind} (stages {places}; exit codes {codes}) | {len(these)} | {held} |")
    return "\n".join(lines)


def say(text: str) -> None:
    """Print a text, unless it is empty."""
    if text:
        print(text.rstrip("\n"), flush=True)


def main() -> None:
    """Make the runs; exit with 1 if a file differs or a process was left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="number of kills (20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of moments and kinds (0)")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1, help="training processes (1)")
    parser.add_argument("--directory", type=Path, help="where to run; kept for the next call")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and so would all runs
    top = (options.directory or Path(tempfile.mkdtemp(prefix="kill_runs."))).resolve()
    top.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    recipe = top / "recipe"  # always the same path, because some files name it
    kept = top / f"uninterrupted.{options.processes}"
    seconds = uninterrupted(recipe, kept, options.processes)
    straight = contents(kept)
    say(f"uninterrupted: {len(straight)} files")
    wanted = trials(options.kills, rng)
    kills: list[Kill] = []
    number, sound = 0, True
    while wanted:
        number += 1
        say(f"run {number}:")
        lay_recipe(recipe)
        part, wanted = wanted[:KILLS_OF_A_RUN], wanted[KILLS_OF_A_RUN:]
        made, missed, ended = killed_run(recipe, seconds, part, options.processes, rng)
        different = differences(straight, contents(recipe))
        say("".join(f"  {line}\n" for line in different))
        say(f"  {len(made)} kills, {len(different)} differences, {len(missed)} to be tried again")
        for one in made:
            one.held = ended and not different and not one.left
        sound = sound and ended and not different and not any(one.left for one in made)
        kills += made
        wanted += missed
        if sound:
            shutil.rmtree(recipe)
        else:
            recipe.rename(top / f"killed.{int(time.time())}")
        say(table(kills))
    if sound and options.directory is None:
        shutil.rmtree(top)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
