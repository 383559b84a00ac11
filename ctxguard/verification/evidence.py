"""The evidence as passages: sentences of chunks, with the words and facts that claims meet.

Words of all chunks are read at once; facts only of the passages that a claim is aligned to, because
reading a fact costs thirty times as much as reading a word.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from ctxguard.text.facts import Fact, begins_figure, figures_at
from ctxguard.text.sentences import split_sentences
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words, words_of
from ctxguard.types import Chunk, Quote, Span
from ctxguard.verification._language import language_of
from ctxguard.verification._plain import read_facts
from ctxguard.verification._polarity import Polar, by_term, polarities

__all__ = ["Evidence", "Passage", "bare_key"]

_term = lru_cache(maxsize=1 << 14)(term_of)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_READ = 8
"""Chunks in which the language of the evidence shows, by their first words."""
_FIRST = 50
_LONGEST = 4_000
"""Characters of a passage of which facts are read."""


def bare_key(key: str) -> str:
    """A word without the ending of a possessive: "Acme's" is "Acme"."""
    return key[:-2] if key.endswith("'s") else key


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A sentence of a chunk."""

    chunk: int
    """Position of the chunk."""
    span: Span
    """Characters of the chunk's text."""
    words: Span
    """Indexes of its words among those of the chunk."""


class Evidence:
    """Chunks that claims are held against; everything is read at first use."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        """Hold the chunks.

        Args:
            chunks: what the answer was, or should have been, made from; ids are unique.
        """
        self.chunks: tuple[Chunk, ...] = tuple(chunks)
        self._facts: dict[int, tuple[Fact, ...]] = {}
        self._polarity: dict[int, Mapping[str, Sequence[Polar]]] = {}
        self._pairs: dict[int, frozenset[tuple[str, str]]] = {}

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text of each chunk with spaces in place of its tags: "12<br>months"."""
        return tuple(
            _TAG.sub(lambda tag: " " * len(tag.group()), chunk.text)
            if "<" in chunk.text
            else chunk.text
            for chunk in self.chunks
        )

    @cached_property
    def words(self) -> tuple[Words, ...]:
        """The words of each chunk."""
        return tuple(map(words_of, self.texts))

    @cached_property
    def terms(self) -> tuple[tuple[str, ...], ...]:
        """For each chunk the term of each of its words, blank for function words."""
        return tuple(tuple([_term(bare_key(key)) for key in words.keys]) for words in self.words)

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The sentences of all chunks, in order."""
        found: list[Passage] = []
        for number, (chunk, words) in enumerate(zip(self.chunks, self.words, strict=True)):
            starts = [start for start, _ in words.spans]
            for span in split_sentences(chunk.text):
                place = bisect_left(starts, span[0]), bisect_left(starts, span[1])
                found.append(Passage(chunk=number, span=span, words=place))
        return tuple(found)

    def polarity_of(self, number: int) -> Mapping[str, Sequence[Polar]]:
        """The words of a passage by their stem, each affirmed or denied."""
        found = self._polarity.get(number)
        if found is None:
            passage = self.passages[number]
            found = by_term(polarities(self.words[passage.chunk], passage.words))
            self._polarity[number] = found
        return found

    def pairs_of(self, number: int) -> frozenset[tuple[str, str]]:
        """The terms of a passage that follow each other."""
        found = self._pairs.get(number)
        if found is None:
            found = self._pairs[number] = frozenset(pairwise(self.terms_of(number)))
        return found

    @cached_property
    def postings(self) -> Mapping[str, tuple[int, ...]]:
        """Term → the passages that have it, ascending."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number in range(len(self.passages)):
            for term in set(self.terms_of(number)):
                found[term].append(number)
        found.pop("", None)
        return {term: tuple(numbers) for term, numbers in found.items()}

    def terms_of(self, number: int) -> Sequence[str]:
        """The terms of a passage in order, blank for function words."""
        passage = self.passages[number]
        return self.terms[passage.chunk][slice(*passage.words)]

    def keys_of(self, number: int) -> Sequence[str]:
        """The words of a passage in order, case folded."""
        passage = self.passages[number]
        return self.words[passage.chunk].keys[slice(*passage.words)]

    def rarity(self, term: str) -> float:
        """How much a term tells of where a claim belongs; the highest for one that nobody has."""
        count = len(self.postings.get(term, ()))
        return math.log(1 + len(self.passages) / (count + 0.5))

    def text_of(self, number: int) -> str:
        """The text of a passage."""
        passage = self.passages[number]
        return self.chunks[passage.chunk].text[slice(*passage.span)]

    def facts_of(self, number: int) -> tuple[Fact, ...]:
        """The material facts of a passage; spans are of the chunk's text."""
        facts = self._facts.get(number)
        if facts is None:
            facts = self._facts[number] = self._read_facts(self.passages[number])
        return facts

    def _read_facts(self, passage: Passage) -> tuple[Fact, ...]:
        start, end = passage.span[0], min(passage.span[1], passage.span[0] + _LONGEST)
        return read_facts(self.texts[passage.chunk][start:end], start)

    @cached_property
    def figures(self) -> tuple[tuple[int, Fact], ...]:
        """The figures of all chunks, each with the position of its chunk; codes are left out."""
        known = {key for words in self.words for key in set(words.keys) if begins_figure(key)}
        return tuple(
            (number, Fact(found.kind, found.value, text[found.start : found.end], found[2:]))
            for number, (text, words) in enumerate(zip(self.texts, self.words, strict=True))
            for found in figures_at(
                text,
                [span for key, span in zip(words.keys, words.spans, strict=True) if key in known],
            )
        )

    @cached_property
    def running(self) -> tuple[str, ...]:
        """The words of each chunk with one space around each, to look for a run of words in."""
        return tuple(f" {' '.join(map(bare_key, words.keys))} " for words in self.words)

    def occurrences(self, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Where words stand one after the other: position of the chunk, index of the first word.

        Args:
            keys: words, case folded, as `ctxguard.text.words` reads them.
        """
        wanted = f" {' '.join(map(bare_key, keys))} "
        for number, running in enumerate(self.running):
            place = running.find(wanted)
            while place >= 0:
                yield number, running.count(" ", 0, place)
                place = running.find(wanted, place + 1)

    @cached_property
    def language(self) -> str:
        """The language of the first chunks, blank if it cannot be told."""
        return language_of(key for words in self.words[:_READ] for key in words.keys[:_FIRST])

    @cached_property
    def initials(self) -> tuple[str, ...]:
        """The first letters of each chunk's words, with and without the small words between."""
        return tuple(
            "".join(key[0] for key, term in zip(words.keys, terms, strict=True) if small or term)
            for words, terms in zip(self.words, self.terms, strict=True)
            for small in (True, False)
        )

    def find(self, keys: Sequence[str]) -> Quote | None:
        """Where the evidence has these words one after the other first, or None."""
        for number, first in self.occurrences(keys):
            return self.quote(number, self.words[number].span(first, first + len(keys)))
        return None

    def quote(self, chunk: int, span: Span) -> Quote:
        """These characters of a chunk, word for word."""
        source = self.chunks[chunk]
        return Quote(chunk_id=source.id, span=span, text=source.text[slice(*span)])

    def quote_passage(self, number: int) -> Quote:
        """A passage, word for word."""
        passage = self.passages[number]
        return self.quote(passage.chunk, passage.span)
