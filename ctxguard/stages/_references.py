"""Sentences that point to another one: by a pronoun, or by a term that is defined there."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

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
_DEFINED = re.compile(
    r"[\"“](?P<term>[A-Z][^\"“”\n]{1,48})[\"”],?[ \t]+(?:shall[ \t]+)?"
    r"(?:means?|refers?[ \t]+to|is[ \t]+defined[ \t]+as|has[ \t]+the[ \t]+meaning)\b"
)
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
    if '"' not in text and "“" not in text:
        return
    starts = [part.start for part in parts]
    owner: dict[str, int] = {}
    for found in _DEFINED.finditer(text):
        if len(owner) < _MAX_TERMS:
            owner.setdefault(found["term"], bisect_right(starts, found.start()) - 1)
    if not owner:
        return
    terms = "|".join(map(re.escape, sorted(owner, key=len, reverse=True)))
    for found in re.finditer(rf"\b(?:{terms})\b", text):
        index = bisect_right(starts, found.start()) - 1
        if index != owner[found.group()]:
            yield index, owner[found.group()]
