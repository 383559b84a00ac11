"""Values of a claim that stand in the place of another: what begins on X and ends on Y."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ctxguard.text.facts import Fact
from ctxguard.text.words import words_of
from ctxguard.types import Finding
from ctxguard.verification._align import Case
from ctxguard.verification._values import VALUE_KINDS, are_rivals, is_same
from ctxguard.verification.evidence import terms_of

__all__ = ["check_slots"]

_SWAPPED = 0.9
"""That a claim is wrong in which two values stand in each other's place."""
_PASSAGES = 2
"""Passages whose values are compared."""
_LONGEST = 4_000
"""Characters of a text that are read."""
_MOST = 12
"""Values of a text that are compared."""
_AROUND = 8
"""Words beside a value that may say what it is the value of."""


class _Slot(NamedTuple):
    """A value, and the words that say what it is the value of."""

    fact: Fact
    before: frozenset[str]
    """Terms between the value before it, or the start, and it."""
    after: frozenset[str]
    """Terms between it and the next value, or the end."""


def check_slots(case: Case) -> Iterator[Finding]:
    """Pairs of values that a passage has the other way round."""
    ours = _slots(case.text, case.facts, case.claim.span[0])
    if len(ours) < 2:
        return
    for one in case.aligned[:_PASSAGES]:
        passage = case.evidence.passages[one.number]
        quote = case.evidence.quote_passage(one.number)
        theirs = _slots(quote.text, case.evidence.facts_of(one.number), passage.span[0])
        pair = _swapped(ours, theirs)
        if pair is not None:
            first, second = pair
            yield Finding(
                code="values-swapped",
                reason=f"the evidence has {first.text!r} and {second.text!r} the other way round",
                span=(first.span[0], second.span[1]),
                text=case.text[
                    first.span[0] - case.claim.span[0] : second.span[1] - case.claim.span[0]
                ],
                label="contradicted",
                certainty=_SWAPPED,
                evidence=(quote,),
            )
            return


def _slots(text: str, facts: Sequence[Fact], start: int) -> list[_Slot]:
    """The values of a text with the words around them.

    Args:
        text: a claim or a passage.
        facts: its facts.
        start: where the text begins in what the spans of the facts are of.
    """
    values = [fact for fact in facts if fact.kind in VALUE_KINDS][:_MOST]
    if len(values) < 2:
        return []
    words = words_of(text[:_LONGEST])
    said = list(zip(words.spans, terms_of(words), strict=True))

    def between(first: int, last: int) -> list[str]:
        return [term for (left, right), term in said if term and left >= first and right <= last]

    edges = [0, *(edge - start for fact in values for edge in fact.span), len(text)]
    return [
        _Slot(
            fact,
            frozenset(between(edges[2 * number], edges[2 * number + 1])[-_AROUND:]),
            frozenset(between(edges[2 * number + 2], edges[2 * number + 3])[:_AROUND]),
        )
        for number, fact in enumerate(values)
    ]


def _swapped(ours: Sequence[_Slot], theirs: Sequence[_Slot]) -> tuple[Fact, Fact] | None:
    """Two values of a claim that have each other's words in a passage, and none of their own."""
    for number, one in enumerate(ours):
        for other in ours[number + 1 :]:
            if is_same(one.fact, other.fact) or not are_rivals(one.fact, other.fact):
                continue
            ones = [slot for slot in theirs if is_same(one.fact, slot.fact)]
            others = [slot for slot in theirs if is_same(other.fact, slot.fact)]
            if len(ones) == len(others) == 1 and (
                (
                    _is_swap(one.before, other.before, ones[0].before, others[0].before)
                    and not (one.before & ones[0].after and other.before & others[0].after)
                )
                or (
                    _is_swap(one.after, other.after, ones[0].after, others[0].after)
                    and not (one.after & ones[0].before and other.after & others[0].before)
                )
            ):
                return one.fact, other.fact
    return None


def _is_swap(
    one: frozenset[str], other: frozenset[str], ones: frozenset[str], others: frozenset[str]
) -> bool:
    """Whether each value has words that only the other one has in the passage, and none for it.

    Words that both have there say nothing.
    """
    only_ones, only_others = ones - others, others - ones
    return (
        not (one & only_ones or other & only_others)
        and bool((one - other) & only_others)
        and bool((other - one) & only_ones)
    )
