"""The passages that a model is shown of a claim: those with most of its rare words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ctxguard.text.words import words_of
from ctxguard.verification.evidence import terms_of

__all__ = ["nearest"]


def nearest(claims: Sequence[str], passages: Sequence[str], depth: int) -> list[list[int]]:
    """For each claim the positions of at most `depth` passages, in their order.

    A claim that shares no word with any gets the first ones: what it says in other words may stand
    in a short evidence.

    Args:
        claims: statements.
        passages: sentences of the evidence.
        depth: passages per claim.
    """
    held = [_terms(passage) for passage in passages]
    known = Counter(term for terms in held for term in terms)

    def chosen(claim: str) -> list[int]:
        wanted = {
            term: math.log(1 + len(held) / known[term]) for term in _terms(claim) & set(known)
        }
        scores = [sum(wanted[term] for term in terms & wanted.keys()) for terms in held]
        best = sorted(range(len(held)), key=lambda at: (-scores[at], at))[:depth]
        return sorted(at for at in best if scores[at] or not wanted)

    return [chosen(claim) for claim in claims]


def _terms(text: str) -> set[str]:
    return set(terms_of(words_of(text))) - {""}
