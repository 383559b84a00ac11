"""How far passages support a claim, beyond its facts: the seam for learned scorers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ctxguard.types import Span
from ctxguard.verification._align import Case

__all__ = [
    "AsyncScorer",
    "CaseScorer",
    "Scorer",
    "Support",
    "Weighing",
    "has_words",
    "lexical_support",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """How much findings take from a probability that was calibrated together with them.

    A finding of certainty c speaks with -ln(1 - c). Beside a passage that is about the very same
    thing it is nearly sure; beside one that shares a few words, what differs may well be another
    thing: that part counts by the share of the claim that the best passage has.
    """

    anywhere: float
    """Log odds for each unit, whatever the passages are about."""
    aligned: float
    """In addition, times the share of the best passage."""

    def weigh(self, probability: float, against: float, share: float) -> float:
        """P(supported) in the light of findings.

        Args:
            probability: P without them.
            against: the sum of -ln(1 - certainty).
            share: of the claim's words, as much as the best passage has; 0 to 1.
        """
        if not 0 < probability < 1:
            return probability
        odds = math.log(probability) - math.log1p(-probability)
        odds -= (self.anywhere + self.aligned * share) * against
        return 1 / (1 + math.exp(-max(odds, -_FURTHEST)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How far passages support a claim."""

    probability: float
    """That they do, 0 to 1."""
    passage: int = -1
    """Position of the passage that does it best, -1 for none."""
    span: Span = (0, 0)
    """Characters of that passage."""
    weighing: Weighing | None = None
    """How findings are weighed against it; None: their probabilities are multiplied."""


class Scorer(Protocol):
    """Says how far passages support claims; a model, or a rule.

    One with a true attribute `quick` takes milliseconds. Any other that is no `AsyncScorer` runs in
    a thread where verification is awaited.
    """

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order.

        Args:
            claims: statements.
            passages: sentences of the evidence, in order.
        """
        ...


@runtime_checkable
class AsyncScorer(Scorer, Protocol):
    """A scorer that can be awaited, as one that asks a server."""

    async def ascore(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """As `score`."""
        ...


@runtime_checkable
class CaseScorer(Protocol):
    """A scorer that reads the verifier's own index of the evidence, and so reads nothing twice."""

    @property
    def threshold(self) -> float:
        """The score under which a claim is not supported, unless the verifier says otherwise."""
        ...

    def score_cases(self, cases: Sequence[Case]) -> Sequence[Support]:
        """One Support for each claim, in order; passages are those of the cases' evidence.

        Args:
            cases: claims of one answer, aligned to the same evidence.
        """
        ...


def lexical_support(case: Case) -> float:
    """P(supported) by words alone: how many of the claim's words the passages have.

    It is near one wherever there is anything to hold on to: who says it in other words has few
    words in common with the evidence, and facts decide better.
    """
    terms, missing = _missing(case)
    if case.lead and not terms:
        return _MOST
    if missing == terms:
        return _NOTHING
    return _MOST - _SPREAD * (missing / terms) ** _BEND


def has_words(case: Case) -> bool:
    """Whether the passages have any of the words by which a claim says something."""
    terms, missing = _missing(case)
    return missing < terms


def _missing(case: Case) -> tuple[int, int]:
    """How many words of its own a claim has, and how many of them the passages lack."""
    said = {term for one in case.aligned for term in case.evidence.terms_of(one.number)}
    terms = {term for term in case.own_terms if term}
    families = {term[:_STEM] for term in said}
    missing = sum(term not in said and term[:_STEM] not in families for term in terms)
    return len(terms), missing


_FURTHEST = 30.0
"""Log odds beyond which a probability is 0."""
_STEM = 6
"""Letters by which words of one family are known: compete, competitive."""
_NOTHING = 0.45
"""P(supported) of a claim that has no word in common with the passages."""
_MOST = 0.97
"""Of one of which they have every word; in texts with edits, so many are right."""
_SPREAD = 0.3
_BEND = 3
"""How far, and how late, it falls with the words that they do not have."""
