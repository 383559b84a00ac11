"""Evidence that contradicts itself where a claim takes one side without saying so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxguard.text.facts import Fact
from ctxguard.types import Finding, Span
from ctxguard.verification._align import Case
from ctxguard.verification._values import VALUE_KINDS, are_rivals, is_same

__all__ = ["check_conflicts"]

_ALIKE = 0.6
"""Share of words that two passages have in common when they say the same of two values."""
_ALIKE_VERSION = 0.35
"""The same where deduplication found the chunks to be versions of each other."""


def check_conflicts(case: Case, answer_facts: Sequence[Fact]) -> Iterator[Finding]:
    """Values of a claim that one chunk states and another states otherwise.

    Args:
        case: the claim.
        answer_facts: the facts of the whole answer; who gives both values, says it.
    """
    values = [fact for fact in case.facts if fact.kind in VALUE_KINDS]
    if not values:
        return
    numbers = [one.number for one in case.aligned]
    pairs = [(one, two) for one in numbers for two in numbers if _are_versions(case, one, two)]
    if not pairs:
        return
    for value in values:
        if finding := _conflict(case, value, pairs, answer_facts):
            yield finding


def _conflict(
    case: Case, value: Fact, pairs: Sequence[Span], answer_facts: Sequence[Fact]
) -> Finding | None:
    evidence = case.evidence
    for one, two in pairs:
        stated = [fact for fact in evidence.facts_of(one) if is_same(value, fact)]
        others = [fact for fact in evidence.facts_of(two) if are_rivals(value, fact)]
        if not stated or not others or any(is_same(value, other) for other in others):
            continue
        fact, other = stated[0], others[0]
        if any(is_same(said, other) for said in answer_facts if said.kind == other.kind):
            return None
        quotes = (
            evidence.quote(evidence.passages[one].chunk, fact.span),
            evidence.quote(evidence.passages[two].chunk, other.span),
        )
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
    ours, theirs = case.evidence.wording_of(one), case.evidence.wording_of(other)
    chunks = case.evidence.chunks
    known = chunks[second].id in chunks[first].conflicts
    alike = len(ours & theirs) / max(1, len(ours | theirs))
    return alike >= (_ALIKE_VERSION if known else _ALIKE)
