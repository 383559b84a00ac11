"""Which piece of a chunk says the same as which of another version, with other facts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ctxguard.text.words import UNSPACED
from ctxguard.types import Chunk

__all__ = ["find_rests", "find_rivals"]

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_ALIKE = 0.5
"""Share of their words that two versions of a sentence have in common, at least. Measured on 3,000
sentences of contracts: 99.8 % of 12,122 edits in one fact have that much in common with what was
edited, and 0.05 % of pairs of different sentences."""
_MAX_RESTS = 8
"""Chunks that a trimmed one brings along."""
_MAX_PAIRS = 256
"""Conflicts that are followed into pieces; beyond, chunks stand for themselves."""


def find_rivals(chunks: Sequence[Chunk], first: Sequence[int]) -> dict[int, list[int]]:
    """By unit: the units of other chunks that contradict it.

    Args:
        chunks: with their conflicts.
        first: by chunk, the number of its first unit.
    """
    if not any(chunk.conflicts for chunk in chunks):
        return {}
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    pairs = dict.fromkeys(
        (min(place, places[name]), max(place, places[name]))
        for place, chunk in enumerate(chunks)
        for name in chunk.conflicts
        if name in places and name != chunk.id
    )
    rivals: dict[int, list[int]] = {}
    words: dict[int, list[frozenset[str]]] = {}
    for one, other in list(pairs)[:_MAX_PAIRS]:
        for place in (one, other):
            if place not in words:
                words[place] = _words(chunks[place])
        for mine, theirs in _matched(words[one], words[other]):
            rivals.setdefault(first[one] + mine, []).append(first[other] + theirs)
            rivals.setdefault(first[other] + theirs, []).append(first[one] + mine)
    return rivals


def find_rests(
    chunks: Sequence[Chunk], first: Sequence[int], relevance: Sequence[float]
) -> dict[int, list[int]]:
    """By unit of a chunk that was trimmed: a unit of each chunk that holds what was taken out.

    Which part of that chunk it is, nobody has noted: the one that helps most stands for it. What
    is worth nothing by itself asks for nothing.

    Args:
        chunks: with what they lean on.
        first: by chunk, the number of its first unit.
        relevance: by unit.
    """
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    is_judged = any(relevance)
    rests: dict[int, list[int]] = {}
    for place, chunk in enumerate(chunks):
        held = [places[name] for name in chunk.leans_on if name in places and name != chunk.id]
        best = [
            max(range(first[other], first[other + 1]), key=lambda unit: (relevance[unit], -unit))
            for other in held[:_MAX_RESTS]
        ]
        for unit in range(first[place], first[place + 1]) if best else ():
            if relevance[unit] or not is_judged:
                rests[unit] = best
    return rests


def _words(chunk: Chunk) -> list[frozenset[str]]:
    """The words of every unit; a chunk that is not divided stands as a whole."""
    spans = [piece.span for piece in chunk.pieces] or [(0, len(chunk.text))]
    return [frozenset(_WORD.findall(chunk.text[start:end].casefold())) for start, end in spans]


def _matched(
    ones: Sequence[frozenset[str]], others: Sequence[frozenset[str]]
) -> list[tuple[int, int]]:
    """Pairs of units that are alike and differ; whole chunks that conflict always are."""
    if len(ones) == 1 and len(others) == 1:
        return [(0, 0)]
    equal = set(ones) & set(others)
    pairs: list[tuple[int, int]] = []
    for mine, left in enumerate(ones):
        if left in equal or not left:
            continue
        share, theirs = max(
            ((_alike(left, right), -place) for place, right in enumerate(others)),
            default=(0.0, 0),
        )
        if share >= _ALIKE and others[-theirs] not in equal:
            pairs.append((mine, -theirs))
    return pairs


def _alike(left: frozenset[str], right: frozenset[str]) -> float:
    """Jaccard similarity of two sets of words."""
    joint = len(left & right)
    return joint / (len(left) + len(right) - joint) if joint else 0.0
