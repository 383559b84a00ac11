"""Numbers of words and terms, looked up for a whole pool at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.terms import read_word

__all__ = ["Vocabulary", "current_vocabulary"]

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_MAX_WORDS = 100_000
"""Words beyond which the next pool starts a new vocabulary, 25 MB."""
_BITS = 16
"""Of the places of a new table; it doubles when half of them are taken."""


class _Table(NamedTuple):
    """A hash table with open addressing: reading is a few gathers for all words of a pool."""

    keys: Hashes
    """By place: the word's hash, 0 where there is none; a power of two of them."""
    numbers: Ints
    """By place: the word's number."""
    hashes: Hashes
    """By number: the word's hash."""
    terms: Ints
    """By number: the term of the word, 0 for function words."""


class Vocabulary:
    """Words that were met, and the term of each; thread-safe.

    Numbers depend on what was met before, so that nothing but a lookup may depend on them. They
    stay as they are: readers need no lock, because a place is filled before its key is set.
    """

    def __init__(self) -> None:
        self.forms: list[str] = [""]
        """By number of a word: the word in lower case."""
        self._terms: dict[str, int] = {"": 0}
        self._lock = threading.Lock()
        self._table = _empty(_BITS)

    def __len__(self) -> int:
        """How many words there are, the blank one included."""
        return len(self.forms)

    @property
    def hashes(self) -> Hashes:
        """By number of a word: its hash."""
        return self._table.hashes

    @property
    def terms(self) -> Ints:
        """By number of a word: the number of its term, 0 for function words."""
        return self._table.terms

    def numbers_of(self, hashes: Hashes, spell: Callable[[int], str]) -> Ints:
        """The numbers of words, in order.

        Args:
            hashes: of `ctxguard.text.lexicon`.
            spell: how the word at a place is written; asked for words that are new.
        """
        numbers, missing = _find(self._table, hashes)
        if missing.size:
            new, first = np.unique(hashes[missing], return_index=True)
            keys: list[int] = new.tolist()
            self._learn(keys, [spell(place) for place in missing[first].tolist()])
            numbers[missing], _ = _find(self._table, hashes[missing])
        return numbers

    def _learn(self, hashes: list[int], forms: list[str]) -> None:
        for word_hash, form in zip(hashes, forms, strict=True):
            word, term = read_word(form)
            with self._lock:
                if 2 * len(self.forms) >= self._table.keys.size:
                    self._table = _larger(self._table, len(self.forms))
                place = _free(self._table.keys, word_hash)
                if place is None:  # another thread was faster
                    continue
                number = len(self.forms)
                self._table.terms[number] = self._terms.setdefault(term, len(self._terms))
                self._table.hashes[number] = word_hash
                self._table.numbers[place] = number
                self.forms.append(word)
                self._table.keys[place] = word_hash


def current_vocabulary() -> Vocabulary:
    """The vocabulary that all pools share, a new one when it has grown too large. A cache."""
    if len(_shared()) > _MAX_WORDS:
        _shared.cache_clear()
    return _shared()


@lru_cache(maxsize=1)
def _shared() -> Vocabulary:
    return Vocabulary()


def _empty(bits: int) -> _Table:
    size = 1 << bits
    return _Table(
        keys=np.zeros(size, dtype=np.uint64),
        numbers=np.zeros(size, dtype=np.int64),
        hashes=np.zeros(size // 2 + 1, dtype=np.uint64),
        terms=np.zeros(size // 2 + 1, dtype=np.int64),
    )


def _find(table: _Table, hashes: Hashes) -> tuple[Ints, Ints]:
    """The number of each hash, 0 where it is not known, and the places of those."""
    last = table.keys.size - 1
    places = (hashes & np.uint64(last)).astype(np.int64)
    found = table.keys[places]
    open_ = np.flatnonzero(found != hashes)
    unknown: list[Ints] = []
    while open_.size:
        taken = found[open_] != 0
        unknown.append(open_[~taken])
        open_ = open_[taken]
        places[open_] = (places[open_] + 1) & last
        found[open_] = table.keys[places[open_]]
        open_ = open_[found[open_] != hashes[open_]]
    numbers = table.numbers[places]
    missing = np.sort(np.concatenate(unknown)) if unknown else np.zeros(0, dtype=np.int64)
    numbers[missing] = 0
    return numbers, missing


def _free(keys: Hashes, word_hash: int) -> int | None:
    """The place where a hash can be put; None if it is there."""
    last = keys.size - 1
    place = word_hash & last
    while (key := int(keys[place])) != 0:
        if key == word_hash:
            return None
        place = (place + 1) & last
    return place


def _larger(table: _Table, words: int) -> _Table:
    """A table of twice the size with the same words; the old one stays as it is for readers."""
    new = _empty(table.keys.size.bit_length())
    new.hashes[:words], new.terms[:words] = table.hashes[:words], table.terms[:words]
    for number, word_hash in enumerate(table.hashes[1:words].tolist(), start=1):
        place = _free(new.keys, word_hash)
        if place is not None:
            new.numbers[place], new.keys[place] = number, word_hash
    return new
