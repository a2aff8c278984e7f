"""Read recordings, and find the speech in them, in other processes while the model computes.

A helper only saves time: what it cannot read, or is long, is left to the identifier, which reads it itself
and says what is wrong. Answers and messages are the same with and without helpers.
"""

from __future__ import annotations

import functools
import itertools
import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, cast

from lid_toolkit.audio.references import AudioError
from lid_toolkit.audio.speech_activity import detector
from lid_toolkit.data.workers import become_worker
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.listening import Listened, listened
from lid_toolkit.inference.speech import opened

FEWEST = 32
"""Fewer recordings are not worth the start of a process."""

PER_WORKER = 16
LONGEST_S = 60.0
MOST_BYTES = 1 << 26
"""Limits of what is read ahead: recordings for each process, their length, and files that lie in memory."""


Read = Callable[[Any], "Listened | None"]

_own_detector = functools.cache(detector)
"""A helper's own: the network of the process that it was forked from is not used."""


def read_ahead(inputs: Iterator[Input], rate: int, workers: int, vad: str) -> Iterator[Input]:
    """Yield the inputs in order; those that helpers have read have :class:`Listened` as their speech.

    Args:
        inputs: what to read; only as many are taken as are read ahead.
        rate: samples per second of the model.
        workers: number of processes; 0 yields the inputs as they are.
        vad: detector of speech, as in ``LanguageIdentifier.identify``.
    """
    first = list(itertools.islice(inputs, FEWEST if workers else 0))
    if len(first) < FEWEST:
        yield from first
        yield from inputs
        return
    # Forked, so that a helper need not import what this process has imported.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), become_worker)
    try:
        read = functools.partial(heard_in, rate=rate, vad=vad)
        yield from _in_order(itertools.chain(first, inputs), pool, read, workers * PER_WORKER)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(inputs: Iterator[Input], pool: ProcessPoolExecutor, read: Read, most: int) -> Iterator[Input]:
    waiting: deque[tuple[Input, Future[Listened | None] | None]] = deque()
    held = 0
    for item in inputs:
        waiting.append((item, _submitted(pool, read, item)))
        held += _size(item)
        while len(waiting) > most or held > MOST_BYTES:
            held -= _size(waiting[0][0])
            yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _submitted(pool: ProcessPoolExecutor, read: Read, item: Input) -> Future[Listened | None] | None:
    if isinstance(item.speech, AudioError):
        return None
    try:
        return pool.submit(read, item.speech)
    except (BrokenProcessPool, RuntimeError):  # a helper was killed
        return None


def _finished(item: Input, future: Future[Listened | None] | None) -> Input:
    try:
        found = None if future is None else future.result()
    except BrokenProcessPool:
        logging.warning("a process that reads ahead was killed; reading continues without it")
        found = None
    return item if found is None else replace(item, speech=cast(Any, found))  # only identifiers take it


def _size(item: Input) -> int:
    return len(item.speech) if isinstance(item.speech, bytes) else 0


def heard_in(speech: Any, rate: int, vad: str) -> Listened | None:
    """Return a short recording at the model's rate; None if it is not short, has no signal or is faulty."""
    try:
        with opened(speech, rate, "") as samples:
            if not 0 < samples.duration <= LONGEST_S:
                return None
            found = listened(samples, rate, _own_detector(vad))
    except AudioError:
        return None
    return found if found.summary.silent is None else None
