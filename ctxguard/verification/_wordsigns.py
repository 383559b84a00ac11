"""Signs that a word of a claim has, or lacks, support in the passages around it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.encoders import static_encoder
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.text.words import Words, words_of
from ctxguard.verification._reading import Floats, Reading, Window, is_negator, name_of, read_term
from ctxguard.verification._relations import Relations

__all__ = ["SIGNS", "Signs", "read_signs", "telling_words"]

SIGNS = (
    # Whether it is there.
    *("in_evidence", "in_form", "in_best", "in_window", "rarity"),
    # What is like it, by vectors and by the thesaurus.
    *("cosine", "cosine_second", "cosine_evidence"),
    *("synonym", "broader", "narrower", "opposite", "opposite_missing", "sibling"),
    *("known", "senses"),
    # What is like it, by learned relations: best in the window, then near its neighbours.
    *("like", "like_second", "against", "beside", "net_like", "net_against"),
    *("near_like", "near_against", "near_beside", "near_cosine", "near_same"),
    # Whether it stands where it should.
    *("before_in", "after_in", "before_near", "after_near", "both_near", "gap", "reversed"),
    *("cover", "new_neighbours", "new_run", "inside_run"),
    # What kind of word it is.
    *("function", "capital", "digit", "negator", "contrast", "denied"),
    # What its claim is like.
    *("window_denies", "share_best", "share_window", "new"),
)
"""Names of the columns of `Signs.rows`."""
_AT = {name: column for column, name in enumerate(SIGNS)}
_CONTRAST = frozenset(
    ("but", "only", "although", "despite", "instead", "rather", "however", "except")
)
_NEAR = 12
"""Words within which two words of a claim stand together in a passage."""
_GAP = 10
"""Words between which a word of the claim may stand."""
_REACH = 4
"""Words beside a neighbour among which the counterpart of a word is looked for."""
_OFTEN = 20
"""Places of a word that are looked at."""
_DENIED = 4
"""Words before a word in which a negator denies it."""
_AROUND = 5
"""Words to each side that a word's surroundings are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """The words of a claim, with what speaks for and against each."""

    words: Words
    rows: Floats
    """Shape `(words, len(SIGNS))`."""
    vectors: Floats
    """Of the words, unit rows."""
    nearest: Floats
    """Of the nearest words of the window; zero without any."""
    passage: int
    """Number of the best passage, -1 for none."""

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Which words say something: content words, and those that deny or restrict."""
        return telling_words(self.rows)


def telling_words(rows: Floats) -> NDArray[np.bool_]:
    """Which rows are of words that say something."""
    marks = rows[:, [_AT["negator"], _AT["contrast"]]].any(axis=1)
    return marks | (rows[:, _AT["function"]] == 0)


def read_signs(claim: str, reading: Reading, relations: Relations) -> Signs:
    """The signs of each word of a claim."""
    found = _Claim(claim, reading, relations)
    found.read_words()
    found.read_likeness()
    found.read_relations()
    found.read_order()
    found.read_runs()
    nearest = np.zeros_like(found.vectors)
    if found.cosines.size:
        nearest = found.window.vectors[found.cosines.argmax(axis=1)]
    return Signs(
        words=found.words,
        rows=found.rows,
        vectors=found.vectors,
        nearest=nearest,
        passage=found.window.best,
    )


class _Claim:
    """A claim beside its window; each method fills a group of columns."""

    def __init__(self, claim: str, reading: Reading, relations: Relations) -> None:
        self.words = words_of(claim)
        self.keys = self.words.keys
        self.terms = [read_term(key) for key in self.keys]
        self.reading, self.relations = reading, relations
        self.window: Window = reading.window(self.terms)
        self.vectors: Floats = static_encoder().encode_words(self.keys)
        self.cosines: Floats = self.vectors @ self.window.vectors.T
        self.rows: Floats = np.zeros((len(self.keys), len(SIGNS)), dtype=np.float32)
        self._beside: dict[int, NDArray[np.intp]] = {}
        self.content = [place for place, term in enumerate(self.terms) if term]
        self.names = [name_of(key, term) for key, term in zip(self.keys, self.terms, strict=True)]
        self.inside = [name in self.window.places for name in self.names]

    def _set(self, name: str, values: Sequence[float] | Floats) -> None:
        self.rows[:, _AT[name]] = values

    # -- words ------------------------------------------------------------------------------------

    def read_words(self) -> None:
        """What each word is, and whether the evidence has it."""
        reading, window = self.reading, self.window
        known = [reading.has_term(term) for term in self.terms]
        negators = [is_negator(key) for key in self.keys]
        self._set("in_evidence", known)
        self._set("in_form", [reading.has_form(key) for key in self.keys])
        self._set("in_best", [bool(term) and term in window.best_terms for term in self.terms])
        self._set("in_window", self.inside)
        rarities = {term: reading.rarity(term) for term in dict.fromkeys(filter(None, self.terms))}
        self._set("rarity", [rarities.get(term, 0.0) / 6 for term in self.terms])
        self._set("function", [not term for term in self.terms])
        self._set("capital", [self.words.raw(i)[0].isupper() and i > 0 for i in range(len(known))])
        self._set("digit", [any(map(str.isdigit, key)) for key in self.keys])
        self._set("negator", negators)
        self._set("contrast", [key in _CONTRAST for key in self.keys])
        self._set("denied", [any(negators[max(0, i - _DENIED) : i]) for i in range(len(known))])
        total = sum(rarities.values()) or 1.0
        best = sum(rarity for term, rarity in rarities.items() if term in window.best_terms)
        near = sum(rarity for term, rarity in rarities.items() if term in window.places)
        new = sum(not known[place] for place in self.content) / max(1, len(self.content))
        self.rows[:, _AT["window_denies"]] = window.is_negated
        self.rows[:, _AT["share_best"]] = best / total
        self.rows[:, _AT["share_window"]] = near / total
        self.rows[:, _AT["new"]] = new

    # -- likeness ---------------------------------------------------------------------------------

    def read_likeness(self) -> None:
        """What is like each word, by vectors and by the thesaurus."""
        if self.cosines.size:
            ordered = np.sort(self.cosines, axis=1)
            self._set("cosine", ordered[:, -1])
            if ordered.shape[1] > 1:
                self._set("cosine_second", ordered[:, -2])
        self._set("cosine_evidence", self._nearest_anywhere())
        senses, thesaurus = self.window.senses, default_thesaurus()
        for place in self.content:
            key, row = self.keys[place], self.rows[place]
            if not key.isalpha():
                continue
            means = thesaurus.meanings(key)
            opposite = not means.opposites.isdisjoint(senses.own)
            row[_AT["synonym"]] = not means.own.isdisjoint(senses.own)
            row[_AT["broader"]] = not means.own.isdisjoint(senses.broader)
            row[_AT["narrower"]] = not means.broader.isdisjoint(senses.own)
            row[_AT["opposite"]] = opposite
            row[_AT["opposite_missing"]] = opposite and not self.inside[place]
            row[_AT["sibling"]] = not means.parents.isdisjoint(senses.parents)
            row[_AT["known"]] = bool(means.own)
            row[_AT["senses"]] = min(len(means.own), 10) / 10

    def _nearest_anywhere(self) -> Floats:
        """The cosine of each word with the nearest one of all evidence."""
        found = (self.rows[:, _AT["in_form"]] > 0).astype(np.float32)
        new = found == 0
        if new.any() and len(self.reading.vectors):
            found[new] = (self.vectors[new] @ self.reading.vectors.T).max(axis=1)
        return found

    def read_relations(self) -> None:
        """What is like each word, by learned relations: in the window, and beside neighbours."""
        window, places = self.window, [i for i in self.content if self.keys[i].isalpha()]
        if not places or not window.meaningful.size:
            return
        shares = self.relations.between(self.vectors[places], window.vectors[window.meaningful])
        terms = window.column_terms[window.meaningful]
        for place, found in zip(places, shares, strict=True):
            other = terms != self.terms[place]
            if other.any():
                self._relate(self.rows[place], found[other])
            beside = np.zeros(len(window.columns), dtype=np.bool_)
            beside[self._counterparts(place)] = True
            if (chosen := beside[window.meaningful] & other).any():
                most = found[chosen].max(axis=0)
                row = self.rows[place]
                row[_AT["near_like"]], row[_AT["near_against"]] = most[0], most[1]
                row[_AT["near_beside"]] = most[2]

    def _relate(self, row: Floats, shares: Floats) -> None:
        like, against, beside = shares[:, 0], shares[:, 1], shares[:, 2]
        ordered = np.sort(like)
        row[_AT["like"]] = ordered[-1]
        row[_AT["like_second"]] = ordered[-2] if ordered.size > 1 else 0.0
        row[_AT["against"]], row[_AT["beside"]] = against.max(), beside.max()
        row[_AT["net_like"]] = (like - against - beside / 2).max()
        row[_AT["net_against"]] = (against - like).max()

    def _counterparts(self, place: int) -> NDArray[np.intp]:
        """The columns of the words that stand beside the neighbours of a word in the window."""
        columns = self._beside.get(place)
        if columns is None:
            columns = self._beside[place] = self._find_counterparts(place)
        return columns

    def _find_counterparts(self, place: int) -> NDArray[np.intp]:
        found: set[int] = set()
        keys, columns = self.window.keys, self.window.columns
        for neighbour, step in zip(self._neighbours(place), (1, -1), strict=True):
            for at in self._places(neighbour)[: _OFTEN // 2]:
                for far in range(1, _REACH + 1):
                    spot = at + step * far
                    if 0 <= spot < len(keys) and keys[spot] in columns:
                        found.add(columns[keys[spot]])
        return np.array(sorted(found), dtype=np.intp)

    # -- order ------------------------------------------------------------------------------------

    def _neighbours(self, place: int) -> tuple[int | None, int | None]:
        """The content words before and after a word."""
        at = bisect_left(self.content, place)
        past = at + (at < len(self.content) and self.content[at] == place)
        before = self.content[at - 1] if at else None
        return before, self.content[past] if past < len(self.content) else None

    def _places(self, place: int | None) -> Sequence[int]:
        """Where a word of the claim stands in the window."""
        if place is None:
            return ()
        return self.window.places.get(self.names[place], ())[:_OFTEN]

    def read_order(self) -> None:
        """Whether each word stands in the window where it stands in the claim."""
        for place in range(len(self.keys)):
            row, here = self.rows[place], self._places(place)
            before, after = self._neighbours(place)
            left, right = self._places(before), self._places(after)
            row[_AT["before_in"]], row[_AT["after_in"]] = bool(left), bool(right)
            near, far = _distance(left, here, _NEAR), _distance(here, right, _NEAR)
            row[_AT["before_near"]] = 1 / near if near else 0.0
            row[_AT["after_near"]] = 1 / far if far else 0.0
            row[_AT["both_near"]] = bool(near and far)
            gap = _distance(left, right, _GAP)
            row[_AT["gap"]] = 1 / gap if gap else 0.0
            row[_AT["reversed"]] = not gap and bool(_distance(right, left, _GAP))
            self._read_counterparts(place, row)

    def _read_counterparts(self, place: int, row: Floats) -> None:
        near = self._counterparts(place)
        if near.size:
            cosines = self.cosines[place, near]
            row[_AT["near_cosine"]] = cosines.max()
            term = self.window.column_terms[near[int(cosines.argmax())]]
            row[_AT["near_same"]] = bool(term) and term == self.terms[place]

    def read_runs(self) -> None:
        """How much of what stands around each word the window has."""
        for place in range(len(self.keys)):
            row = self.rows[place]
            around = [i for i in self.content if i != place and abs(i - place) <= _AROUND]
            row[_AT["cover"]] = sum(self.inside[i] for i in around) / max(1, len(around))
            beside = [i for i in self._neighbours(place) if i is not None]
            new = [not self.reading.has_term(self.terms[i]) for i in beside]
            row[_AT["new_neighbours"]] = sum(new) / max(1, len(new))
        for start, end, size in self._runs():
            self.rows[start:end, _AT["new_run"]] = min(size, 8) / 4
            for place in range(start, end):
                self.rows[place, _AT["inside_run"]] = not self.terms[place]

    def _runs(self) -> list[tuple[int, int, int]]:
        """Start, end and content words of runs of content words that the window lacks."""
        found: list[tuple[int, int, int]] = []
        for place in self.content:
            if self.inside[place]:
                continue
            before = self._neighbours(place)[0]
            if found and before is not None and found[-1][1] == before + 1:
                start, _, size = found.pop()
                found.append((start, place + 1, size + 1))
            else:
                found.append((place, place + 1, 1))
        return found


def _distance(firsts: Sequence[int], seconds: Sequence[int], most: int) -> int:
    """The least distance from a place to a later one, 0 if there is none up to `most`."""
    least = 0
    for first in firsts:
        at = bisect_left(seconds, first + 1)
        if at < len(seconds) and seconds[at] - first <= (least - 1 if least else most):
            least = seconds[at] - first
    return least
