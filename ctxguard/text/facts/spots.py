"""Figures at given words: numbers, amounts, dates and references, read where they may begin.

`extract_facts` reads every word of a text (15 µs each). Who knows which words may begin a figure
asks here, and pays for those alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from ctxguard.text.facts.dates import MONTHS, read_month
from ctxguard.text.facts.identifiers import read_label, read_reference
from ctxguard.text.facts.model import FactKind, Found
from ctxguard.text.facts.money import CURRENCY_CODES, CURRENCY_SIGNS
from ctxguard.text.facts.numbers import NUMBER_WORDS, ORDINALS, VULGAR, read_ordinal
from ctxguard.text.facts.vocabulary import REFERENCE_HEADS
from ctxguard.text.facts.words import Passage
from ctxguard.text.sentences import Span

__all__ = ["begins_figure", "begins_number", "figures_at"]

_Reader: TypeAlias = Callable[[Passage, int, int], Found | None]
_RESTATED: frozenset[FactKind] = frozenset(
    {"number", "amount", "percentage", "quantity", "duration", "ordinal"}
)
_LITERAL: frozenset[FactKind] = frozenset({"identifier", "version"})
_CODES = frozenset(map(str.lower, CURRENCY_CODES))
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def begins_figure(key: str) -> bool:
    """Whether a word, case folded, may begin a figure."""
    first = key[0]
    if first.isdigit() or key in _READERS or first in _SIGNS:
        return True
    return key[:3] in _CODES and not key.isalpha()  # "usd5", but not "audit"


def begins_number(key: str) -> bool:
    """Whether a word, case folded, may begin a figure other than a month or a reference."""
    return begins_figure(key) and key not in _NO_NUMBERS


def figures_at(text: str, words: Iterable[Span]) -> Iterator[Found]:
    """The figures that begin with one of the words, in order; they do not overlap.

    Args:
        text: the whole text.
        words: ascending spans of words that may begin a figure.

    Returns:
        Facts whose value is the same for every spelling. What is ambiguous, and codes, which are
        compared letter by letter, are left out. "five percent (5%)" is one figure. Of a reference
        ("Sec. 4.2") it is the first word that has several spellings, and that is read.
    """
    passage = Passage(text)
    last: Found | None = None
    position = 0
    for start, end in words:
        found = _read(passage, start, end) if start >= position else None
        if found is None:
            continue
        position = found.end
        if found.kind in _LITERAL or found.value.startswith("?"):
            continue
        if last is not None:
            if _restates(text, last, found):
                last = last._replace(end=found.end + 1)
                continue
            yield last
        last = found
    if last is not None:
        yield last


def _restates(text: str, last: Found, found: Found) -> bool:
    """Whether a figure repeats the one before it in parentheses."""
    return (
        last[:2] == found[:2]
        and found.kind in _RESTATED
        and text.startswith(")", found.end)
        and text[last.end : found.start].strip() == "("
    )


def _read(passage: Passage, start: int, end: int) -> Found | None:
    text = passage.text
    first = text[start]
    if first.isdecimal() or first in VULGAR:
        return passage.figures.at(start)
    if first in CURRENCY_SIGNS:
        return passage.figures.money(start)
    if first == "§":
        return Found("reference", "section", start, end) if read_label(text, end) else None
    lower = text[start:end].lower()
    if text[end : end + 1] in tuple("$€£") or (lower[:3] in _CODES and lower not in _CODES):
        return passage.figures.money(start)  # "US$ 5", "USD5"
    return next(
        (found for read in _READERS.get(lower, ()) if (found := read(passage, start, end))), None
    )


def _money(passage: Passage, start: int, _end: int) -> Found | None:
    return passage.figures.money(start)


def _reference(passage: Passage, start: int, end: int) -> Found | None:
    """The head of a reference, by its name: what it refers to stands there in one spelling."""
    found = read_reference(passage.text, start, end)
    return found and Found("reference", found.value.partition(" ")[0], start, end)


def _month(passage: Passage, start: int, _end: int) -> Found | None:
    return read_month(passage.text, start)


def _ordinal(passage: Passage, start: int, _end: int) -> Found | None:
    return read_ordinal(passage.text, start)


def _number(passage: Passage, start: int, _end: int) -> Found | None:
    return passage.figures.spelled(start)


_IN_ORDER: tuple[tuple[_Reader, Iterable[str]], ...] = (
    (_money, (*_CODES, "rs", "us", "au", "ca", "hk", "nz", "sg")),
    (_reference, REFERENCE_HEADS),
    (_month, MONTHS),
    (_ordinal, (*ORDINALS, *_TENS)),
    (_number, NUMBER_WORDS),
)


def _table() -> Mapping[str, tuple[_Reader, ...]]:
    table: dict[str, tuple[_Reader, ...]] = {}
    for reader, words in _IN_ORDER:
        for word in words:
            table[word] = (*table.get(word, ()), reader)
    return table


_READERS = _table()
"""Lower-case word → the readers to try, most specific first."""
_NO_NUMBERS = frozenset(
    key for key, readers in _READERS.items() if {_reference, _month}.issuperset(readers)
)
_SIGNS = frozenset((*CURRENCY_SIGNS, "§", *VULGAR))
