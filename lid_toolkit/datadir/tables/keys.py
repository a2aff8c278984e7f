"""Keys as numbers: compare and sort millions of byte strings, eight bytes at a time.

Key i of some text is ``text[begins[i]:ends[i]]``. Where several texts are taken together, their keys
are numbered one text after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD = 8
BLOCK_KEYS = 1 << 18
"""Keys turned into numbers at once: bounds the memory of what lies between."""


class Keys(NamedTuple):
    """Where the keys of a text are: ``begins`` and ``ends``, (keys,) int64 each."""

    text: bytes
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def compared(sources: Sequence[Keys], order: NDArray[np.int64] | None = None) -> NDArray[np.int8]:
    """Return (keys - 1,): -1, 0 or 1 where a key is less than, equal to or greater than the next.

    Args:
        sources: the keys.
        order: the order to take them in; as they are by default.
    """
    lengths = _lengths(sources)
    lengths = lengths if order is None else lengths[order]
    result = np.zeros(max(0, len(lengths) - 1), dtype=np.int8)
    rows = np.arange(len(result), dtype=np.int64)
    depth = 0
    while len(rows):
        words = _words(sources, depth)
        words = words if order is None else words[order]
        here, after = words[rows], words[rows + 1]
        result[rows] = (here > after).astype(np.int8) - (here < after)
        depth += WORD
        rows = rows[(here == after) & (np.maximum(lengths[rows], lengths[rows + 1]) > depth)]
    return result


def sorted_order(sources: Sequence[Keys]) -> NDArray[np.int64]:
    """Return the keys' numbers in byte order, equal keys as they were: a radix sort from the last word on."""
    lengths = _lengths(sources)
    order = np.arange(len(lengths), dtype=np.int64)
    for depth in reversed(range(0, int(lengths.max(initial=0)), WORD)):
        order = order[np.argsort(_words(sources, depth)[order], kind="stable")]
    return order


def same_keys(one: Keys, other: Keys) -> bool:
    """Say whether both have the same keys in the same order."""
    lengths = _lengths([one])
    if not np.array_equal(lengths, _lengths([other])):
        return False
    depths = range(0, int(lengths.max(initial=0)), WORD)
    return all(np.array_equal(_words([one], depth), _words([other], depth)) for depth in depths)


def grouped(keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the first of each group of equal keys, groups in byte order, and (keys,) the group of each."""
    codes = np.zeros(len(keys.begins), dtype=np.int64)
    for depth in range(0, int(_lengths([keys]).max(initial=0)), WORD):
        finer, place = np.unique(_words([keys], depth), return_inverse=True)
        codes = np.unique(codes * len(finer) + place, return_inverse=True)[1]
    return np.unique(codes, return_index=True)[1], codes.astype(np.int32)


def _lengths(sources: Sequence[Keys]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(keys.ends - keys.begins for keys in sources)])


def _words(sources: Sequence[Keys], depth: int) -> NDArray[np.uint64]:
    """Return 8 bytes of each key from its byte ``depth`` on, as numbers that compare like the bytes.

    What is past the end of a key counts as zeros, which no key holds.
    """
    words = np.empty(sum(len(keys.begins) for keys in sources), dtype=np.uint64)
    base = 0
    for keys in sources:
        for lo in range(0, len(keys.begins), BLOCK_KEYS):
            begins, ends = keys.begins[lo : lo + BLOCK_KEYS], keys.ends[lo : lo + BLOCK_KEYS]
            _read_words(keys.text, begins + depth, ends, words[base : base + len(begins)])
            base += len(begins)
    return words


def _read_words(
    text: bytes, places: NDArray[np.int64], ends: NDArray[np.int64], words: NDArray[np.uint64]
) -> None:
    """Fill ``words`` with the 8 bytes of ``text`` at ``places``, with zeros from ``ends`` on."""
    padded = text if len(text) >= WORD else text + bytes(WORD)
    every = np.ndarray(len(padded) - WORD + 1, dtype=">u8", buffer=padded, strides=(1,))
    left = np.clip(ends - places, 0, WORD)
    within = np.minimum(places, len(every) - 1)
    words[:] = every[within]
    words <<= (8 * np.minimum(places - within, WORD - 1)).astype(np.uint64)
    past = (8 * np.minimum(WORD - left, WORD - 1)).astype(np.uint64)
    words >>= past
    words <<= past
    words[left == 0] = 0
