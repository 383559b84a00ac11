"""Which words mean the same, which is the more general one, which are opposites (English).

The data is a part of WordNet 3.0: single words with their common senses.
`scripts/build_thesaurus.py` makes it. Words that are not in it have no relation to any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["Meanings", "Part", "Relatedness", "Thesaurus", "default_thesaurus"]

_TABLE = "wordnet.npz"
Part: TypeAlias = Literal["n", "v", "a", "r"]
"""Noun, verb, adjective, adverb."""

_STEPS = 9
"""Steps up from a word to a more general one; from "horse" to "animal" it is eight."""
_NEAR = 2
"""Steps within which two words are kinds of the same."""
_TOP = 3
"""Synsets that are at most so deep say too little ("object", "act"): everything is one of them."""
_ENDINGS = (
    ("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("zes", "z"),
    ("ves", "f"), ("men", "man"), ("es", "e"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", "e"),
    ("ed", ""), ("ing", "e"), ("ing", ""),
)  # fmt: skip
"""Endings of nouns and verbs and what stands there in the lemma (WordNet's rules of detachment)."""
_COMPARED = (("iest", "y"), ("ier", "y"), ("est", "e"), ("est", ""), ("er", "e"), ("er", ""))
"""Endings of adjectives; only of words that are no lemmas themselves: beer is not more bee."""


@dataclass(frozen=True, slots=True)
class Relatedness:
    """How a word that was said relates to one that is looked for."""

    kind: Literal["same", "synonym", "broader", "opposite", "sibling"]
    """- 'same': forms of one word.
    - 'synonym': they share a sense.
    - 'broader': the one looked for is more general: who says "guitar" says "instrument".
    - 'opposite': antonyms, or kinds of antonyms.
    - 'sibling': two kinds of the same: a guitar is no piano.
    """
    steps: int = 0
    """From the narrower to the broader one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanings:
    """The senses of a word, as numbers that mean the same for all words of a thesaurus."""

    own: frozenset[int]
    opposites: frozenset[int]
    """What stands against them, or against the heads of adjectives."""
    parents: frozenset[int]
    """What is one or two steps more general."""
    broader: frozenset[int]
    """What is one to four steps more general."""


class Thesaurus:
    """Words, senses and what is above them; read-only, so thread-safe."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Take over the arrays that `scripts/build_thesaurus.py` writes."""
        words, forms = table["text"].tobytes().decode("ascii").split("\n")
        self._index = {word: place for place, word in enumerate(words.split())}
        self._forms: dict[str, list[str]] = defaultdict(list)
        pairs = iter(forms.split())
        for form, lemma in zip(pairs, pairs, strict=True):
            self._forms[form].append(lemma)
        self._parts: str = table["parts"].tobytes().decode("ascii")
        self._senses = _Rows(table["sense_ends"], table["senses"])
        self._parents = _Rows(table["parent_ends"], table["parents"])
        self._opposites = _Rows(table["opposite_ends"], table["opposites"])
        self._relations = lru_cache(maxsize=50_000)(self._find_relation)
        self._lemmas = lru_cache(maxsize=50_000)(self._find_lemmas)
        self._above = lru_cache(maxsize=50_000)(self._find_above)
        self._meanings = lru_cache(maxsize=50_000)(self._find_meanings)
        self._read_meanings = lru_cache(maxsize=50_000)(self._as_meanings)

    def __contains__(self, word: str) -> bool:
        """Whether the word is a lemma that it knows."""
        return word in self._index

    def words(self) -> Iterator[str]:
        """The lemmas that it knows."""
        return iter(self._index)

    def lemmas(self, word: str) -> tuple[str, ...]:
        """What a lower-case word may be a form of, itself first; itself if nothing is known."""
        return self._lemmas(word)

    def main_part(self, word: str) -> str:
        """The part of speech that a word mostly is; "" if it is unknown."""
        senses = (sense for lemma in self._read_as(word) for sense in self._senses_of(lemma))
        return next((self._parts[sense] for sense in senses), "")

    def relate(self, said: str, wanted: str) -> Relatedness | None:
        """How `said` relates to `wanted`; None if nothing is known."""
        return self._relations(said, wanted)

    def are_opposite(self, one: str, other: str) -> bool:
        """Whether two words are antonyms, or kinds of antonyms, and have no sense in common.

        As `relate` finds it, at a hundredth of the cost where many words meet many.
        """
        meant, opposed = self._meanings(one)
        senses, _ = self._meanings(other)
        return not opposed.isdisjoint(senses) and meant.isdisjoint(senses)

    def meanings(self, word: str) -> Meanings:
        """The senses of a word, to compare one word with many at the cost of a set; maybe none."""
        return self._read_meanings(word)

    # -- inside ---------------------------------------------------------------------------------

    def _find_relation(self, said: str, wanted: str) -> Relatedness | None:
        if set(self.lemmas(said)) & set(self.lemmas(wanted)):
            return Relatedness("same")
        ours, theirs = self._read_as(said), self._read_as(wanted)
        above: dict[int, int] = {}
        for lemma in ours:
            for sense, steps in self._above(lemma).items():
                above[sense] = min(steps, above.get(sense, steps))
        targets = {sense for lemma in theirs for sense in self._senses_of(lemma)}
        if self._are_opposite(ours, theirs):
            return Relatedness("opposite")
        hits = [above[sense] for sense in targets if sense in above]
        if hits:
            steps = min(hits)
            return Relatedness("broader", steps) if steps else Relatedness("synonym")
        return Relatedness("sibling") if self._are_siblings(above, theirs) else None

    def _find_lemmas(self, word: str) -> tuple[str, ...]:
        found = [word]
        found += self._forms.get(word, ())
        if word not in self._forms:
            found += [stem for stem in _stems(word, _ENDINGS) if stem in self._index]
        if word not in self._index:
            compared = [stem for stem in _stems(word, _COMPARED) if stem in self._index]
            found += [
                stem
                for stem in compared
                if any(self._parts[sense] == "a" for sense in self._senses_of(stem))
            ]
        return tuple(dict.fromkeys(found))

    def _read_as(self, word: str) -> tuple[str, ...]:
        """The lemmas without the word itself where it is a form of a verb: putting is no putt."""
        lemmas = self._lemmas(word)
        is_form = len(lemmas) > 1 and (word.endswith(("ing", "ed")) or word in self._forms)
        return lemmas[1:] if is_form else lemmas

    def _senses_of(self, lemma: str) -> Sequence[int]:
        place = self._index.get(lemma)
        return () if place is None else self._senses[place]

    def _find_above(self, lemma: str) -> Mapping[int, int]:
        """Senses of a lemma and what is above them → steps up."""
        steps = dict.fromkeys(self._senses_of(lemma), 0)
        layer = list(steps)
        for step in range(1, _STEPS + 1):
            above = {up for sense in layer for up in self._parents[sense] if up not in steps}
            layer = [up for up in above if not self._is_vague(up)]
            steps.update(dict.fromkeys(layer, step))
        return steps

    def _is_vague(self, sense: int) -> bool:
        """Whether a noun's synset stands so near the top that it says next to nothing."""
        depth, layer = 0, [sense]
        while depth <= _TOP and layer:
            layer = [up for one in layer for up in self._parents[one]]
            depth += 1
        return self._parts[sense] == "n" and depth <= _TOP

    def _are_opposite(self, ours: Sequence[str], theirs: Sequence[str]) -> bool:
        wide = self._with_heads(theirs)
        narrow = self._with_heads(ours)
        return any(other in wide for sense in narrow for other in self._opposites[sense])

    def _with_heads(self, lemmas: Sequence[str]) -> set[int]:
        """Senses, and the heads of adjectives: "huge" stands against "small" as "large" does."""
        senses = {sense for lemma in lemmas for sense in self._senses_of(lemma)}
        return senses | {
            up for sense in senses if self._parts[sense] == "a" for up in self._parents[sense]
        }

    def _find_meanings(self, word: str) -> tuple[frozenset[int], frozenset[int]]:
        """The senses of a word, and those that stand against them."""
        senses = self._with_heads(self._read_as(word))
        opposed = {other for sense in senses for other in self._opposites[sense]}
        return frozenset(senses), frozenset(opposed)

    def _as_meanings(self, word: str) -> Meanings:
        own: set[int] = set()
        steps: dict[int, int] = {}
        for lemma in self._read_as(word):
            own.update(self._senses_of(lemma))
            for sense, step in self._above(lemma).items():
                steps[sense] = min(step, steps.get(sense, step))
        return Meanings(
            own=frozenset(own),
            opposites=self._meanings(word)[1],
            parents=frozenset(sense for sense, step in steps.items() if 0 < step <= _NEAR),
            broader=frozenset(sense for sense, step in steps.items() if 0 < step <= 2 * _NEAR),
        )

    def _are_siblings(self, above: Mapping[int, int], theirs: Sequence[str]) -> bool:
        near = {sense for sense, steps in above.items() if 0 < steps <= 2}
        return any(
            sense in near and 0 < steps <= 2
            for lemma in theirs
            for sense, steps in self._above(lemma).items()
        )


def _stems(word: str, endings: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What a word may be a form of, by its ending; at least two letters."""
    for ending, instead in endings:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield word[: -len(ending)] + instead


class _Rows:
    """Lists of numbers in one array."""

    __slots__ = ("_ends", "_numbers")

    def __init__(self, ends: Any, numbers: Any) -> None:  # noqa: ANN401 -- arrays of a table
        self._ends: list[int] = [0, *ends.tolist()]
        self._numbers: list[int] = numbers.tolist()

    def __getitem__(self, row: int) -> Sequence[int]:
        return self._numbers[self._ends[row] : self._ends[row + 1]]


@lru_cache(maxsize=1)
def default_thesaurus() -> Thesaurus:
    """The Thesaurus that ships with the package, read at first use (60 ms)."""
    stored = resources.files("ctxguard.text") / "data" / _TABLE
    with resources.as_file(stored) as path, np.load(path, allow_pickle=False) as table:
        return Thesaurus(table)
