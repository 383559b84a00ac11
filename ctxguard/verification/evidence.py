"""The evidence as passages: sentences of chunks, with the words and facts that claims meet.

Where words stand is read for all chunks at once. What a passage says, its facts and what it denies,
is read only when a claim is aligned to it, because that costs thirty times as much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.encoders import static_encoder
from ctxguard.text.facts import Fact
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words, words_of
from ctxguard.types import Chunk, Quote, Span
from ctxguard.verification._elsewhere import Values
from ctxguard.verification._index import Index
from ctxguard.verification._language import language_of
from ctxguard.verification._plain import read_facts
from ctxguard.verification._polarity import Polar, by_term, denies, polarities

__all__ = ["Evidence", "Passage", "terms_of"]

_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_READ = 8
"""Chunks in which the language of the evidence shows, by their first words."""
_FIRST = 400
"""Characters of them."""
_MOST = 32
"""Places of a name that are looked at."""
_MOST_COPIES = 1_000
"""Places of the same words that are looked at for the one with the same signs."""
_LONGEST = 4_000
"""Characters of a passage that are read."""
_AROUND = 3
"""Characters beside a run of words in which a sign belongs to it."""
_NUMBERS = frozenset("0123456789")
_PARTS = re.compile(r"[^\W_]+")


@lru_cache(maxsize=1 << 14)
def _term(key: str) -> str:
    return term_of(key[:-2] if key.endswith("'s") else key)


def terms_of(words: Words) -> tuple[str, ...]:
    """The term of each word, blank for function words and for signs; "Acme's" is "Acme"."""
    return tuple([_term(key) if key[0].isalnum() else "" for key in words.keys])


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of a chunk."""

    chunk: int
    """Position of the chunk."""
    span: Span
    """Characters of the chunk's text."""


@dataclass(frozen=True)
class _Reading:
    """What a passage says."""

    words: Words
    """Spans are of the passage."""
    start: int
    """Where the passage begins in its chunk."""

    @cached_property
    def terms(self) -> tuple[str, ...]:
        return terms_of(self.words)

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(pairwise(self.terms))

    @cached_property
    def wording(self) -> frozenset[str]:
        return frozenset(key for key in self.words.keys if _NUMBERS.isdisjoint(key))

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        return read_facts(self.words.text, self.start)

    @cached_property
    def polarity(self) -> Mapping[str, Sequence[Polar]]:
        return by_term(polarities(self.words, (0, len(self.words))))


