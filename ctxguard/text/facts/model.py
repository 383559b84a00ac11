"""What a fact is, and how the facts of two texts differ."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ctxguard.text.sentences import Span

__all__ = ["Fact", "FactDifference", "FactKind", "Found", "differing_facts"]

FactKind: TypeAlias = Literal[
    "number",
    "amount",
    "percentage",
    "quantity",
    "duration",
    "date",
    "year",
    "time",
    "ordinal",
    "version",
    "identifier",
    "reference",
    "name",
    "negation",
    "modality",
    "bound",
    "quantifier",
    "role",
]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something in a text that may not change unnoticed."""

    kind: FactKind
    value: str
    """The meaning, equal for spellings of the same: '2014-05-08', 'USD 1500000', '30 day'.

    A value that starts with '?' is ambiguous and holds the text itself: equal only to its like."""
    text: str
    """Word for word."""
    span: Span
    """Characters of the text that the fact was found in."""


class Found(NamedTuple):
    """What a reader recognised: the kind and the value of a fact, and where it is."""

    kind: FactKind
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FactDifference:
    """A fact of one text that the other does not have, beside what the other has instead."""

    kind: FactKind
    left: Fact | None
    """None: the left text has nothing of this kind left to set against `right`."""
    right: Fact | None


def differing_facts(left: Sequence[Fact], right: Sequence[Fact]) -> tuple[FactDifference, ...]:
    """What one text says and the other does not, as a multiset difference by kind and value.

    Facts with the same kind and value cancel out in order of appearance. What is left of one side
    is paired with what is left of the other, by kind and order of appearance.

    Returns:
        The left text's differences in its order, then what only the right text has. Empty: both
        state the same facts, in whatever order.
    """
    left_rest = _without(left, right)
    waiting: dict[FactKind, deque[Fact]] = {}
    for fact in _without(right, left):
        waiting.setdefault(fact.kind, deque()).append(fact)
    pairs: list[FactDifference] = []
    for fact in left_rest:
        others = waiting.get(fact.kind)
        pairs.append(FactDifference(fact.kind, fact, others.popleft() if others else None))
    unpaired = sorted(
        (fact for others in waiting.values() for fact in others), key=lambda fact: fact.span
    )
    return (*pairs, *(FactDifference(fact.kind, None, fact) for fact in unpaired))


def _without(facts: Iterable[Fact], others: Iterable[Fact]) -> list[Fact]:
    """The facts that the others do not have, as often as they do not have them."""
    known = Counter((fact.kind, fact.value) for fact in others)
    rest: list[Fact] = []
    for fact in facts:
        key = (fact.kind, fact.value)
        if known[key]:
            known[key] -= 1
        else:
            rest.append(fact)
    return rest
