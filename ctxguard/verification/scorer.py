"""How far passages support a claim, beyond its facts: the seam for learned scorers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ctxguard.types import Span
from ctxguard.verification._align import Case

__all__ = ["Scorer", "Support", "lexical_support"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How far passages support a claim."""

    probability: float
    """That they do, 0 to 1."""
    passage: int = -1
    """Position of the passage that does it best, -1 for none."""
    span: Span = (0, 0)
    """Characters of that passage."""


class Scorer(Protocol):
    """Says how far passages support claims; a model, or a rule."""

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order.

        Args:
            claims: statements.
            passages: sentences of the evidence, in order.
        """
        ...


def lexical_support(case: Case) -> float:
    """P(supported) by words alone: what tells most, and is not in the evidence, counts most."""
    said: set[str] = set()
    for one in case.aligned:
        said.update(case.evidence.terms_of(one.number))
    p = 1.0
    for term in dict.fromkeys(case.terms):
        if term and term not in said:
            p *= 0.8 if term in case.evidence.postings else 0.7
    return p