class Evidence:
    """Chunks that claims are held against; everything is read at first use."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        """Hold the chunks.

        Args:
            chunks: what the answer was, or should have been, made from; ids are unique.
        """
        self.chunks: tuple[Chunk, ...] = tuple(chunks)
        self._places: dict[str, Sequence[int]] = {}
        self._readings: dict[int, _Reading] = {}
        self._index = Index([_without_tags(chunk.text) for chunk in self.chunks])
        self._values = Values(self._index)

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The sentences of all chunks, in order."""
        return tuple(
            Passage(number, span)
            for number, spans in enumerate(self._index.sentences)
            for span in spans
        )

    # -- what a passage says ----------------------------------------------------------------------

    def _read(self, number: int) -> _Reading:
        reading = self._readings.get(number)
        if reading is None:
            passage = self.passages[number]
            start, end = passage.span[0], min(passage.span[1], passage.span[0] + _LONGEST)
            words = words_of(self._index.texts[passage.chunk][start:end])
            reading = self._readings[number] = _Reading(words, start)
        return reading

    def keys_of(self, number: int) -> Sequence[str]:
        """The words of a passage in order, case folded."""
        return self._read(number).words.keys

    def terms_of(self, number: int) -> Sequence[str]:
        """The terms of a passage in order, blank for function words."""
        return self._read(number).terms

    def wording_of(self, number: int) -> frozenset[str]:
        """The distinct words of a passage, those with digits left out."""
        return self._read(number).wording

    def pairs_of(self, number: int) -> frozenset[tuple[str, str]]:
        """The terms of a passage that follow each other."""
        return self._read(number).pairs

    def facts_of(self, number: int) -> tuple[Fact, ...]:
        """The material facts of a passage; spans are of the chunk's text."""
        return self._read(number).facts

    def polarity_of(self, number: int) -> Mapping[str, Sequence[Polar]]:
        """The words of a passage by their stem, each affirmed or denied."""
        return self._read(number).polarity

    # -- what all of it says ----------------------------------------------------------------------

    def passages_with(self, term: str) -> Sequence[int]:
        """The numbers of the passages that have a term, ascending."""
        found = self._places.get(term)
        if found is None:
            found = self._places[term] = self._find_passages(term)
        return found

    def _find_passages(self, term: str) -> Sequence[int]:
        if term.isalnum() or not term:
            return self._index.sentences_with(term)
        words = filter(None, map(term_of, _PARTS.findall(term)))  # of "08.05.2014", "wasn't"
        parts = list(map(self._index.sentences_with, words))
        both = set(parts[0]).intersection(*parts[1:]) if parts else ()
        return sorted(both)

    def passages_like(self, term: str) -> Sequence[int]:
        """The same; of a term that nobody has, those with one of its family."""
        if found := self.passages_with(term):
            return found
        return sorted({n for one in self._index.family_of(term) for n in self.passages_with(one)})

    def rarity(self, term: str) -> float:
        """How much a term tells of where a claim belongs; the highest for one that nobody has."""
        return math.log(1 + len(self.passages) / (len(self.passages_with(term)) + 0.5))

    @cached_property
    def language(self) -> str:
        """The language of the first chunks, blank if it cannot be told."""
        texts = self._index.texts[:_READ]
        return language_of(key for text in texts for key in words_of(text[:_FIRST]).keys)

    @cached_property
    def initials(self) -> tuple[str, ...]:
        """The first letters of each chunk's words, case folded."""
        return tuple(
            "".join(text[start] for start in words.spans[:, 0].tolist()).casefold()
            for text, words in zip(self._index.texts, self._index.words, strict=True)
        )

    def runs_of(self, text: str, *, most: int = _MOST) -> list[tuple[int, Span]]:
        """Where the words of a text stand one after the other: the chunk's position, characters.

        Letters and digits only: signs between and around them may be others.

        Args:
            text: the words.
            most: places that are wanted.
        """
        return self._index.runs_of(text, most)

    def has_form(self, key: str) -> bool:
        """Whether a chunk has a word in this very form."""
        return self._index.has_form(key)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """A unit row for each distinct word, for what is to be found in other words."""
        return static_encoder().encode_words(self._index.keys)

    def has_value(self, claimed: Fact) -> bool:
        """Whether a figure of any chunk says the claimed one."""
        return self._values.has(claimed)

    def names(self, key: str) -> bool:
        """Whether a chunk has a word, or another one of its family, or bears it in its metadata.

        A passage of "Acme (footballer)" says football, and a chunk of a page on Acme need not name
        it: its title does.
        """
        if self.runs_of(key, most=1) or key in self._titles:
            return True
        return any(one.startswith(key) for one in self._index.family_of(key))

    @cached_property
    def _titles(self) -> frozenset[str]:
        """The words of the chunks' sources and of the texts in their metadata."""
        texts = [
            text
            for chunk in self.chunks
            for text in (chunk.source, *chunk.metadata.values())
            if isinstance(text, str)
        ]
        return frozenset(key.casefold() for text in texts for key in _PARTS.findall(text))

    def find(self, text: str, *, is_claimed: bool = False) -> Quote | None:
        """Where the evidence has a text word for word, its signs included, or None.

        Args:
            text: any words.
            is_claimed: whether it is to be said, too: not where what stands before it in the same
                sentence denies it, as in "none of the fees are refundable".
        """
        wanted = words_of(text).keys
        for chunk, (start, end) in self.runs_of(text, most=_MOST_COPIES):
            around = self._index.texts[chunk][max(0, start - _AROUND) : end + _AROUND]
            if f" {' '.join(wanted)} " in f" {' '.join(words_of(around).keys)} " or (
                wanted == words_of(self._index.texts[chunk][start:end]).keys
            ):
                if is_claimed and self._is_denied(text, chunk, start):
                    continue
                return self.quote(chunk, (start, end))
        return None

    def _is_denied(self, text: str, chunk: int, start: int) -> bool:
        """Whether a sentence denies all that a text says which it has word for word."""
        whole = self._index.texts[chunk]
        begin = max(
            (
                one.span[0]
                for one in self.passages
                if one.chunk == chunk and one.span[0] <= start < one.span[1]
            ),
            default=start,
        )
        if not any(map(denies, words_of(whole[begin:start]).keys)):
            return False
        there = words_of(whole[begin : start + len(text)])
        before = len(words_of(whole[begin:start]))
        theirs = [one.sign for one in polarities(there, (0, len(there))) if one.place >= before]
        said = words_of(text)
        ours = [one.sign for one in polarities(said, (0, len(said)))]
        pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if one and other]
        return bool(pairs) and all(one == -other for one, other in pairs)

    def holds(self, text: str) -> bool:
        """Whether a chunk has a text letter by letter."""
        return any(text in chunk.text for chunk in self.chunks)

    def quote(self, chunk: int, span: Span) -> Quote:
        """These characters of a chunk, word for word."""
        source = self.chunks[chunk]
        return Quote(chunk_id=source.id, span=span, text=source.text[slice(*span)])

    def quote_passage(self, number: int) -> Quote:
        """A passage, word for word."""
        passage = self.passages[number]
        return self.quote(passage.chunk, passage.span)


def _without_tags(text: str) -> str:
    """The text with spaces in place of its tags: "12<br>months"."""
    if "<" not in text:
        return text
    return _TAG.sub(lambda tag: " " * len(tag.group()), text)
