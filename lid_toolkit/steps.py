"""Steps that know whether they are current: a fingerprint of inputs, options and outputs.

A step is skipped only when its inputs' contents and its options are those of the recorded run and
every recorded output is still there with the size and time it was left with. That an output merely
exists proves nothing: it may come from other inputs, or from a run that was cut off.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lid_toolkit.files import write_whole

RECORD_VERSION = 1


@dataclass(frozen=True)
class Step:
    """One piece of a stage.

    Attributes:
        name: what messages call it, e.g. ``"format train_mini"``.
        record: the JSON file that remembers the last finished run; by convention
            ``OUTPUT_DIR/.done/NAME.json``.
        inputs: files by name; a missing file counts as absent content.
        options: JSON-serialisable values that change the outcome.
    """

    name: str
    record: Path
    inputs: Mapping[str, Path]
    options: Mapping[str, Any]

    def reason(self) -> str:
        """Return why the step must run, in words, or ``""`` if its outputs are current."""
        try:
            last = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "not done yet"
        if not isinstance(last, dict) or last.get("version") != RECORD_VERSION:
            return "recorded by another version"
        if not all(isinstance(last.get(key), dict) for key in ("options", "inputs", "outputs")):
            return "the record is damaged"
        now_options = json.loads(json.dumps(dict(self.options)))
        for option in sorted(now_options.keys() | last["options"].keys()):
            before, now = last["options"].get(option), now_options.get(option)
            if before != now:
                return f"{option} changed from {before} to {now}"
        for name in sorted(self.digests.keys() | last["inputs"].keys()):
            if last["inputs"].get(name) != self.digests.get(name):
                return f"{name} changed"
        for output, stamp in last["outputs"].items():
            if _stamp(Path(output)) != stamp:
                return f"{output} is missing or was changed"
        return ""

    def due(self, dry_run: bool = False) -> bool:
        """Say whether the step is current or to do, and why; return True if it must run now."""
        _ = self.digests  # the inputs as they are before the work, also on a first run
        reason = self.reason()
        if not reason:
            logging.info("%s: current, skipped", self.name)
        elif dry_run:
            logging.info("%s: to do (%s)", self.name, reason)
        else:
            logging.info("%s (%s)", self.name, reason)
        return bool(reason) and not dry_run

    def finish(self, outputs: Iterable[Path]) -> None:
        """Record the step as done. Call it last, when every output is in place."""
        record = {
            "version": RECORD_VERSION,
            "options": dict(self.options),
            "inputs": self.digests,
            "outputs": {str(path): _stamp(path) for path in outputs},
        }
        with write_whole(self.record) as stream:
            json.dump(record, stream, indent=1, sort_keys=True)

    @functools.cached_property
    def digests(self) -> dict[str, str | None]:
        """Content of each input when first asked: what changes while the step runs makes it stale."""
        return {name: digest(path) for name, path in self.inputs.items()}

    @property
    def inputs_digest(self) -> str:
        """One digest of all inputs, for the parts of a step, which then need not read them anew."""
        text = json.dumps(self.digests, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest(path: Path) -> str | None:
    """Return the BLAKE2 digest of a file's content, or None if there is no such file."""
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
