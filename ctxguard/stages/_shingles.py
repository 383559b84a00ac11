"""Near-duplicate candidates: who shares word sequences with whom, found without comparing all.

Shingles (Broder 1997) of folded words rather than of token ids: line breaks, case, quotes and
markdown change nearly every token of a copy and none of its words. The index is exact, and sorted
by hash rather than kept in a dictionary, so that all of it is done by a few operations on arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Candidate", "Shingles", "candidates", "containment", "shingles_of"]

_SHORT_TEXT = 48
"""Up to this many words, pairs of words stand in for shingles: one edit in a sentence of ten words
leaves one of its six 5-shingles, but seven of its nine pairs."""
_PAIR = 2

_COMMON = 24
"""A shingle in more texts than this is boilerplate. It links each text to the best-ranked of them
only, so that n texts with one letterhead make O(n) pairs; what tells two of them apart, or makes
one a copy of another, also shows in rarer shingles."""
_FEW = 4
"""Shared shingles below which a pair is chance."""
_BEST = 4
"""How many of the best-ranked texts with a common shingle each other one is compared with."""
_PART = 1 << 19
"""Words, or shingles, that are worked on at once: half a million take tables of 16 MB."""
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)

Hashes = NDArray[np.uint64]
Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shingles:
    """A text's hashed word sequences, each array sorted and without repeats."""

    long: Hashes
    """Of the shingle size; a shorter text is one shingle."""
    short: Hashes
    """Pairs of words, empty unless the text is short."""


class Candidate(NamedTuple):
    """A better-ranked text that shares shingles with another."""

    rank: int
    """Its place among the texts."""
    at_most: float
    """Their containment is not more than this."""


def shingles_of(words: Hashes, size: int) -> Shingles:
    """The shingles of one text.

    Args:
        words: the hashes of its words, in order.
        size: words per shingle.
    """
    short = words if words.size <= _SHORT_TEXT else words[:0]
    return Shingles(np.unique(_rolled(words, size)), np.unique(_rolled(short, _PAIR)))


def containment(one: Shingles, other: Shingles) -> float:
    """Share of the smaller text's shingles that the other has too, 0 to 1."""
    both_short = one.short.size and other.short.size
    left, right = (one.short, other.short) if both_short else (one.long, other.long)
    if left.size > right.size:
        left, right = right, left
    if not left.size:
        return 0.0
    places = np.minimum(np.searchsorted(right, left), right.size - 1)
    return float(np.count_nonzero(right[places] == left) / left.size)


def candidates(texts: Sequence[Hashes], size: int, *, most: int) -> list[list[Candidate]]:
    """For each text the better-ranked ones that share shingles with it, most shared first.

    Args:
        texts: hashes of the words of each, best-ranked first.
        size: words per shingle.
        most: candidates per text that are wanted.
    """
    if not texts:
        return []
    index = _Index(texts, size)
    codes, shared = np.unique(index.links(), return_counts=True)
    worse, better = codes // len(texts), codes % len(texts)
    # A common shingle was counted for some of its pairs only.
    bound = shared + np.minimum(index.common[worse], index.common[better])
    sizes = np.minimum(index.sizes[worse], index.sizes[better])
    enough = bound >= np.minimum(_FEW, sizes // 2)
    order = np.flatnonzero(enough)
    order = order[np.lexsort((better[order], -shared[order], worse[order]))]
    worse, better, bound = worse[order], better[order], bound[order]
    starts = np.searchsorted(worse, np.arange(len(texts) + 1))
    place = np.arange(worse.size) - starts[worse]
    wanted = place < most
    smaller = np.minimum(index.least[worse], index.least[better])
    shares = np.minimum(1.0, bound / np.maximum(1, smaller))
    found: list[list[Candidate]] = [[] for _ in texts]
    texts_of: list[int] = worse[wanted].tolist()
    twins = map(Candidate, better[wanted].tolist(), shares[wanted].tolist())
    for text, twin in zip(texts_of, twins, strict=True):
        found[text].append(twin)
    return found


class _Index:
    """Which texts have which shingle: sorted keys, the hash above, the text in the low bits."""

    def __init__(self, texts: Sequence[Hashes], size: int) -> None:
        self._count = len(texts)
        # 17 bits for 100,000 texts leave 47 for the hash: one accidental pair among 16 million.
        self._bits = np.uint64(max(1, self._count - 1).bit_length())
        lengths = np.array([words.size for words in texts], dtype=np.int64)
        long = np.where(lengths > 0, np.maximum(1, lengths - size + 1), 0)
        short = np.where(lengths > 0, np.maximum(1, lengths - _PAIR + 1), 0)
        keys = [
            (hashes >> self._bits << self._bits) | owners
            for first, block in _blocks(texts)
            for hashes, owners in _shingled(block, first, size)
        ]
        self._keys = np.concatenate([np.zeros(0, dtype=np.uint64), *keys])
        self.sizes = np.where(lengths <= _SHORT_TEXT, np.maximum(long, short), long)
        """Shingles of each text, of the kind of which it has more; shape `(texts,)`."""
        self.least = long
        """At least so many of a kind are distinct, once `links` was called."""
        self.common = np.zeros_like(long)
        """How many are common."""

    def links(self) -> Indexes:
        """A code `worse * texts + better` for every shingle of every pair that it links."""
        codes: list[Indexes] = []
        for keys in _parts(self._keys):
            sorted_keys = _recurring(keys, self._bits)
            again = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1]) + 1  # within one text
            repeats = self._counted(sorted_keys[again])
            self.least = self.least - repeats
            self.sizes = np.maximum(1, self.sizes - repeats)
            codes += self._pairs(np.delete(sorted_keys, again))
        return np.concatenate([np.zeros(0, dtype=np.int64), *codes])

    def _counted(self, keys: Hashes) -> Indexes:
        return np.bincount(self._owners(keys), minlength=self._count)

    def _owners(self, keys: Hashes) -> Indexes:
        return (keys & ((np.uint64(1) << self._bits) - np.uint64(1))).astype(np.int64)

    def _pairs(self, keys: Hashes) -> Iterator[Indexes]:
        """Codes of the pairs that sorted keys link; within a shingle, best-ranked first."""
        owners = self._owners(keys)
        hashes = keys >> self._bits
        starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])[: keys.size])
        sizes = np.diff(starts, append=keys.size)
        place = np.arange(keys.size) - np.repeat(starts, sizes)
        size = np.repeat(sizes, sizes)
        self.common += self._counted(keys[size > _COMMON])
        # `step` back within a shingle's texts: the pairs of small groups, one diagonal at a time.
        for step in range(1, _COMMON):
            worse = np.flatnonzero((place >= step) & (size <= _COMMON))
            if not worse.size:
                break
            yield owners[worse] * self._count + owners[worse - step]
        for best in range(_BEST):
            worse = np.flatnonzero((place > best) & (size > _COMMON))
            yield owners[worse] * self._count + owners[worse - place[worse] + best]


