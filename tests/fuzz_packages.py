#!/usr/bin/env python3
"""Change single values in the model.yaml of packed models at random, and load the models.

    tests/fuzz_packages.py [--frontend xlsr,whisper] [--changes 200] [--seed 1]

Each change replaces one value by another one, for example a size by -1, 10^12, a list or a word, or deletes
it. Loading the changed package must either work or end in a LidError of one line, within 10 s and 2 GiB of
further memory. Everything else is printed, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import random
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from models.pretrained_encoders import KINDS, save_tiny
from package.packed import CONFIG, packed, rewritten, write_experiment

from lid_toolkit.errors import LidError
from lid_toolkit.package.read import read_package

REMOVED = object()
VALUES: tuple[Any, ...] = (
    *(REMOVED, None, True, False, "", "x", "../x", "relu", "torch.float64"),
    *(-1, 0, 1, 2, 3, 7, 65536, 10**6, 10**12, 2**63, 10**40, 1.5, math.nan, math.inf),
    *([], {}, [1], [0] * 7, [10**9] * 7, ["x"], [[1]], {"a": 1}),
)
LONGEST_S, MOST_MEMORY = 10.0, 2 * 2**30
LONGEST_LINE = 800


def main() -> int:
    """Try all changes, print what went wrong and a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    kinds = ("default", *KINDS, "fused")
    parser.add_argument("--frontend", default=",".join(kinds), help="front ends of the packed models")
    parser.add_argument("--changes", type=int, default=200, help="changes to each packed model")
    parser.add_argument("--seed", type=int, default=1, help="seed of the changes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    faults = 0
    for kind in options.frontend.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            package = packed(write_experiment(Path(scratch) / "exp", configuration(kind, Path(scratch))))
            results = [
                attempt(package, change, Path(scratch) / "changed.zip")
                for change in changes(package, options.changes, random.Random(f"{kind} {options.seed}"))
            ]
        wrong = [result for result in results if result not in ("loaded", "refused")]
        print(
            f"{kind:12s} {results.count('loaded'):4d} loaded, {results.count('refused'):4d} refused, "
            f"{len(wrong)} faults",
            *wrong,
            sep="\n  ",
            flush=True,
        )
        faults += len(wrong)
    return int(faults > 0)


def configuration(kind: str, scratch: Path) -> dict[str, Any]:
    """Return the configuration of a tiny model with this front end."""
    if kind == "default":
        return CONFIG
    encoder = {
        "path_or_url": str(save_tiny(scratch, "xlsr" if kind == "fused" else kind)),
        "layers": [0, 1],
    }
    if kind != "fused":
        return {**CONFIG, "frontend": "transformers", "frontend_conf": encoder}
    parts = [{"frontend_type": "default"}, {"frontend_type": "transformers", **encoder}]
    return {**CONFIG, "frontend": "fused", "frontend_conf": {"proj_dim": 8, "frontends": parts}}


Change = tuple[tuple[Any, ...], Any]
"""The keys that lead to a value of ``model.yaml``, and the new value."""


def changes(package: Path, number: int, rng: random.Random) -> Iterator[Change]:
    """Yield random changes to the ``model.yaml`` of a package."""
    with zipfile.ZipFile(package) as archive:
        places = [keys for keys in paths(yaml.safe_load(archive.read("model.yaml"))) if keys]
    for _ in range(number):
        yield rng.choice(places), rng.choice(VALUES)


def paths(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value in nested dictionaries and lists."""
    yield keys
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*keys, key))


def attempt(package: Path, change: Change, changed: Path) -> str:
    """Load a changed package; return "loaded", "refused", or what went wrong."""
    keys, value = change

    def edit(content: dict[str, bytes]) -> None:
        model = place = copy.deepcopy(yaml.safe_load(content["model.yaml"]))
        for key in keys[:-1]:
            place = place[key]
        if value is REMOVED:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        content["model.yaml"] = yaml.safe_dump(model).encode()

    rewritten(package, changed, edit)
    name = f"{'.'.join(map(str, keys))} = {'removed' if value is REMOVED else value!r}"
    started, peak = time.monotonic(), peak_memory()
    result = "loaded"
    try:
        read_package(changed)
    except LidError as error:
        result = "refused"
        if "\n" in str(error) or len(str(error)) > LONGEST_LINE:
            return f"{name}: a message of {len(str(error))} characters: {error}"
    except Exception as error:  # the kind of error is what is looked for
        return f"{name}: {type(error).__name__}: {error}"
    if time.monotonic() - started > LONGEST_S or peak_memory() - peak > MOST_MEMORY:
        return f"{name}: {time.monotonic() - started:.0f} s, {(peak_memory() - peak) / 2**20:.0f} MiB"
    return result


def peak_memory() -> int:
    """Return the largest memory of this process so far in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
