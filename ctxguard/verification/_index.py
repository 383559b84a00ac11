"""Where the words of all evidence stand: arrays that are read for the whole of it at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.lexicon import WordHashes, hash_words
from ctxguard.text.sentences import split_sentences
from ctxguard.text.terms import read_word
from ctxguard.types import Span

__all__ = ["Index"]

Ints = NDArray[np.int64]
_read = lru_cache(maxsize=1 << 15)(read_word)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:-[ \t]*\r?\n[ \t]*[a-z]+)*")
_PART = re.compile(r"[^\W_]+")
_STEM = 6
"""Letters by which words of one family are known."""
_MOST = 1_000
"""Sentences with a term that are looked at: a term of more tells nothing of where a claim
belongs."""
_NOWHERE: tuple[int, ...] = ()


class Index:
    """The words and sentences of texts; what is asked for is read at first use."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Hold the texts."""
        self.texts = texts

    @cached_property
    def words(self) -> list[WordHashes]:
        """A hash and a span for each word of each text."""
        return hash_words(self.texts)

    @cached_property
    def sentences(self) -> list[tuple[Span, ...]]:
        """The sentences of each text."""
        return [split_sentences(text) for text in self.texts]

    @cached_property
    def firsts(self) -> Ints:
        """The number of the first sentence of each text, and that of all; shape `(texts + 1,)`."""
        return np.cumsum([0, *(len(found) for found in self.sentences)], dtype=np.int64)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """The words of all texts, one text after the other."""
        return np.concatenate([np.zeros(0, np.uint64), *(found.hashes for found in self.words)])

    @cached_property
    def edges(self) -> Ints:
        """Where the words of each text begin in `hashes`, and their number."""
        return np.cumsum([0, *(len(found) for found in self.words)], dtype=np.int64)

    @cached_property
    def _distinct(self) -> tuple[NDArray[np.uint64], list[str], list[str], Ints]:
        """Distinct words: hashes ascending, keys, terms; and which one each word is."""
        known, first, which = np.unique(self.hashes, return_index=True, return_inverse=True)
        texts = np.searchsorted(self.edges, first, side="right") - 1
        spans = np.concatenate([np.zeros((0, 2), np.int32), *(one.spans for one in self.words)])
        keys: list[str] = []
        terms: list[str] = []
        for (start, end), number in zip(spans[first].tolist(), texts.tolist(), strict=True):
            key, term = _read(self.texts[number][start:end])
            keys.append(key)
            terms.append(term)
        return known, keys, terms, which.reshape(-1)

    def _span(self, number: int, place: int) -> Span:
        """Characters of a word of a text."""
        spans = self.words[number].spans
        return int(spans[place, 0]), int(spans[place, 1])

    def spans(self, number: int, marked: NDArray[np.bool_]) -> list[Span]:
        """Characters of the words of a text that are marked."""
        return [(start, end) for start, end in self.words[number].spans[marked].tolist()]

    @property
    def keys(self) -> list[str]:
        """The distinct words, case folded, in the order of their hashes."""
        return self._distinct[1]

    def marked(self, wanted: Sequence[bool]) -> NDArray[np.bool_]:
        """For each word of `hashes`, what is said of it among the distinct ones."""
        flags = np.asarray(wanted, dtype=np.bool_)
        return flags[self._distinct[3]] if flags.size else np.zeros(0, np.bool_)

    @cached_property
    def _postings(self) -> tuple[dict[str, int], Ints, Ints]:
        """Term → number; where the sentences of each begin; the sentences of all."""
        _, _, terms, which = self._distinct
        numbers = {term: number for number, term in enumerate(dict.fromkeys(terms))}
        of_word = np.asarray([numbers[term] for term in terms], dtype=np.int64)[which]
        total = max(1, int(self.firsts[-1]))
        pairs = np.unique(of_word * total + self._sentence_of_word())
        bounds = np.searchsorted(pairs, np.arange(len(numbers) + 1) * total)
        return numbers, bounds, pairs % total

    def _sentence_of_word(self) -> Ints:
        found = [np.zeros(0, np.int64)]
        for words, spans, first in zip(self.words, self.sentences, self.firsts, strict=False):
            starts = np.asarray([start for start, _ in spans], dtype=np.int64)
            place = np.searchsorted(starts, words.spans[:, 0], side="right") - 1
            found.append(np.maximum(place, 0) + first)
        return np.concatenate(found)

    @cached_property
    def _families(self) -> dict[str, list[str]]:
        """The terms by the letters that they begin with."""
        families: dict[str, list[str]] = {}
        for term in self._postings[0]:
            if len(term) >= _STEM:
                families.setdefault(term[:_STEM], []).append(term)
        return families

    def family_of(self, term: str) -> Sequence[str]:
        """The terms that begin as a long one does: "competit" for "compet"."""
        return self._families.get(term[:_STEM], ()) if len(term) >= _STEM else ()

    def sentences_with(self, term: str) -> Sequence[int]:
        """The numbers of the sentences that have a term, ascending."""
        numbers, bounds, sentences = self._postings
        number = numbers.get(term)
        if number is None or not term:
            return _NOWHERE
        end = min(bounds[number + 1], bounds[number] + _MOST)
        found: list[int] = sentences[bounds[number] : end].tolist()
        return found

    def _hashes_of(self, text: str) -> Sequence[np.uint64]:
        """The hashes of a text's words; looked up where the words are known, ten times as fast."""
        if text.isascii():
            keys = _ASCII_WORD.findall(text.lower())
            places = [self._numbers.get(key) for key in keys]
            if None not in places:
                known = self._distinct[0]
                return [known[place] for place in places if place is not None]
        return list(hash_words([text])[0].hashes)

    def has_form(self, key: str) -> bool:
        """Whether a text has a word in this very form; of "wasn't" or "1.5", each of its parts."""
        parts = _PART.findall(key)
        return bool(parts) and all(part in self._numbers for part in parts)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The place of each distinct word in the order of the hashes."""
        return {key: number for number, key in enumerate(self.keys)}

    def runs_of(self, text: str, most: int) -> list[tuple[int, Span]]:
        """The first places where the words of a text stand one after the other.

        Returns:
            The position of each text, and characters of it.
        """
        wanted = self._hashes_of(text)
        size = len(wanted)
        if not size or size > self.hashes.size:
            return []
        places = np.flatnonzero(self.hashes[: self.hashes.size - size + 1] == wanted[0])
        for offset in range(1, size):
            if not places.size:
                return []
            places = places[self.hashes[places + offset] == wanted[offset]]
        places = places[:most]
        texts = np.searchsorted(self.edges, places, side="right") - 1
        inside = places + size <= self.edges[texts + 1]
        found: list[tuple[int, Span]] = []
        for place, number in zip(places[inside].tolist(), texts[inside].tolist(), strict=True):
            first = place - int(self.edges[number])
            last = first + size - 1
            found.append((number, (self._span(number, first)[0], self._span(number, last)[1])))
        return found
