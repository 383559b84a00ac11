"""A claim beside the passages of the evidence that are about the same thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from itertools import pairwise

from ctxguard.text.facts import Fact
from ctxguard.text.words import Words, words_of
from ctxguard.types import Claim, Quote
from ctxguard.verification._plain import read_facts
from ctxguard.verification.evidence import Evidence, terms_of

__all__ = ["Aligned", "Case", "case_of"]

_KEPT = 4
"""Passages that a claim is held against."""
_TRIED = 8
"""Passages of which the order of the words is looked at."""
_LEAST = 0.4
"""Of the best passage's share that another one needs."""
_PAIR = 0.3
"""What two words that follow each other in both count beside the words themselves."""
_AROUND = 0.01
"""What a word counts that stands around the claim: it decides between equals."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A passage of the evidence that a claim is held against."""

    number: int
    """Of the passage."""
    share: float
    """Of what the claim's words tell, as much as the passage has; 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A claim, the evidence, and where in it the claim belongs."""

    claim: Claim
    evidence: Evidence
    text: str
    """The claim's text with spaces for what claims nothing: markers, citations, formulas."""
    words: Words
    terms: tuple[str, ...]
    """Of each word, blank for function words."""
    aligned: tuple[Aligned, ...]
    """Best first; empty where the evidence has none of the claim's words."""
    question: str = ""
    """What was asked."""
    lead: int = 0
    """Characters at the text's start that only say what it is about, as the name of a field."""

    @property
    def own_terms(self) -> tuple[str, ...]:
        """Those of `terms` that words decide; after a lead, figures are left to facts."""
        if not self.lead:
            return self.terms
        first = sum(start < self.lead for start, _ in self.words.spans)
        own = zip(self.words.keys[first:], self.terms[first:], strict=True)
        return tuple(term for key, term in own if not any(map(str.isdigit, key)))

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The claim's facts; spans are of the answer."""
        return read_facts(self.text, self.claim.span[0])

    @cached_property
    def near(self) -> tuple[tuple[int, Fact], ...]:
        """The facts of the aligned passages, best first, each with the position of its chunk."""
        return tuple(
            (self.evidence.passages[one.number].chunk, fact)
            for one in self.aligned
            for fact in self.evidence.facts_of(one.number)
        )

    @property
    def best(self) -> float:
        """The share of the best passage, 0 without one."""
        return self.aligned[0].share if self.aligned else 0.0

    def stated(self) -> Quote | None:
        """Where the evidence says the claim word for word, if it does."""
        words = {term for term in self.terms if term.isalpha()}
        is_known = all(map(self.evidence.passages_with, words))
        return self.evidence.find(self.text, is_claimed=True) if is_known else None

    @property
    def overlap(self) -> int:
        """How many of the claim's terms the aligned passages have together."""
        said = {term for one in self.aligned for term in self.evidence.terms_of(one.number)}
        return len(said & set(filter(None, self.terms)))

    def quotes(self) -> tuple[Quote, ...]:
        """The aligned passages, word for word."""
        return tuple(self.evidence.quote_passage(one.number) for one in self.aligned)


def case_of(
    claim: Claim,
    evidence: Evidence,
    *,
    text: str | None = None,
    context: Sequence[str] = (),
    question: str = "",
    lead: int = 0,
) -> Case:
    """A claim with the passages that it is held against.

    Args:
        claim: the claim.
        evidence: the evidence.
        text: the claim's text as `plain_text` makes it; None: as it is.
        context: terms of what stands around the claim; they decide between equal passages.
        question: what was asked.
        lead: characters at its start that only say what it is about.
    """
    text = claim.text if text is None else text
    words = words_of(text)
    terms = terms_of(words)
    return Case(
        claim=claim,
        evidence=evidence,
        text=text,
        words=words,
        terms=terms,
        aligned=_align(terms, evidence, context),
        question=question,
        lead=lead,
    )


def _align(terms: Sequence[str], evidence: Evidence, context: Sequence[str]) -> tuple[Aligned, ...]:
    weights = {term: evidence.rarity(term) for term in dict.fromkeys(terms) if term}
    total = sum(weights.values())
    if not total:
        return ()
    scores: defaultdict[int, float] = defaultdict(float)
    for term, weight in weights.items():
        for number in evidence.passages_like(term):
            scores[number] += weight
    best = nlargest(_TRIED, ((score, -number) for number, score in scores.items()))
    least = _LEAST * best[0][0] if best else 0.0
    if len(best) > _KEPT:  # what is further behind than pairs and context can make up is not read
        least = max(least, (best[_KEPT - 1][0] - _AROUND * len(context)) / (1 + _PAIR))
    best = [(score, place) for score, place in best if score >= least]
    pairs = set(pairwise(terms))
    around = set(context) - set(weights)

    def refined(score: float, number: int) -> float:
        both = len(pairs & evidence.pairs_of(number)) / max(1, len(pairs))
        shared = len(around.intersection(evidence.terms_of(number)))
        return score * (1 + _PAIR * both) + _AROUND * shared

    ranked = sorted((-refined(score, -place), -place) for score, place in best)[:_KEPT]
    return tuple(Aligned(number, scores[number] / total) for _, number in ranked)
