"""What was retained and what was saved, counted without any of ctxguard's own code.

The definitions are simple on purpose, so that a reader can check them by hand:

- *words* are runs of letters and digits, without case; white space and punctuation do not count.
- A chunk is a *copy* when all its words, in their order, stand in another retrieved chunk; of
  several identical ones, the best-ranked is the original. Leaving a copy out loses no word.
- A *fact* is a copyright notice (years and holder together), the version of a licence, a year, or
  an address (web, mail). Two near-copies that differ in one of them are two versions.
- *Wording* is the set of five-word sequences: how much of what was said is still there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["DEFINITIONS", "Fact", "Retained", "copies", "facts", "retained", "words"]

FactKind: TypeAlias = Literal["notice", "version", "year", "address"]
Fact: TypeAlias = tuple[FactKind, str]
"""Kind and value, the value as words."""

DEFINITIONS = (
    ("copy", "a chunk whose words all stand, in their order, in another retrieved chunk"),
    ("fact", "a copyright notice, a year, a licence's version, a web or mail address"),
    ("source", "a distribution that the evidence names; a copy that is left out stays named"),
    ("wording", "the share of all retrieved five-word sequences that reached the model"),
)
"""The same in a line each, for readers of results."""

_WORD = re.compile(r"[^\W_]+")
_YEAR = re.compile(r"(?<![\d.])(?:19|20)\d\d(?![\d.]*\d)")
_ADDRESS = re.compile(r"https?://[^\s<>\"')\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_VERSION = re.compile(
    r"\b(apache|mozilla|gnu|lesser|general public|python|psf|boost|academic free|zope|eclipse)\b"
    r"[^.\n]{0,40}?\b(?:v(?:ersion|\.)?|licen[cs]e,?)\s*(\d+(?:\.\d+)*)",
    re.IGNORECASE,
)
# 'Copyright' counts only with a sign or a year behind it: 'copyright notice' and 'copyright
# holders' are words of the licence. A notice ends with its line.
_NOTICE = re.compile(
    r"(?:copyright\s*(?:\(c\)|©|(?=(?:19|20)\d\d))|©|\(c\)\s*copyright|\(c\)\s*(?=(?:19|20)\d\d))"
    r"\s*:?\s*(?P<rest>[^\n]{2,120})",
    re.IGNORECASE,
)
_NOTICE_END = re.compile(
    r"all rights reserved|permission (?:to|is)|licensed under|redistribution and", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """How much of the retrieved evidence reached the model."""

    copies: int
    """Copies among what was retrieved."""
    copies_left: int
    """Copies among what reached the model."""
    facts: int
    """Distinct facts retrieved."""
    facts_lost: tuple[Fact, ...]
    """Facts of the retrieved chunks that no longer stand in what reached the model."""
    wording: float
    """Share of the distinct five-word sequences that still stand in it, 0..1."""


def words(text: str) -> str:
    """The text's words, one space between two: equal for texts that differ in layout only."""
    return " ".join(_WORD.findall(text.casefold()))


def copies(texts: Sequence[str]) -> tuple[int, ...]:
    """Indexes of the texts whose words all stand, in their order, in another of the texts.

    Of several texts with the same words, the first is the original.
    """
    plain = [f" {words(text)} " for text in texts]
    return tuple(
        index
        for index, text in enumerate(plain)
        if any(
            text in other and (text != other or before < index)
            for before, other in enumerate(plain)
            if before != index
        )
    )


def facts(texts: Iterable[str]) -> frozenset[Fact]:
    """Every distinct fact in the texts."""
    return frozenset(fact for text in texts for fact in _facts(text))


def retained(before: Sequence[str], after: Sequence[str]) -> Retained:
    """Compare the retrieved texts with those that reached the model."""
    known, kept = facts(before), facts(after)
    said = _sequences(before)
    still = "\n".join(f" {words(text)} " for text in after)
    return Retained(
        copies=len(copies(before)),
        copies_left=len(copies(after)),
        facts=len(known),
        facts_lost=tuple(sorted(known - kept)),
        wording=sum(f" {part} " in still for part in said) / len(said) if said else 1.0,
    )


def _facts(text: str) -> Iterable[Fact]:
    for match in _NOTICE.finditer(text):
        notice = words(_NOTICE_END.split(match["rest"], maxsplit=1)[0])
        if notice:
            yield "notice", notice
    for match in _VERSION.finditer(text):
        yield "version", f"{match[1].casefold()} {match[2]}"
    for match in _YEAR.finditer(text):
        yield "year", match[0]
    for match in _ADDRESS.finditer(text):
        yield "address", match[0].casefold().rstrip(".,;:/")


def _sequences(texts: Iterable[str], length: int = 5) -> frozenset[str]:
    """Every run of `length` words; a shorter text is one run."""
    found: set[str] = set()
    for text in texts:
        row = words(text).split()
        found.update(" ".join(row[i : i + length]) for i in range(max(1, len(row) - length + 1)))
    return frozenset(found - {""})
