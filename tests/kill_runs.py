#!/usr/bin/env python3
"""Kill small runs of the recipe at random moments, run them again, and compare their files.

    tests/kill_runs.py --kills 20 --seed 1 [--processes 2] [--directory DIR]

One run of stages 1 to 8 is not interrupted. Each other run is killed again and again, and started again with
the stage that it had reached. When it has reached the end, or all kills are used up, the whole command is run
once more without a kill. Then every file in data/, dump/ and exp/ must have the bytes of the uninterrupted
run, except locks, logs, records and what holds times. After each kill, all processes of the run must end by
themselves. The exit code is 1 if anything differs.

The moments, the kinds of kills and the processes depend on the seed, but also on the speed of the machine.
Linux only, because it reads /proc.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shell.recipe import lay_recipe

SMALLER = (
    "--encoder_conf.model_scale 4 --encoder_conf.ndim 16 --encoder_conf.output_size 48 "
    "--projector_conf.output_size 16 --preprocessor_conf.target_duration 1.0 --num_iters_per_epoch 6 "
    "--max_epoch 2 --scheduler_conf.max_steps 12 --batch_bins 64000"
)
COMMAND = (
    *("bash", "run.sh", "--corpus", "mini", "--local_data_opts", '--utts_per_lang "2 2 2"', "--nj", "2"),
    *("--ngpu", "0", "--lid_tag", "small", "--lid_args", SMALLER, "--checkpoint_interval", "0"),
    *("--max_iter", "250", "--inference_model", "valid.accuracy.ave_2best.pth"),
)
COMPARED = ("data", "dump", "exp")
# Locks, logs, records, and charts of seconds. A plan holds the number of the run's attempts.
LEFT_OUT = re.compile(
    r"(^|/)(\.lock|\.running|\.done|\.format|\.jobs|logs|tensorboard|seconds\.png|[^/]*\.log)(/|$)"
)
TIMES = {"seconds", "waited_s", "waited"}
MARK = "KILL_RUNS"
ENDS_WITHIN_S = 150.0
START_S = 20.0
LONGEST_RUN_S = 1200.0
POLL_S = 0.05

Signals = dict[str, signal.Signals]
GROUP: Signals = {
    "SIGTERM to the group": signal.SIGTERM,
    "SIGHUP to the group": signal.SIGHUP,
    "SIGINT to the group": signal.SIGINT,
    "SIGKILL to the group": signal.SIGKILL,
}
SCRIPT, ONE = "SIGKILL to lid.sh alone", "SIGKILL to one process"
KINDS = (*GROUP, SCRIPT, ONE)


@dataclass(frozen=True)
class Member:
    """A process of a run.

    Attributes:
        pid: its number.
        parent: the number of its parent.
        words: its command line.
        rank: whether it is one of several training processes, or a child of one.
    """

    pid: int
    parent: int
    words: str
    rank: bool


@dataclass
class Kill:
    """One kill and what came of it.

    Attributes:
        kind: one of ``KINDS``; for one process, with what it did.
        stage: the stage that was running, 0 before the first.
        code: exit code of the run.
        left: processes that had not ended by themselves.
        held: whether the files of the run are those of the uninterrupted one, and nothing was left.
    """

    kind: str
    stage: int
    code: int
    left: list[str] = field(default_factory=list)
    held: bool = False


class Run:
    """A run of the recipe in the background, from a stage on.

    Args:
        recipe: the recipe's directory.
        stage: the first stage.
        processes: number of training processes.
    """

    def __init__(self, recipe: Path, stage: int, processes: int) -> None:
        self.log = recipe / "run.out"
        self.mark = f"{MARK}={recipe}"
        settings = os.environ | {"python": sys.executable, MARK: str(recipe), "OMP_NUM_THREADS": "1"}
        if processes > 1:
            settings["PET_NPROC_PER_NODE"] = str(processes)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--stage", str(stage)],
                cwd=recipe,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def stage(self) -> int:
        """The last stage that has begun; 0 before the first."""
        return max(map(int, re.findall(r" Stage (\d+): ", self.log.read_text())), default=0)

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; return False if the run ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def wait_for_a_stage(self) -> None:
        """Wait until its first stage has begun, or it has ended."""
        self.wait_until(lambda: self.stage > 0, LONGEST_RUN_S)

    def members(self) -> list[Member]:
        """Return its processes: all that have its mark in their environment."""
        return [member for member in processes_with(self.mark) if member.pid != os.getpid()]

    def end(self) -> list[str]:
        """Wait until all its processes have ended; kill those that do not end, and return what they were."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (left := self.members()) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(POLL_S)
        for member in left:
            os.kill(member.pid, signal.SIGKILL)
        self.process.wait()
        return [member.words for member in left]


