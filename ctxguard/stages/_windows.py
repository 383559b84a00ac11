"""Neighbouring windows of one text: the end of one is the start of the other.

Text splitters cut a document into windows that overlap (`chunk_overlap`), often inside a sentence
or a word. What overlaps is equal character for character, runs of whitespace taken as one space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ctxguard.stages._view import PROBE, TextView
from ctxguard.types import Span

__all__ = ["Window", "may_be_neighbours", "neighbours"]

_TRIES = 32
"""Places that are tried when a text repeats itself."""
_CONTEXT_WORDS = 8
"""Words that stay on the seam when a sentence has to be cut: a fact is shorter than that, so
whatever straddled the seam is still whole in what remains."""
_WORD = re.compile(r"\S+")
_IN_NUMBER = re.compile(r"\d[.,:/]?\|[.,:/]?\d")


@dataclass(frozen=True, slots=True)
class Window:
    """Two texts that are neighbouring windows of one."""

    removed: Span | None
    """What the worse-ranked one can do without; None when cutting it would lose a sentence."""


def may_be_neighbours(one: TextView, other: TextView) -> bool:
    """Whether one text has the other's first characters, as neighbouring windows do."""
    return one.head in other.spaced or other.head in one.spaced


def neighbours(worse: TextView, better: TextView) -> Window | None:
    """What two neighbouring windows of one text repeat at their seam; None if they are none.

    What remains of the worse-ranked one starts or ends with a sentence; it starts or ends inside
    one, at a space, only where the splitter had already cut that sentence.
    """
    length = _overlap(better, worse)
    if length:
        start = len(better.spaced) - length
        whole = _is_seam(better.spaced, start)
        if whole or (whole is None and worse.is_cut_before):
            return Window(_from_start(worse, better, length))
        return None
    length = _overlap(worse, better)
    if length:
        whole = _is_seam(better.spaced, length)
        if whole or (whole is None and worse.may_be_cut_after):
            return Window(_from_end(worse, better, length))
    return None


def _is_seam(text: str, place: int) -> bool | None:
    """Whether a splitter may have cut here; None: only one that cuts words in two.

    Never take '0 days' for a piece of '30 days'.
    """
    around = text[max(0, place - 2) : place], text[place : place + 2]
    if _IN_NUMBER.search("|".join(around)):
        return False
    return None if around[0][-1:].isalnum() and around[1][:1].isalnum() else True


def _overlap(one: TextView, other: TextView) -> int:
    """Length of the longest end of `one` that is the start of `other`, but not all of either."""
    first, second, probe = one.spaced, other.spaced, other.head
    place = first.find(probe, 1)
    if place < 0 or len(probe) < PROBE:
        return 0
    for _ in range(_TRIES):
        if place < 0:
            break
        if len(first) - place < len(second) and second.startswith(first[place:]):
            return len(first) - place
        place = first.find(probe, place + 1)
    return 0


def _from_start(worse: TextView, better: TextView, length: int) -> Span | None:
    text = worse.text
    end = _skip_space(text, _place_after(worse, length))
    inside = [mark for mark in worse.cuts if mark <= end]
    if inside:
        return 0, inside[-1]
    seam = _skip_space(better.text, _place_after(better, len(better.spaced) - length))
    if seam in better.marks:
        return None  # A whole sentence starts here, and only `worse` may have all of it.
    starts = [match.start() for match in _WORD.finditer(text, 0, end)]
    return (0, starts[-_CONTEXT_WORDS]) if len(starts) > _CONTEXT_WORDS else None


def _from_end(worse: TextView, better: TextView, length: int) -> Span | None:
    text = worse.text
    start = _place_after(worse, len(worse.spaced) - length)
    inside = [mark for mark in worse.cuts if mark >= start]
    if inside:
        return len(text[: inside[0]].rstrip()), len(text)
    seam = _skip_space(better.text, _place_after(better, length))
    if seam in better.marks or not worse.is_open:
        return None  # `worse` ends with a whole sentence, and `better` may have cut its start.
    ends = [match.end() for match in _WORD.finditer(text, start)]
    return (ends[_CONTEXT_WORDS - 1], len(text)) if len(ends) > _CONTEXT_WORDS else None


def _place_after(view: TextView, length: int) -> int:
    """Where the first `length` characters of a text end, a run of whitespace counted as one."""
    if len(view.spaced) == len(view.text):
        return length
    ends, ends_in_text = view.spaced_words
    place = int(ends.searchsorted(length))
    if place and length == ends[place - 1] + 1:
        return int(ends_in_text[place - 1])  # the space behind a word
    if length <= 0 or place == ends.size:
        return 0
    return int(ends_in_text[place] - (ends[place] - length))


def _skip_space(text: str, place: int) -> int:
    match = _WORD.search(text, place)
    return match.start() if match else len(text)
