"""Sentences that point to another one: by a pronoun, or by a term that is defined there."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ctxguard.stages._outline import Part

__all__ = ["find_references"]

_CONNECTIVE = r"(?:(?:however|but|and|also|then|later|instead|moreover|therefore|thus|so),?\s+)?"
_PERSONAL = re.compile(rf"{_CONNECTIVE}(?:he|she|it|they|his|her|its|their)\b(?!-)", re.IGNORECASE)
_POINTING = re.compile(
    rf"{_CONNECTIVE}(?:this|these|those|such|the (?:same|former|latter|foregoing|above))\b",
    re.IGNORECASE,
)
_MAY_POINT = frozenset("aAbBhHiIlLmMsStT")
"""First letters of what the two begin with; in other alphabets letters may fold to these."""
_NAMED = re.compile(r"\w+[ \t]+[A-Z]")
"""'This Agreement', 'These Terms': names, which point to no sentence."""
_DEFINED = {
    # A pattern that begins with one character is found ten times faster than one of several.
    quotes: re.compile(
        rf"{quotes}(?P<term>[A-Z][^\"“”\n]{{1,48}})[\"”],?[ \t]+(?:shall[ \t]+)?"
        r"(?:means?|refers?[ \t]+to|is[ \t]+defined[ \t]+as|has[ \t]+the[ \t]+meaning)\b"
    )
    for quotes in ('"', "“", '["“]')
}
"""By how quotations begin."""
_MAX_TERMS = 64
"""Definitions of one chunk that are followed: a page of them is a glossary."""


def find_references(
    text: str, parts: Sequence[Part], prose: Sequence[int], *, named: bool
) -> Iterator[tuple[int, int]]:
    """Pairs of a part and an earlier or later one that it points to.

    Args:
        text: the text.
        parts: its parts.
        prose: which of them are sentences.
        named: what "she" and "it" stand for is known anyway.
    """
    yield from _pronouns(text, parts, prose, named=named)
    yield from _definitions(text, parts)


def _pronouns(
    text: str, parts: Sequence[Part], prose: Sequence[int], *, named: bool
) -> Iterator[tuple[int, int]]:
    """'She' points to the last sentence that does not begin so, 'this' to the one before.

    A chain of "he … he … he" costs one sentence more, not all those before.
    """
    before: int | None = None
    name: int | None = None
    for index in prose:
        start = parts[index].start
        if before != index - 1:
            before = name = None  # behind a heading or a table nothing is pointed to
        if text[start] not in _MAY_POINT and text[start].isascii():
            name = index
        elif _PERSONAL.match(text, start):
            if name is not None and not named:
                yield index, name
        elif _POINTING.match(text, start) and not _NAMED.match(text, start):
            if before is not None:
                yield index, before
            name = index
        else:
            name = index
        before = index


def _definitions(text: str, parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """Every use of a term that the text defines points to the definition."""
    quotes = [mark for mark in ('"', "“") if mark in text]
    if not quotes:
        return
    starts = [part.start for part in parts]
    owner: dict[str, int] = {}
    for found in _DEFINED[quotes[0] if len(quotes) == 1 else '["“]'].finditer(text):
        if len(owner) < _MAX_TERMS:
            owner.setdefault(found["term"], bisect_right(starts, found.start()) - 1)
    for start, term in _uses(text, owner):
        index = bisect_right(starts, start) - 1
        if index != owner[term]:
            yield index, owner[term]


def _uses(text: str, terms: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Where terms stand as whole words, the longest where several do, without overlaps.

    Each is looked for by itself: to compile one pattern of them takes longer than a chunk.
    """
    found: list[tuple[int, int, str]] = []
    for term in terms:
        start = text.find(term)
        while start >= 0:
            end = start + len(term)
            if _is_border(text, start) and _is_border(text, end):
                found.append((start, -end, term))
            start = text.find(term, start + 1)
    last = 0
    for start, end, term in sorted(found):
        if start >= last:
            last = -end
            yield start, term


def _is_border(text: str, place: int) -> bool:
    """Whether a word begins or ends at a place."""
    around = text[max(0, place - 1) : place], text[place : place + 1]
    before, after = (one == "_" or one.isalnum() for one in around)
    return before != after