def processes_with(mark: str) -> Iterator[Member]:
    """Yield the processes that have the line ``mark`` in their environment."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            if mark not in variables:
                continue
            words = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            ranked = any(variable.startswith("RANK=") for variable in variables)
            yield Member(int(path.name), int(parent), words, ranked)


def part_of(member: Member, members: list[Member]) -> str:
    """Return what a process does: ``rank``, ``reading process``, ``job`` or ``job's guard``, else ``""``."""
    parents = {other.pid: other for other in members}
    parent = parents.get(member.parent)
    if "train.py" in member.words and parent is not None and "train.py" in parent.words:
        return "rank" if member.rank and not parent.rank else "reading process"
    if "lid_toolkit.jobs.task" in member.words:
        return "job's guard"
    return "job" if re.search(r"\.py job ", member.words) else ""


def kill(run: Run, kind: str, rng: random.Random) -> str:
    """Kill what a kind says; return the kind, for one process with what it did. ``""``: it had ended."""
    if kind in GROUP:
        if run.process.poll() is not None:
            return ""
        os.killpg(run.process.pid, GROUP[kind])
        return kind
    if kind == SCRIPT:
        if run.process.poll() is not None:
            return ""
        run.process.kill()
        return kind
    found: dict[str, list[int]] = {}

    def look() -> bool:
        members = run.members()
        for member in members:
            if part := part_of(member, members):
                found.setdefault(part, []).append(member.pid)
        return bool(found)

    if not run.wait_until(look, LONGEST_RUN_S):
        return ""
    part = rng.choice(sorted(found))
    try:
        os.kill(rng.choice(found[part]), signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return f"SIGKILL to one {part}"


def killed_run(
    recipe: Path,
    seconds: dict[int, float],
    kinds: Iterator[str],
    count: int,
    processes: int,
    rng: random.Random,
) -> tuple[list[Kill], bool]:
    """Run to the end with kills, at most ``count``; return them, and whether the last run succeeded."""
    kills: list[Kill] = []
    stage, kind = 1, next(kinds)
    while len(kills) < count:
        run = Run(recipe, stage, processes)
        if rng.random() < 0.9:
            run.wait_for_a_stage()
            pause = rng.uniform(0, 1.2 * seconds[max(run.stage, 1)])
        else:
            pause = rng.uniform(0, seconds[0])
        run.wait_until(lambda: False, pause)
        done = kill(run, kind, rng)
        reached = run.stage
        if not done:
            run.end()
            if run.process.returncode == 0 and run.stage == 8:
                break
            stage = max(run.stage, stage)
            continue
        left = run.end()
        kills.append(Kill(done, reached, run.process.returncode, left))
        say(f"  stage {reached}: {done}: exit code {run.process.returncode}{', processes left' * bool(left)}")
        shutil.copy(run.log, recipe / f"killed.{len(kills)}.out")
        stage, kind = max(run.stage, stage), next(kinds)
    last = Run(recipe, 1, processes)
    last.wait_until(lambda: False, LONGEST_RUN_S)
    left = last.end()
    if last.process.returncode:
        say(f"  the last run ended with {last.process.returncode}:\n{last.log.read_text()[-2000:]}")
    return kills, last.process.returncode == 0 and not left


def contents(recipe: Path) -> dict[str, str]:
    """Return the digest of each final file of a run, by its path; of a checkpoint, without its times."""
    found = {}
    for top in COMPARED:
        for path in sorted((recipe / top).rglob("*")):
            name = path.relative_to(recipe).as_posix()
            if LEFT_OUT.search(name) or path.is_dir():
                continue
            if path.name == "checkpoint.pth":
                found[name] = repr(without_times(torch.load(path, weights_only=True)))
            elif path.suffix in (".json", ".jsonl"):
                text = path.read_text(encoding="utf-8")
                values = text.splitlines() if path.suffix == ".jsonl" else [text]
                found[name] = repr([without_times(json.loads(value)) for value in values])
            else:
                found[name] = hashlib.blake2b(path.read_bytes()).hexdigest()
    return found


def without_times(value: Any) -> Any:
    """Return a nested value without measured times, and with tensors as digests."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return (str(value.dtype), tuple(value.shape), hashlib.blake2b(data).hexdigest())
    return value


def differences(straight: dict[str, str], killed: dict[str, str]) -> list[str]:
    """Return which files differ, are missing or were left over."""
    found = [f"{name} is missing" for name in straight.keys() - killed.keys()]
    found += [f"{name} is left over" for name in killed.keys() - straight.keys()]
    found += [f"{name} differs" for name in straight.keys() & killed.keys() if straight[name] != killed[name]]
    return sorted(found)


def uninterrupted(recipe: Path, kept: Path, processes: int) -> dict[int, float]:
    """Run without a kill, unless an earlier call left such a run in ``kept``, and move it there.

    Returns:
        How long each stage took in seconds, and under 0 how long the start took.
    """
    if not kept.exists():
        run = Run(lay_recipe(recipe).path, 1, processes)
        run.wait_until(lambda: False, LONGEST_RUN_S)
        run.end()
        if run.process.returncode:
            sys.exit(f"the uninterrupted run failed:\n{run.log.read_text()[-2000:]}")
        recipe.rename(kept)
    log = (kept / "run.out").read_text()
    took = dict(re.findall(r"(?m)^ +(\d+)  .* (\d+) s$", log))
    return {0: START_S} | {int(stage): max(float(seconds), 1.0) for stage, seconds in took.items()}


def shuffled(rng: random.Random) -> Iterator[str]:
    """Yield all kinds in random order, again and again."""
    while True:
        yield from rng.sample(KINDS, len(KINDS))


def table(kills: list[Kill]) -> str:
    """Return the rows "fault | tried | held"."""
    lines = ["| fault | tried | held |", "|---|---|---|"]
    for kind in sorted({kill.kind for kill in kills}):
        these = [kill for kill in kills if kill.kind == kind]
        stages = " ".join(sorted({str(kill.stage) for kill in these}))
        codes = " ".join(sorted({str(kill.code) for kill in these}))
        held = sum(kill.held for kill in these)
        lines.append(f"| {kind} (stages {stages}; exit codes {codes}) | {len(these)} | {held} |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, flush=True)


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
    kinds = shuffled(rng)
    recipe = top / "recipe"  # always the same path, because some files name it
    kept = top / f"uninterrupted.{options.processes}"
    seconds = uninterrupted(recipe, kept, options.processes)
    straight = contents(kept)
    say(f"uninterrupted: {len(straight)} files in {sum(seconds.values()):.0f} s")
    kills: list[Kill] = []
    number = 0
    sound = True
    while len(kills) < options.kills or not number:
        number += 1
        say(f"run {number}:")
        lay_recipe(recipe)
        made, ended = killed_run(recipe, seconds, kinds, options.kills - len(kills), options.processes, rng)
        different = differences(straight, contents(recipe))
        say(
            "".join(f"  {line}\n" for line in different)
            + f"  {len(made)} kills, {len(different)} differences"
        )
        for one in made:
            one.held = ended and not different and not one.left
            say("".join(f"  left after {one.kind}: {words[:200]}\n" for words in one.left).rstrip())
        sound = sound and ended and not different and not any(one.left for one in made)
        kills += made
        recipe.rename(top / f"killed.{int(time.time())}")
        say(table(kills))
    if sound and options.directory is None:
        shutil.rmtree(top)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
