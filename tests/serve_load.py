#!/usr/bin/env python3
"""Load ``lid serve`` with many clients and broken uploads, and compare each answer with ``identify``.

    . ./path.sh && tests/serve_load.py --model exp/mini/lid_mini_ecapa_raw a.wav b.flac …

Prints the statuses, the wrong answers, the requests per second and the memory of the server. The exit code is
1 if an answer is wrong.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lid_toolkit.inference.identifier import LanguageIdentifier


def spoiled(audio: bytes) -> list[tuple[bytes, int]]:
    """Return broken uploads made from a good one, with the statuses that they must get."""
    return [
        (b"", 400),
        (b"<!DOCTYPE html><p>not found" + audio[:100], 415),
        (b"\x00" * len(audio), 415),
        (audio[: len(audio) // 2], 422),
    ]


@dataclass
class Report:
    """What came back."""

    statuses: collections.Counter[int]
    wrong: list[str]
    seconds: float


def broken(number: int) -> bool:
    """Return whether a request is one of the 10 % with a broken upload."""
    return number % 10 == 3


def send(url: str, content: bytes) -> tuple[int, Any, int]:
    """Post an upload until the server has a place for it; return status, content and refused attempts."""
    for attempt in itertools.count():
        try:
            with urlopen(Request(f"{url}/identify", data=content), timeout=120) as answer:
                return answer.status, json.load(answer), attempt
        except HTTPError as error:
            if error.code != 429:
                return error.code, json.load(error), attempt
            time.sleep(min(0.2, int(error.headers["Retry-After"])))
    raise AssertionError


def measure(url: str, lid: LanguageIdentifier, audio: Sequence[bytes], requests: int, clients: int) -> Report:
    """Send requests by several clients at the same time and check each answer."""
    expected = [json.loads(json.dumps(record.as_dict())) for record in lid.identify(list(audio))]
    statuses: collections.Counter[int] = collections.Counter()
    wrong, lock = [], threading.Lock()

    def one(number: int) -> None:
        content, right = audio[number % len(audio)], 200
        if broken(number):
            kinds = spoiled(content)
            content, right = kinds[number // 10 % len(kinds)]
        status, answer, refused = send(url, content)
        same = status == right and (status != 200 or close(answer, expected[number % len(audio)]))
        with lock:
            statuses.update({status: 1, 429: refused} if refused else {status: 1})
            if not same:
                wrong.append(f"request {number}: {status} {answer}")

    start = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(requests)))
    return Report(statuses, wrong, time.monotonic() - start)


def close(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether two records are the same, with scores up to rounding."""
    scores = answer["scores"].keys() | expected["scores"].keys()
    near = all(abs(answer["scores"].get(k, 9) - expected["scores"].get(k, 9)) < 1e-4 for k in scores)
    names = ("status", "language", "duration", "speech_seconds", "windows", "reason")
    return near and all(answer[name] == expected[name] for name in names)


def memory_mb(process: int) -> dict[str, float]:
    """Return the present and the largest resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM")}  # type: ignore[index]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="the memory is printed after each")
    parser.add_argument(
        "--waiting", type=int, default=8, help="of the server: fewer than clients, so that some are refused"
    )
    parser.add_argument("audio", nargs="+", type=Path)
    options = parser.parse_args()
    lid = LanguageIdentifier.from_pretrained(options.model, "cpu", threads=1)
    audio = [path.read_bytes() for path in options.audio]
    command = [sys.executable, "-m", "lid_toolkit.commands", "serve", "--model", options.model, "--port", "0"]
    wrong = 0
    command += ["--threads", "1", "--waiting", str(options.waiting)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = next(filter(None, (re.search(r"http://\S+", line) for line in server.stderr)))[0]
        try:
            for number in range(options.rounds):
                report = measure(url, lid, audio, options.requests, options.clients)
                wrong += len(report.wrong)
                rate, memory = options.requests / report.seconds, memory_mb(server.pid)
                print(f"round {number + 1}: {dict(report.statuses)}, {rate:.1f} per second, MiB: {memory}")
                print(f"{len(report.wrong)} wrong", *report.wrong[:5], sep="\n  ", flush=True)
        finally:
            server.terminate()
        print(f"exit code {server.wait(60)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
