"""What a peer is: a filter of near-copies, or a selector under a token budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

__all__ = [
    "Filter",
    "FilterPeer",
    "Question",
    "Selector",
    "SelectorPeer",
    "Source",
    "cosine",
    "first_of_each",
]

Filter: TypeAlias = Callable[[Sequence[str]], Mapping[int, str]]
"""From texts, best-ranked first, to the index of each that stays and the text as it stays."""

Similarity: TypeAlias = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""From pairs to the score that the peer compares with its threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterPeer:
    """A filter with one setting, as documented and as a sweep."""

    name: str
    at: Callable[[float], Filter]
    """The filter with the setting at this value."""
    setting: str = ""
    """What the setting is called where it comes from; blank: there is none."""
    default: float = 0.0
    """Its documented default."""
    sweep: tuple[float, ...] = ()
    """Values to choose from on the tuning slice."""
    similarity: Similarity | None = None
    """None: pairs are judged by running the filter on them."""
    of_pairs: bool = True
    """Whether two texts are enough for it to work on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A chunk of a question's evidence."""

    title: str
    text: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with all its evidence, and what of it is needed."""

    id: str
    group: str
    """What is drawn as one in intervals: the contract, or the question itself."""
    text: str
    chunks: tuple[Source, ...]
    support: tuple[str, ...]
    answers: tuple[str, ...] = ()


Selector: TypeAlias = Callable[[Question, int], Sequence[str]]
"""From a question and a budget in o200k tokens to the texts that a model would read, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorPeer:
    """A way to choose from the evidence."""

    name: str
    select: Selector
    note: str = ""
    """How it was brought under the budget, where that is not its own doing."""


def cosine(encode: Callable[[Sequence[str]], np.ndarray]) -> Similarity:
    """The cosine of unit vectors, pair by pair."""

    def similarity(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        left = encode([first for first, _ in pairs])
        right = encode([second for _, second in pairs])
        return [float(value) for value in np.einsum("ij,ij->i", left, right)]

    return similarity


def first_of_each(texts: Sequence[str], kept: Sequence[str]) -> dict[int, str]:
    """Indices of kept texts; where a text occurs twice, its better-ranked place."""
    return {texts.index(text): text for text in kept}
