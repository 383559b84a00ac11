"""Which readers a word calls for: the vocabulary of facts as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ctxguard.text.facts import identifiers, phrases, vocabulary
from ctxguard.text.facts.dates import MONTHS, read_month
from ctxguard.text.facts.figures import FigureReader
from ctxguard.text.facts.model import Found
from ctxguard.text.facts.money import CURRENCY_CODES
from ctxguard.text.facts.names import NameReader
from ctxguard.text.facts.numbers import NUMBER_WORDS, ORDINALS, read_ordinal

__all__ = ["READERS", "Passage", "Reader"]


class Passage:
    """One text with the readers that look around in it."""

    __slots__ = ("figures", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.names = NameReader(text)
        self.figures = FigureReader(text)


Reader: TypeAlias = Callable[[Passage, int, int], Found | None]
"""Reads the fact that begins with the word from the first to the second position, if it does."""


def _bound(passage: Passage, start: int, _end: int) -> Found | None:
    return phrases.read_bound(passage.text, start)


def _reference(passage: Passage, start: int, end: int) -> Found | None:
    return identifiers.read_reference(passage.text, start, end)


def _version(passage: Passage, start: int, _end: int) -> Found | None:
    return identifiers.read_version(passage.text, start)


def _isbn(passage: Passage, start: int, end: int) -> Found | None:
    return identifiers.read_isbn(passage.text, start, end)


def _money(passage: Passage, start: int, _end: int) -> Found | None:
    return passage.figures.money(start)


def _hour(passage: Passage, start: int, end: int) -> Found | None:
    is_noon = passage.text[start].lower() == "n" and end - start == 4
    return Found("time", "12:00" if is_noon else "00:00", start, end)


def _month(passage: Passage, start: int, end: int) -> Found | None:
    """A date, or the name of a month by itself: "May" at the start of a sentence is a verb."""
    text = passage.text
    if date := read_month(text, start):
        return date
    word = text[start:end]
    if not word[0].isupper() or word.isupper():
        return None
    lower = word.lower()
    if lower in ("may", "march", "mar") and passage.names.starts_sentence(start):
        return None
    return Found("date", f"--{MONTHS[lower]:02d}", start, end)


def _ordinal(passage: Passage, start: int, _end: int) -> Found | None:
    return read_ordinal(passage.text, start)


def _number(passage: Passage, start: int, _end: int) -> Found | None:
    return passage.figures.spelled(start)


def _literal_number(passage: Passage, start: int, end: int) -> Found | None:
    return Found("number", passage.text[start:end].lower(), start, end)


def _negation(passage: Passage, start: int, end: int) -> Found | None:
    lower = passage.text[start:end].lower()
    value = vocabulary.NEGATIONS[lower]
    return Found("modality" if lower == "cannot" else "negation", value, start, end)


def _modal(passage: Passage, start: int, end: int) -> Found | None:
    """A modal verb, unless it is capitalised in the middle of a sentence like a name: "Will"."""
    word = passage.text[start:end]
    is_capitalised = word[0].isupper() and not word.isupper()
    if is_capitalised and not passage.names.starts_sentence(start):
        return None
    return phrases.read_modal(passage.text, start, end)


def _quantifier(passage: Passage, start: int, end: int) -> Found | None:
    return Found("quantifier", passage.text[start:end].lower(), start, end)


def _comparison(passage: Passage, start: int, end: int) -> Found | None:
    lemma = vocabulary.COMPARISONS[passage.text[start:end].lower()]
    return Found("bound", lemma, start, end)


_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_IN_ORDER: tuple[tuple[Reader, Iterable[str]], ...] = (
    (_bound, phrases.BOUND_HEADS),
    (_reference, vocabulary.REFERENCE_HEADS),
    (_version, ("version", "versions", "v", "ver", "release", "revision", "rev")),
    (_isbn, ("isbn",)),
    (_money, (*map(str.lower, CURRENCY_CODES), "rs")),
    (_hour, ("noon", "midnight")),
    (_month, MONTHS),
    (_ordinal, (*ORDINALS, *_TENS)),
    (_number, NUMBER_WORDS),
    (_literal_number, vocabulary.LITERAL_NUMBERS - NUMBER_WORDS),
    (_negation, vocabulary.NEGATIONS),
    (_modal, vocabulary.MODALS),
    (_quantifier, vocabulary.QUANTIFIERS),
    (_comparison, vocabulary.COMPARISONS),
)


def _table() -> dict[str, tuple[Reader, ...]]:
    table: dict[str, tuple[Reader, ...]] = {}
    for reader, words in _IN_ORDER:
        for word in words:
            table[word] = (*table.get(word, ()), reader)
    return table


READERS = _table()
"""Lower-case word → the readers to try, most specific first."""
