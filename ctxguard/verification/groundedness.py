"""Learned groundedness: P(the passages support a claim), word by word, without a language model.

What facts do not decide: words that the evidence does not have, opposites, exaggerations, other
roles, additions. `scripts/fit_groundedness.py` makes the weights and prints how far they can be
trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ctxguard.types import Span
from ctxguard.verification._network import Network, load_weights
from ctxguard.verification._reading import Reading
from ctxguard.verification._relations import Relations
from ctxguard.verification._wordsigns import read_signs
from ctxguard.verification.scorer import Support

__all__ = ["GroundednessScorer", "WordDoubt", "groundedness_scorer"]

_FURTHEST = 30.0
"""Log odds beyond which a probability is 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDoubt:
    """A word of a claim and how far it lacks support."""

    span: Span
    """Characters of the claim."""
    probability: float
    """That the passages do not support it here, 0 to 1; to compare words by, not calibrated."""


class GroundednessScorer:
    """The `Scorer` that ships with the package; thread-safe, deterministic, in milliseconds.

    English only: other languages have words, but no thesaurus and poorer vectors.
    """

    quick: ClassVar[bool] = True

    def __init__(self, network: Network, relations: Relations) -> None:
        """Take over weights; `groundedness_scorer()` gives those that ship."""
        self._network = network
        self._relations = relations

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order; nothing speaks against one that says nothing.

        Args:
            claims: statements.
            passages: sentences of the evidence, in order.
        """
        reading = Reading(passages)
        return [self._support(claim, passages, reading) for claim in claims]

    def doubts(self, claim: str, passages: Sequence[str]) -> Sequence[WordDoubt]:
        """The words of a claim in order, each with how far it lacks support.

        Args:
            claim: a statement.
            passages: sentences of the evidence, in order.
        """
        signs = read_signs(claim, Reading(passages), self._relations)
        odds = self._network.word_odds(signs).tolist()
        return [
            WordDoubt(span=span, probability=_probability(value))
            for span, value in zip(signs.words.spans, odds, strict=True)
        ]

    def _support(self, claim: str, passages: Sequence[str], reading: Reading) -> Support:
        signs = read_signs(claim, reading, self._relations)
        odds = self._network.claim_odds(self._network.word_odds(signs)[signs.telling])
        end = len(passages[signs.passage]) if signs.passage >= 0 else 0
        return Support(probability=_probability(-odds), passage=signs.passage, span=(0, end))

    def __repr__(self) -> str:
        """The name and the number of weights of a word."""
        return f"GroundednessScorer({len(self._network.out)} hidden units)"


@lru_cache(maxsize=1)
def groundedness_scorer() -> GroundednessScorer:
    """The GroundednessScorer that ships with the package, read at first use."""
    return GroundednessScorer(*load_weights())


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-_FURTHEST, min(_FURTHEST, odds))))
