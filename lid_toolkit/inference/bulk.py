"""Identify a stream of inputs: a record for each, in their order, whatever happens to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from lid_toolkit.audio.references import AudioError
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.prediction import Prediction, failed

Answer = TypeVar("Answer")


def identify_inputs(
    identify: Callable[[Iterator[Any]], Iterable[Answer]], inputs: Iterable[Input]
) -> Iterator[tuple[str, Answer | Prediction]]:
    """Yield the id and the record of each input.

    Args:
        identify: from a stream of what can be read to a stream of records, which may be some inputs behind,
            such as :meth:`LanguageIdentifier.identify`.
        inputs: the inputs; only as many are taken as ``identify`` looks ahead.
    """
    waiting: deque[Input] = deque()

    def readable() -> Iterator[Any]:
        for item in inputs:
            waiting.append(_without_speech(item))
            if not isinstance(item.speech, AudioError):
                yield item.speech

    def broken_before_the_next() -> Iterator[tuple[str, Prediction]]:
        while waiting and isinstance(error := waiting[0].speech, AudioError):
            yield waiting.popleft().id, failed(error)

    for answer in identify(readable()):
        yield from broken_before_the_next()
        yield waiting.popleft().id, answer
    yield from broken_before_the_next()


def _without_speech(item: Input) -> Input:
    """Return an input that keeps no audio in memory while it waits for its record."""
    return item if isinstance(item.speech, AudioError) else replace(item, speech="")
