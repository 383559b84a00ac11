"""Near-duplicate candidates: who shares word sequences with whom, found without comparing all.

Shingles (Broder 1997) of folded words rather than of token ids: line breaks, case, quotes and
markdown change nearly every token of a copy and none of its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._words import UNSPACED

__all__ = ["Shingles", "candidates", "containment", "shingles_of"]

_SHORT_TEXT = 48
"""Up to this many words, pairs of words stand in for shingles: one edit in a sentence of ten words
leaves one of its six 5-shingles, but seven of its nine pairs."""
_PAIR = 2

_COMMON = 24
"""A shingle in more texts than this is boilerplate. It links each text to the best-ranked of them
only, so that n texts with one letterhead make O(n) pairs; what tells two of them apart, or makes
one a copy of another, also shows in rarer shingles."""
_FEW = 4
"""Shared shingles below which a pair is chance, where all shared ones were counted."""
_BEST = 4
"""How many of the best-ranked texts with a common shingle each other one is compared with."""

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u2010][ \t]*\r?\n[ \t]*(?=[^\W\d_])")

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Shingles:
    """A text's hashed word sequences, each array sorted and without repeats."""

    long: Hashes
    """Of the shingle size; a shorter text is one shingle."""
    short: Hashes
    """Pairs of words, empty unless the text is short."""


def shingles_of(text: str, size: int) -> Shingles:
    """The shingles of a text; linear in its length.

    Args:
        text: any text.
        size: words per shingle.
    """
    words = _folded_words(text)
    # hash() differs between processes, but nothing here depends on more than equality.
    values = np.fromiter(map(hash, words), dtype=np.int64, count=len(words)).view(np.uint64)
    short = _hashed(values, _PAIR) if len(words) <= _SHORT_TEXT else values[:0]
    return Shingles(_hashed(values, size), short)


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


def candidates(texts: Sequence[Shingles]) -> list[list[int]]:
    """For each text the better-ranked ones that share a shingle with it, most shared first.

    Args:
        texts: best-ranked first.

    Returns:
        Indexes into `texts`, each smaller than the text's own.
    """
    found: list[list[int]] = [[] for _ in texts]
    linked = [_pairs([text.long for text in texts]), _pairs([text.short for text in texts])]
    codes = np.concatenate([codes for codes, _ in linked])
    pairs, shared = np.unique(codes, return_counts=True)
    count = max(1, len(texts))
    worse, better = pairs // count, pairs % count
    if not any(crowded for _, crowded in linked):
        sizes = np.array([max(text.long.size, text.short.size) for text in texts], dtype=np.int64)
        enough = shared >= np.minimum(_FEW, np.minimum(sizes[worse], sizes[better]) // 2)
        worse, better, shared = worse[enough], better[enough], shared[enough]
    order = np.lexsort((better, -shared, worse))
    for place in order:
        found[int(worse[place])].append(int(better[place]))
    return found


def _folded_words(text: str) -> list[str]:
    if "-\n" in text or "\u2010\n" in text or "-\r\n" in text:
        text = _HYPHENATED.sub("", text)
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).replace("\u00ad", "")
    return _WORD.findall(text.casefold())


def _hashed(values: Hashes, size: int) -> Hashes:
    """Hashes of all runs of `size` values: a polynomial rolling hash modulo 2**64."""
    count = max(1, values.size - size + 1) if values.size else 0
    width = min(size, values.size)
    hashes = np.full(count, np.uint64(size), dtype=np.uint64)
    for offset in range(width):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += values[offset : offset + count]
    hashes.sort()
    return hashes[np.append(hashes[1:] != hashes[:-1], True)] if count > 1 else hashes


def _pairs(texts: Sequence[Hashes]) -> tuple[NDArray[np.int64], bool]:
    """A code `worse * n + better` for every shared shingle of every pair that it links.

    Returns:
        The codes, shape `(links,)`, and whether some shingle was too common to link all its pairs.
    """
    owners = np.repeat(np.arange(len(texts)), [text.size for text in texts])
    hashes = np.concatenate(texts) if texts else np.zeros(0, dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")  # stable: within a shingle, best-ranked first
    hashes, owners = hashes[order], owners[order]
    starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])[: hashes.size])
    sizes = np.diff(np.append(starts, hashes.size))
    place = np.arange(hashes.size) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    codes: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    # `step` back within a shingle's texts: the pairs of small groups, one diagonal at a time.
    for step in range(1, _COMMON):
        worse = np.flatnonzero((place >= step) & (size <= _COMMON))
        if not worse.size:
            break
        codes.append(owners[worse] * len(texts) + owners[worse - step])
    for best in range(_BEST):
        worse = np.flatnonzero((place > best) & (size > _COMMON))
        codes.append(owners[worse] * len(texts) + owners[worse - place[worse] + best])
    return np.concatenate(codes), bool((sizes > _COMMON).any())