# -- hashes ---------------------------------------------------------------------------------------


def _rolled(words: Hashes, size: int) -> Hashes:
    """Hashes of all runs of `size` words: a polynomial rolling hash modulo 2**64.

    What has fewer words is one run.
    """
    count = max(1, words.size - size + 1) if words.size else 0
    hashes = np.full(count, np.uint64(size))
    for offset in range(min(size, words.size)):
        hashes *= _MULTIPLIER
        hashes += words[offset : offset + count]
    return hashes


def _blocks(texts: Sequence[Hashes]) -> Iterator[tuple[int, list[Hashes]]]:
    """Texts in groups of about `_PART` words, each with the place of its first text."""
    first = total = 0
    for place, words in enumerate(texts):
        total += words.size
        if total >= _PART or place == len(texts) - 1:
            yield first, list(texts[first : place + 1])
            first, total = place + 1, 0


def _shingled(
    texts: Sequence[Hashes], first: int, size: int
) -> Iterator[tuple[Hashes, NDArray[np.uint64]]]:
    """Shingles and the places of their texts: long ones, then those of short texts."""
    lengths = np.array([words.size for words in texts], dtype=np.int64)
    places = np.arange(first, first + len(texts), dtype=np.uint64)
    kinds = [(size, np.ones(len(texts), dtype=np.bool_)), (_PAIR, lengths <= _SHORT_TEXT)]
    for width, chosen in kinds:
        fitting = chosen & (lengths >= width)
        words = [texts[place] for place in np.flatnonzero(fitting).tolist()]
        if words:
            sizes, owners = lengths[fitting], places[fitting]
            left = np.repeat(np.cumsum(sizes), sizes) - np.arange(int(sizes.sum()))
            whole = left[: left.size - width + 1] >= width
            yield (
                _rolled(np.concatenate(words), width)[whole],
                np.repeat(owners, sizes - width + 1),
            )
        for place in np.flatnonzero(chosen & (lengths < width) & (lengths > 0)).tolist():
            yield _rolled(texts[place], width), places[place : place + 1]


# -- sorting --------------------------------------------------------------------------------------


def _parts(keys: Hashes) -> list[Hashes]:
    """Keys in groups by their first byte when they are many, so that tables fit the cache."""
    if keys.size <= _PART:
        return [keys]
    first = (keys >> np.uint64(56)).astype(np.uint8)
    order = np.argsort(first, kind="stable")  # of bytes: a radix sort
    return np.split(keys[order], np.cumsum(np.bincount(first, minlength=256))[:-1])


def _recurring(keys: Hashes, bits: np.uint64) -> Hashes:
    """The keys, sorted, without most of those whose hash no other key has.

    To sort a key takes 85 ns, to count it into a bucket 15, and most are alone in their bucket.
    """
    mixed = (keys >> bits) * _MULTIPLIER
    buckets = max(1, 4 * keys.size).bit_length()
    bucket = (mixed >> np.uint64(64 - buckets)).astype(np.int64)
    found = keys[np.bincount(bucket, minlength=1)[bucket] > 1]
    found.sort()
    return found
