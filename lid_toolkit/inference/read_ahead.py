"""Read recordings in other processes while the model computes.

A helper only saves time: what it cannot read, or is long, is left to the identifier, which reads it itself
and says what is wrong. Answers and messages are the same with and without helpers.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import numpy as np

from lid_toolkit.audio.references import AudioError
from lid_toolkit.audio.resample import resample
from lid_toolkit.audio.silence import require_signal_in
from lid_toolkit.data.loader import become_worker
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.speech import Floats, opened

FEWEST = 32
"""Fewer recordings are not worth the start of a process."""

PER_WORKER = 16
LONGEST_S = 60.0
MOST_BYTES = 1 << 26
"""Limits of what is read ahead: recordings for each process, their length, and files that lie in memory."""


def read_ahead(inputs: Iterator[Input], rate: int, workers: int) -> Iterator[Input]:
    """Yield the inputs in order; those that helpers have read have ``(samples, rate)`` as their speech.

    Args:
        inputs: what to read; only as many are taken as are read ahead.
        rate: samples per second of the model.
        workers: number of processes; 0 yields the inputs as they are.
    """
    first = list(itertools.islice(inputs, FEWEST if workers else 0))
    if len(first) < FEWEST:
        yield from first
        yield from inputs
        return
    # Forked, so that a helper need not import what this process has imported.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), become_worker)
    try:
        yield from _in_order(itertools.chain(first, inputs), pool, rate, workers * PER_WORKER)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(inputs: Iterator[Input], pool: ProcessPoolExecutor, rate: int, most: int) -> Iterator[Input]:
    waiting: deque[tuple[Input, Future[Floats | None] | None]] = deque()
    held = 0
    for item in inputs:
        waiting.append((item, _submitted(pool, item, rate)))
        held += _size(item)
        while len(waiting) > most or held > MOST_BYTES:
            held -= _size(waiting[0][0])
            yield _finished(*waiting.popleft(), rate)
    while waiting:
        yield _finished(*waiting.popleft(), rate)


def _submitted(pool: ProcessPoolExecutor, item: Input, rate: int) -> Future[Floats | None] | None:
    if isinstance(item.speech, AudioError):
        return None
    try:
        return pool.submit(samples_of, item.speech, rate)
    except (BrokenProcessPool, RuntimeError):  # a helper was killed
        return None


def _finished(item: Input, future: Future[Floats | None] | None, rate: int) -> Input:
    try:
        wave = None if future is None else future.result()
    except BrokenProcessPool:
        logging.warning("a process that reads ahead was killed; reading continues without it")
        wave = None
    return item if wave is None else replace(item, speech=(wave, rate))


def _size(item: Input) -> int:
    return len(item.speech) if isinstance(item.speech, bytes) else 0


def samples_of(speech: Any, rate: int) -> Floats | None:
    """Return the samples of a short recording at the model's rate; None if it is not short or is faulty."""
    try:
        with opened(speech, rate, "") as samples:
            if samples.duration > LONGEST_S:
                return None
            wave = samples.read(0, samples.length)
            require_signal_in(wave, "", samples.channels)
    except AudioError:
        return None
    return np.ascontiguousarray(resample(wave, samples.rate, rate))
