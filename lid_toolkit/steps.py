"""Steps that know whether they are current: a fingerprint of inputs, options and outputs.

A step is skipped only if its options and the contents of its inputs are the same as in the recorded run, and
every output still has its recorded size and modification time. That an output exists is not enough: it may
have been made from other inputs, or by a run that was interrupted.

    with step.work("scoring", lock=directory) as work:
        if work is None:  # current
            return
        ...
        work.finish(outputs)

The paths of the outputs are relative to the record, so the record of a moved directory still applies.

The order is: lock, compute the digests of the inputs, compare with the record, work. The record describes the
inputs before the work began, so if an input changes during the work, the next run does the step again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, remove_leftovers, write_whole

RECORD_VERSION = 2
PACKAGES = ("torch", "transformers", "numpy")
"""Packages whose versions are recorded: those that compute."""
GIT_S = 10
"""Longest time in seconds that git may take."""


@dataclass(frozen=True)
class Step:
    """One piece of work whose outputs are files.

    Attributes:
        name: name for messages, e.g. ``"format train_mini"``.
        record: the JSON file that records the last finished run; by convention
            ``OUTPUT_DIR/.done/NAME.json``.
        inputs: files by name; a file need not exist.
        options: JSON-serialisable values that change the outputs.
        version: version of the code that makes the outputs. Raise it when the outputs change, for example
            when a report gets another metric; outputs of an older version are then out of date.
        check: a further check of the outputs, for example of the parts they were made from; returns what
            is wrong, or ``""``.
        defaults: values of options that a record may lack, because it was written before they existed.
    """

    name: str
    record: Path
    inputs: Mapping[str, Path]
    options: Mapping[str, object]
    version: int = 1
    check: Callable[[], str] = str
    defaults: Mapping[str, object] = field(default_factory=dict)

    def reason(self) -> str:
        """Return why the step must run, e.g. ``"wav.scp changed"``, or ``""`` if its outputs are current."""
        return self._compare(None)

    def due(self, dry_run: bool = False) -> bool:
        """Return whether to run the step now; log if it is current.

        A dry run logs whether the step is current or why it must run, and returns False. The answer may
        change before the work begins, so :meth:`work` checks again.
        """
        reason = self.reason()
        if not reason or dry_run:
            self._log(reason, dry_run)
        return bool(reason) and not dry_run

    @contextlib.contextmanager
    def work(
        self, doing: str, lock: Path | None, *, known: Snapshot | None = None, quiet: bool = False
    ) -> Iterator[Work | None]:
        """Hold the lock and do the work, unless the step is current: then yield None.

        Args:
            doing: what this process does, for the error message of other processes, e.g. ``"scoring"``.
            lock: the directory to lock; None if the caller has locked it.
            known: the snapshot that the plan of this work took. The inputs are not read again, but must
                not have changed since.
            quiet: do not log that the step begins or is skipped.

        Raises:
            LidError: another process has locked the directory, or an input changed since the plan.
        """
        with contextlib.ExitStack() as held:
            if lock is not None:
                try:
                    held.enter_context(locked(lock, doing))
                except OSError:
                    if self.reason():  # a current step needs no write permission
                        raise
            snapshot = Snapshot.take(self.inputs) if known is None else known
            if known is not None:
                known.check(self.inputs)
            reason = self._compare(snapshot.digests)
            if not quiet:
                self._log(reason)
            yield Work(self, snapshot) if reason else None

    def _compare(self, digests: Mapping[str, str | None] | None) -> str:
        """Return why the step must run, or ``""``; read the inputs only if ``digests`` is None and needed."""
        try:
            last = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "not done yet"
        if last.get("version") != RECORD_VERSION:
            return "recorded by another version"
        # Records had no "code" before steps had versions, and all steps began with version 1.
        if last.get("code", 1) != self.version:
            return "made by another version of the code"
        now = json.loads(json.dumps(dict(self.options)))
        before = {**self.defaults, **last["options"]}
        for name in _differing(before, now):
            return f"{name} changed from {before.get(name)} to {now.get(name)}"
        for name in _differing(last["inputs"], _digests(self.inputs) if digests is None else digests):
            return f"{name} changed"
        for name, stamp in last["outputs"].items():
            # Remove ".." textually: the system would follow a symbolic link to another directory.
            output = os.path.normpath(self.record.parent / name)
            if _stamp(Path(output)) != stamp:
                return f"{output} is missing or has changed"
        return self.check()

    def _log(self, reason: str, dry_run: bool = False) -> None:
        if not reason:
            logging.info("%s: current, skipped", self.name)
        elif dry_run:
            logging.info("%s: to do (%s)", self.name, reason)
        else:
            logging.info("%s (%s)", self.name, reason)


class Work:
    """A step that is being done; made by :meth:`Step.work`.

    Attributes:
        snapshot: the inputs before the work began.
    """

    def __init__(self, step: Step, snapshot: Snapshot) -> None:
        self._step = step
        self._started = time.monotonic()
        self.snapshot = snapshot

    @property
    def digests(self) -> Mapping[str, str | None]:
        """Digest of each input before the work began; None if the file does not exist."""
        return self.snapshot.digests

    def finish(self, outputs: Iterable[Path]) -> None:
        """Record the step as done, and remove what killed runs left of its outputs under temporary names.

        Call it last, when every output is in place.
        """
        made = list(outputs)
        record = {
            "version": RECORD_VERSION,
            "code": self._step.version,
            "options": dict(self._step.options),
            "inputs": dict(self.digests),
            "outputs": {os.path.relpath(path, self._step.record.parent): _stamp(path) for path in made},
            "run": {
                "command": _command(),
                "versions": _versions(),
                "seconds": round(time.monotonic() - self._started, 1),
                "ended": time.strftime("%Y-%m-%d %H:%M:%S"),
            },
        }
        with write_whole(self._step.record) as stream:
            json.dump(record, stream, indent=1, sort_keys=True)
        names: dict[Path, set[str]] = {}
        for path in (*made, self._step.record):
            names.setdefault(path.parent, set()).add(path.name)
        for directory, own in names.items():
            remove_leftovers(directory, own)


@dataclass(frozen=True)
class Snapshot:
    """The state of files at one moment: digests of their contents, and stamps that show later changes.

    Attributes:
        digests: digest of each file's content by name; None if the file does not exist.
        stamps: size in bytes and modification time in nanoseconds of each file; None if it does not exist.
    """

    digests: Mapping[str, str | None]
    stamps: Mapping[str, list[int] | None]

    @classmethod
    def take(cls, files: Mapping[str, Path]) -> Snapshot:
        """Read the files."""
        # Stamps first: a file that changes while it is read then differs from its stamp.
        stamps = {name: _stamp(path) for name, path in files.items()}
        return cls(_digests(files), stamps)

    @property
    def digest(self) -> str:
        """One digest of all files."""
        return self.digest_of(self.digests)

    def digest_of(self, names: Iterable[str]) -> str:
        """Return one digest of some of the files."""
        text = json.dumps({name: self.digests[name] for name in names}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def check(self, files: Mapping[str, Path]) -> None:
        """Raise LidError if a file has changed since the snapshot."""
        for name, path in files.items():
            if name not in self.stamps or self.stamps[name] != _stamp(path):
                raise LidError("changed since the work was planned", where=path, mend="run the command again")


def _digests(files: Mapping[str, Path]) -> dict[str, str | None]:
    return {name: digest(path) for name, path in files.items()}


def _differing(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


def recorded(directory: Path, step: str) -> Mapping[str, str | None]:
    """Return the digests of the files that a step of this directory read, by name; empty without a record."""
    try:
        record = json.loads((directory / ".done" / f"{step}.json").read_text(encoding="utf-8"))
        return dict(record["inputs"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


@dataclass(frozen=True)
class Run:
    """How a step was done, for people; it does not decide whether the step is current.

    Attributes:
        command: the command that finished it, as one types it.
        versions: of this toolkit, Python, and the packages that compute, by name.
        seconds: how long the last run of it took.
        ended: local date and time.
    """

    command: str
    versions: Mapping[str, str]
    seconds: float
    ended: str


def recorded_run(directory: Path, step: str) -> Run | None:
    """Return how a step of this directory was done; None if that was not recorded."""
    try:
        record = json.loads((directory / ".done" / f"{step}.json").read_text(encoding="utf-8"))
        return Run(**record["run"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _command() -> str:
    """Return the command line of this process; a module that Python runs with ``-m`` by its file."""
    return shlex.join(sys.argv)


def versions() -> dict[str, str]:
    """Return the versions of this toolkit (with the commit, if it runs from a clone), Python and packages."""
    return dict(_versions())


@functools.cache
def _versions() -> Mapping[str, str]:
    found = {"lid_toolkit": "unknown", "python": platform.python_version()}
    for package in ("lid_toolkit", *PACKAGES):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return {**found, "lid_toolkit": f"{found['lid_toolkit']} {_commit()}".strip()}


def _commit() -> str:
    """Return e.g. ``(commit 1a2b3c4)``, with ``-dirty`` if files were changed; "" without a clone or git."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    words = ("git", "describe", "--always", "--dirty", "--exclude", "*")
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"(commit {done.stdout.strip()})"


def digest(path: Path) -> str | None:
    """Return the BLAKE2 digest of a file's content, or None if the file does not exist."""
    state = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    except FileNotFoundError:
        return None
    return state.hexdigest()


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
