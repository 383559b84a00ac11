"""Evidence that contradicts itself where a claim takes one side without saying so."""

from __future__ import annotations

from collections.abc import Iterator

from ctxguard.text.facts import Fact
from ctxguard.types import Finding
from ctxguard.verification._align import Case
from ctxguard.verification._values import VALUE_KINDS, are_rivals, is_same

__all__ = ["check_conflicts"]

_ALIKE = 0.6
"""Share of words that two passages have in common when they say the same of two values."""
_ALIKE_VERSION = 0.35
"""The same where deduplication found the chunks to be versions of each other."""
_NUMBERS = frozenset("0123456789")


def check_conflicts(case: Case, answer_facts: tuple[Fact, ...]) -> Iterator[Finding]:
    """Values of a claim that one chunk states and another states otherwise.

    Args:
        case: the claim.
        answer_facts: the facts of the whole answer; who gives both values, says it.
    """
    for value in case.facts:
        if value.kind in VALUE_KINDS and (finding := _conflict(case, value, answer_facts)):
            yield finding


def _conflict(case: Case, value: Fact, answer_facts: tuple[Fact, ...]) -> Finding | None:
    evidence = case.evidence
    stated = [
        (one.number, fact)
        for one in case.aligned
        for fact in evidence.facts_of(one.number)
        if fact.kind == value.kind and is_same(value, fact)
    ]
    for number, fact in stated:
        for one in case.aligned:
            if not _are_versions(case, number, one.number):
                continue
            others = [other for other in evidence.facts_of(one.number) if are_rivals(value, other)]
            if not others or any(is_same(value, other) for other in others):
                continue
            other = others[0]
            if any(is_same(said, other) for said in answer_facts if said.kind == other.kind):
                return None
            chunks = evidence.passages[number].chunk, evidence.passages[one.number].chunk
            quotes = evidence.quote(chunks[0], fact.span), evidence.quote(chunks[1], other.span)
            return Finding(
                code="evidence-conflict",
                reason=(
                    f"{quotes[0].chunk_id!r} says {fact.text!r} and {quotes[1].chunk_id!r} says "
                    f"{other.text!r}; the answer does not say which one it follows"
                ),
                span=value.span,
                text=value.text,
                label="supported",
                evidence=quotes,
            )
    return None


def _are_versions(case: Case, one: int, other: int) -> bool:
    """Whether two passages of different chunks say the same, values apart."""
    first, second = case.evidence.passages[one].chunk, case.evidence.passages[other].chunk
    if first == second:
        return False
    ours, theirs = (
        {key for key in case.evidence.keys_of(number) if _NUMBERS.isdisjoint(key)}
        for number in (one, other)
    )
    chunks = case.evidence.chunks
    known = chunks[second].id in chunks[first].conflicts
    alike = len(ours & theirs) / max(1, len(ours | theirs))
    return alike >= (_ALIKE_VERSION if known else _ALIKE)
