"""Keys as numbers: compare and sort millions of byte strings, eight bytes at a time.

Key i of a text is ``text[begins[i]:ends[i]]``. The keys of several texts are numbered across the texts.

Why: comparing or sorting 2.5 million ``bytes`` objects needs 2.5 million Python objects and as many method
calls. NumPy compares 64-bit integers instead, and eight bytes read as a big-endian integer compare like the
bytes themselves. "ab" and "abc" at depth 0, for example:

    ab   61 62 00 00 00 00 00 00    0x6162000000000000
    abc  61 62 63 00 00 00 00 00    0x6162630000000000    greater, so "ab" < "abc"

A key is padded with zero bytes, which no key contains, so a key sorts before its own extensions. Where the
first eight bytes are equal, the words at depth 8 decide, then those at depth 16, and so on.

Another example, :func:`sorted_order` of 0: "speaker-b", 1: "tom", 2: "speaker-a". It sorts by the last word
first and keeps equal words in order (a radix sort):

    depth 8    "b", "", "a"                         order 1, 2, 0
    depth 0    "tom", "speaker-", "speaker-"        order 2, 0, 1    (2 stays before 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD = 8
BLOCK_KEYS = 1 << 18
"""Keys converted at once; limits the memory of intermediate arrays."""


class Keys(NamedTuple):
    """The positions of the keys of a text: ``begins`` and ``ends``, (keys,) int64 each."""

    text: bytes
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def compared(sources: Sequence[Keys], order: NDArray[np.int64] | None = None) -> NDArray[np.int8]:
    """Return (keys - 1,): -1, 0 or 1 if a key is less than, equal to or greater than the next one.

    Args:
        sources: the keys.
        order: indices of the keys in the order to compare them; by default as they are.
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
    """Return the indices of the keys in byte order; equal keys keep their order."""
    lengths = _lengths(sources)
    order = np.arange(len(lengths), dtype=np.int64)
    for depth in reversed(range(0, int(lengths.max(initial=0)), WORD)):
        order = order[np.argsort(_words(sources, depth)[order], kind="stable")]
    return order


def same_keys(one: Keys, other: Keys) -> bool:
    """Return whether both texts have the same keys in the same order."""
    lengths = _lengths([one])
    if not np.array_equal(lengths, _lengths([other])):
        return False
    depths = range(0, int(lengths.max(initial=0)), WORD)
    return all(np.array_equal(_words([one], depth), _words([other], depth)) for depth in depths)


def grouped(keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Group equal keys.

    Returns:
        The index of the first key of each group, groups in byte order; and (keys,) the group of each key.
    """
    codes = np.zeros(len(keys.begins), dtype=np.int64)
    for depth in range(0, int(_lengths([keys]).max(initial=0)), WORD):
        finer, place = np.unique(_words([keys], depth), return_inverse=True)
        codes = np.unique(codes * len(finer) + place, return_inverse=True)[1]
    return np.unique(codes, return_index=True)[1], codes.astype(np.int32)


def _lengths(sources: Sequence[Keys]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(keys.ends - keys.begins for keys in sources)])


def _words(sources: Sequence[Keys], depth: int) -> NDArray[np.uint64]:
    """Return bytes ``depth`` to ``depth + 8`` of each key as integers that compare like the bytes.

    Bytes past the end of a key are zeros.
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
    r"""Fill ``words`` with the 8 bytes of ``text`` at ``places``, and zeros from ``ends`` on.

    ``every[i]`` is the word at byte i: words overlap, so a table needs no copy of its text. Shifts then
    remove what does not belong to a key. In "ab 1\n..." with a key from 0 to 2, the word is "ab 1\n...";
    6 bytes are past its end, so shifting right and left by 48 bits leaves "ab" and six zeros. Near the end of
    the text, where no word starts, the last word is shifted left instead.
    """
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
