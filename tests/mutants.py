#!/usr/bin/env python3
"""Change the code in small ways, and report which of the changes no test notices.

    tests/run.sh mutants                         every mutation, on one process
    tests/run.sh mutants resume no-fsync-of-file --jobs 2     an area and a single mutation
    tests/run.sh mutants --list                  names and reasons

A mutation is an entry in tests/mutations/AREA.yaml: a text that occurs once in a file, the text to put in
its place, and the tests that must then fail. Each process has a copy of the working tree in a temporary
directory. The tests run there without the mutation first, because a test that always fails notices nothing.

The exit code is 0 if every mutation is noticed, 1 if one is not or does not apply, and 2 for a wrong option.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib.util
import os
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLES = Path("tests/mutations")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-m", "not (slow or slurm or sge)")
KILLED, SURVIVED, NOT_APPLIED = "killed", "survived", "does not apply"
ALL_PASSED, SOME_FAILED = 0, 1  # exit codes of pytest
TIMED_OUT = 124
# A mutation may make a test hang. It may take this much longer than without the mutation.
SLOWER, LEAST_S, MOST_S = 4.0, 60.0, 900.0
# It may also make one fill the memory. Importing PyTorch reserves some gigabytes without using them.
MOST_BYTES = 12 * 2**30


@dataclass(frozen=True)
class Mutation:
    """A small mistake in the code.

    Attributes:
        name: its name, unique among all.
        area: name of the table it is from.
        why: what the mistake would do to a user.
        file: the file to change, relative to the root.
        old: a text that occurs once in the file.
        new: the text to put in its place.
        tests: the test files, or tests as ``FILE::NAME``, that must notice it, separated by spaces.
    """

    name: str
    area: str
    why: str
    file: str
    old: str
    new: str
    tests: str

    def fault(self, root: Path) -> str:
        """Return why the mutation cannot be made in a tree, ``""`` if it can."""
        missing = [
            name for name in (self.file, *self.tests.split()) if not (root / name.partition("::")[0]).exists()
        ]
        if missing:
            return f"{missing[0]} does not exist"
        text = (root / self.file).read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            return f"the old text occurs {count} times in {self.file}"
        if self.file.endswith(".py"):
            try:
                ast.parse(self.applied(text))
            except SyntaxError as error:
                return f"the new text is not valid: {error.msg}"
        return ""

    def applied(self, text: str) -> str:
        """Return the changed text of the file."""
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation: the verdict, what decided it, and how long its tests took."""

    mutation: Mutation
    verdict: str
    detail: str = ""
    seconds: float = 0.0


def read_mutations(root: Path) -> list[Mutation]:
    """Return the mutations of all tables, in the order of their tests, so that equal tests are neighbours."""
    found = [
        Mutation(area=path.stem, **row)
        for path in sorted((root / TABLES).glob("*.yaml"))
        for row in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda mutation: mutation.tests)


class Tree:
    """A copy of a working tree: what git tracks, and new files that it does not ignore."""

    def __init__(self, root: Path, place: Path) -> None:
        self.place = place
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listing, cwd=root, check=True, capture_output=True).stdout.split(b"\0"):
            source, target = root / os.fsdecode(name), place / os.fsdecode(name)
            if name and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    @contextlib.contextmanager
    def changed_by(self, mutation: Mutation) -> Iterator[None]:
        """Make the mutation inside."""
        path = self.place / mutation.file
        text = path.read_text(encoding="utf-8")
        self._write(path, mutation.applied(text))
        try:
            yield
        finally:
            self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        # Compiled code is used again if the file has the same size and was written in the same second.
        if path.suffix == ".py":
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: str, limit_s: float) -> tuple[int, str, float]:
        """Run tests in the copy; return the exit code, the output and the seconds."""
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", *OPTIONS, *tests.split()],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(self.place)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            if hasattr(resource, "prlimit"):  # only on Linux
                resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            try:
                output, code = process.communicate(timeout=limit_s)[0], process.returncode
            except subprocess.TimeoutExpired:
                output, code = "", TIMED_OUT
            # What a test left running, or the tests themselves if they hang.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        return code, output, time.monotonic() - started


