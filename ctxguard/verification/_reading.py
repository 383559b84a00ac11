"""Passages as a learned scorer reads them: words in order, where they stand, what they mean."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.encoders import static_encoder
from ctxguard.text.terms import FUNCTION_WORDS, term_of
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.verification.evidence import Evidence

__all__ = ["Floats", "Reading", "Senses", "Window", "is_negator", "name_of", "read_term"]

Floats = NDArray[np.float32]
_PASSAGES = 3
"""Passages around which a claim's window lies; with each, the one before and the one after."""
_GAP = 3
"""Blank places between passages, so that words of two of them are never near each other."""
_NEGATORS = frozenset(
    (
        *("none", "neither", "nor", "without", "nobody", "nothing", "hardly", "fail", "fails"),
        *("failed", "failing", "lack", "lacks", "lacked", "unable", "refuse", "refuses", "refused"),
        *("deny", "denies", "denied", "avoid", "avoids", "avoided"),
    )
)
_NOT = frozenset(
    (
        *("no", "not", "never", "cannot", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt"),
        *("werent", "cant", "couldnt", "wont", "wouldnt"),
    )
)
"""Forms of "not", those without an apostrophe as people chat."""
_FIGURE = re.compile(r"(\d+(?:[.,]\d+)*)(?:st|nd|rd|th|[a-z]{1,2})?")
_COUNTED = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_FORMS = {word: str(number) for number, word in enumerate(_COUNTED, 2)} | dict.fromkeys(
    ("q1", "q2", "q3", "q4"), term_of("quarter")
)
"""Words that are compared by the term of another."""
_OTHERS: dict[str, list[str]] = {}
"""The terms by which the evidence knows those words."""
for _word, _term in _FORMS.items():
    _OTHERS.setdefault(_term, []).append(term_of(_word))


def is_negator(key: str) -> bool:
    """Whether a word denies what stands after it."""
    return key in _NEGATORS or _is_not(key)


def name_of(key: str, term: str) -> str:
    """What places of a word are looked up by: its term, or itself; all forms of "not" are one."""
    return "not" if _is_not(key) else term or key


def _is_not(key: str) -> bool:
    return key in _NOT or key.endswith("n't")


@lru_cache(maxsize=1 << 15)
def read_term(key: str) -> str:
    """The term of a word, blank for function words, signs and letters; "Acme's" is "Acme".

    Figures are compared without their commas and units: "1,500k" is "1500", as "two" is "2". "Q3"
    is a quarter; what exactly was said, the facts know.
    """
    if not key[0].isalnum() or (len(key) == 1 and key.isalpha()):
        return ""
    if key[0].isdigit() and (figure := _FIGURE.fullmatch(key)):
        return figure[1].replace(",", "")
    return _FORMS.get(key) or term_of(key[:-2] if key.endswith("'s") else key)


def _has_meaning(key: str) -> bool:
    return key.isalpha() and key not in FUNCTION_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What the words of a window mean together."""

    own: frozenset[int]
    parents: frozenset[int]
    broader: frozenset[int]


class Reading:
    """The evidence by the terms of `read_term`; what is read of it stays with the evidence."""

    def __init__(self, evidence: Evidence) -> None:
        """Hold the evidence; nothing is read yet."""
        self._evidence = evidence
        self.count = len(evidence.passages)

    @property
    def vectors(self) -> Floats:
        """A unit row for each distinct word."""
        return self._evidence.vectors

    def has_form(self, key: str) -> bool:
        """Whether a passage has a word as it is."""
        return self._evidence.has_form(key)

    def keys_of(self, number: int) -> Sequence[str]:
        """The words of a passage in order, case folded."""
        return self._evidence.keys_of(number)

    def passages_with(self, term: str) -> Sequence[int]:
        """The numbers of the passages that have a term, in any form that it is read from."""
        if (others := _OTHERS.get(term)) is None:
            return self._evidence.passages_with(term)
        return sorted({n for one in (term, *others) for n in self._evidence.passages_with(one)})

    def has_term(self, term: str) -> bool:
        """Whether a passage has the term."""
        return bool(term) and len(self.passages_with(term)) > 0

    def rarity(self, term: str) -> float:
        """How much a term tells of where a claim belongs."""
        return math.log(1 + self.count / (len(self.passages_with(term)) + 0.5))

    def window(self, terms: Sequence[str]) -> Window:
        """The part of the passages that has the most of a claim's terms."""
        scores: defaultdict[int, float] = defaultdict(float)
        for term in dict.fromkeys(filter(None, terms)):
            rarity = self.rarity(term)
            for number in self.passages_with(term):
                scores[number] += rarity
        best = nsmallest(_PASSAGES, scores, key=lambda number: (-scores[number], number))
        around = {number + step for number in best for step in (-1, 0, 1)}
        return Window(self, best, sorted(around & set(range(self.count))))


class Window:
    """The passages that a claim is held against, as one sequence of words."""

    def __init__(self, reading: Reading, best: Sequence[int], numbers: Sequence[int]) -> None:
        """Join the passages.

        Args:
            reading: all passages.
            best: those with the most of the claim's terms, best first.
            numbers: those and their neighbours, in order.
        """
        self.best = best[0] if best else -1
        """Number of the best passage, -1 for none."""
        self.best_terms = frozenset(map(read_term, reading.keys_of(best[0]) if best else ()))
        blank = [""] * _GAP
        self.keys = [key for number in numbers for key in (*reading.keys_of(number), *blank)]
        """Words in order, blank between passages."""
        self.terms = [read_term(key) if key else "" for key in self.keys]
        self.columns: dict[str, int] = {}
        """Distinct words → column of `vectors`."""
        for key in self.keys:
            if key and key[0].isalnum():
                self.columns.setdefault(key, len(self.columns))
        self.vectors: Floats = static_encoder().encode_words(list(self.columns))

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each term stands, and each function word, ascending."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for place, (key, term) in enumerate(zip(self.keys, self.terms, strict=True)):
            if key:
                found[name_of(key, term)].append(place)
        return dict(found)

    @cached_property
    def meaningful(self) -> NDArray[np.intp]:
        """The columns of words that say what it is about, ascending."""
        found = [column for key, column in self.columns.items() if _has_meaning(key)]
        return np.array(found, dtype=np.intp)

    @cached_property
    def column_terms(self) -> NDArray[np.object_]:
        """The term of each column."""
        return np.array([read_term(key) for key in self.columns], dtype=object)

    @cached_property
    def is_negated(self) -> bool:
        """Whether a word of it denies something."""
        return any(key and is_negator(key) for key in self.keys)

    @cached_property
    def senses(self) -> Senses:
        """What its words mean."""
        meanings = default_thesaurus().meanings
        found = [meanings(key) for key in self.columns if _has_meaning(key)]
        nothing: frozenset[int] = frozenset()
        return Senses(
            own=nothing.union(*(one.own for one in found)),
            parents=nothing.union(*(one.parents for one in found)),
            broader=nothing.union(*(one.broader for one in found)),
        )