class Trial:
    """Runs tests in several copies of a tree at the same time."""

    def __init__(self, root: Path, place: Path, jobs: int) -> None:
        self._trees: queue.Queue[Tree] = queue.Queue()
        for number in range(jobs):
            self._trees.put(Tree(root, place / str(number)))
        self._jobs = jobs

    @contextlib.contextmanager
    def _tree(self) -> Iterator[Tree]:
        tree = self._trees.get()
        try:
            yield tree
        finally:
            self._trees.put(tree)

    def judge(self, mutations: Sequence[Mutation]) -> Iterator[Outcome]:
        """Yield the outcome of each mutation, in the order of their tests."""
        with ThreadPoolExecutor(self._jobs) as pool:
            # Threads take what is submitted in order, so a mutation never waits for a run that has no thread.
            outcomes = []
            for tests in dict.fromkeys(mutation.tests for mutation in mutations):
                limit = pool.submit(self._limit, tests)
                outcomes += [pool.submit(self._one, one, limit) for one in mutations if one.tests == tests]
            for outcome in outcomes:
                yield outcome.result()

    def _limit(self, tests: str) -> tuple[float, str]:
        """Run tests without a mutation; return how long they may take with one, and why if they fail."""
        with self._tree() as tree:
            code, output, seconds = tree.run(tests, MOST_S)
        fault = "" if code == ALL_PASSED else f"without the mutation: {_reason(code, output)}"
        return min(max(SLOWER * seconds, LEAST_S), MOST_S), fault

    def _one(self, mutation: Mutation, limit: Future[tuple[float, str]]) -> Outcome:
        limit_s, fault = limit.result()
        if fault:
            return Outcome(mutation, NOT_APPLIED, fault)
        with self._tree() as tree, tree.changed_by(mutation):
            code, output, seconds = tree.run(mutation.tests, limit_s)
        if code == ALL_PASSED:
            return Outcome(mutation, SURVIVED, mutation.why, seconds)
        # A negative code is a signal, which the mutation may have brought about. With the other codes, pytest
        # could not run the tests.
        noticed = code in (SOME_FAILED, TIMED_OUT) or code < 0
        return Outcome(mutation, KILLED if noticed else NOT_APPLIED, _reason(code, output), seconds)


def _reason(code: int, output: str) -> str:
    """Return the test that failed, or what ended the tests."""
    if code == TIMED_OUT:
        return "took too long"
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return failed[0] if failed else f"pytest ended with exit code {code}"


def chosen(mutations: Sequence[Mutation], names: Sequence[str]) -> list[Mutation]:
    """Return the mutations with the given names or of the given areas; all without names.

    Raises:
        ValueError: there is no mutation or area of a name.
    """
    for name in names:
        if not any(name in (mutation.name, mutation.area) for mutation in mutations):
            raise ValueError(f"{name}: there is no such mutation or area (--list shows them)")
    return [one for one in mutations if not names or one.name in names or one.area in names]


def report(outcomes: Sequence[Outcome]) -> int:
    """Print the mutations that were not noticed, and the counts; return the exit code."""
    unnoticed = [outcome for outcome in outcomes if outcome.verdict != KILLED]
    for outcome in unnoticed:
        print(f"{outcome.verdict}: {outcome.mutation.area}/{outcome.mutation.name}: {outcome.detail}")
    counts = Counter(outcome.verdict for outcome in outcomes)
    words = f"{counts[KILLED]} killed, {counts[SURVIVED]} survived, {counts[NOT_APPLIED]} do not apply"
    print(f"{len(outcomes)} mutation{'s' * (len(outcomes) != 1)}: {words}")
    return 1 if unnoticed else 0


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Try the chosen mutations; return the exit code."""
    parser = argparse.ArgumentParser(prog="mutants", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutation or an area; default: all")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="number of processes (default: 1)")
    parser.add_argument("--list", action="store_true", help="list the mutations and exit")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    try:
        mutations = chosen(read_mutations(root), options.names)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for mutation in sorted(mutations, key=lambda mutation: (mutation.area, mutation.name)):
            print(f"{mutation.area}/{mutation.name}: {mutation.why}")
        return 0
    faults = {mutation: mutation.fault(root) for mutation in mutations}
    outcomes = [Outcome(mutation, NOT_APPLIED, fault) for mutation, fault in faults.items() if fault]
    show = functools.partial(print, flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        trial = Trial(root, Path(place), options.jobs)
        for outcome in trial.judge([mutation for mutation, fault in faults.items() if not fault]):
            mutation, line = outcome.mutation, f"{outcome.verdict} ({outcome.seconds:.0f} s)"
            show(f"{mutation.area}/{mutation.name}: {line}: {outcome.detail}")
            outcomes.append(outcome)
    return report(outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
