"""Values of a claim against the evidence: numbers, dates, amounts, periods, references, codes."""

from __future__ import annotations

from collections.abc import Iterator

from ctxguard.text.facts import Fact
from ctxguard.types import Finding, Label, Quote
from ctxguard.verification._align import Case
from ctxguard.verification._values import (
    VALUE_KINDS,
    Derivation,
    are_rivals,
    derive,
    is_same,
    measured,
)

__all__ = ["check_values"]

_SURE = 0.97
"""That a value is wrong which the evidence does not have, where it has another one."""
_ABSENT = 0.9
"""That a value is wrong which the evidence does not have, nor another one like it."""
_ELSEWHERE = 0.35
"""That a value is wrong which the evidence has, but where it speaks of something else."""
_ANNOUNCING = frozenset(
    "total totals totalling totaling combined together sum sums overall altogether difference "
    "more less fewer increase increased increases rise rose grew growth decrease decreased "
    "decreases fall fell drop dropped decline declined up down about around approximately "
    "roughly nearly almost over under average percent half twice double".split()
)
"""Words that say that a value was computed or rounded."""


def check_values(case: Case) -> Iterator[Finding]:
    """What is wrong with the values of a claim, and which of them are derived."""
    values = [fact for fact in case.facts if fact.kind in VALUE_KINDS]
    if not values:
        return
    announced = not _ANNOUNCING.isdisjoint(case.words.keys)
    known = [(chunk, fact) for chunk, fact in case.near if fact.kind in VALUE_KINDS]
    for value in values:
        if not _is_stated(value, [fact for _, fact in known]):
            yield from _judge(case, value, known, announced=announced)


def _is_stated(value: Fact, known: list[Fact]) -> bool:
    """Whether a value is among others, a bare number only where nothing else is measured by it."""
    same = [fact for fact in known if is_same(value, fact)]
    if any(fact.kind == value.kind for fact in same):
        return True
    if not same:
        return False
    if value.kind not in ("duration", "quantity", "amount", "percentage"):
        return True
    numbers = {one.number for one in measured(value)}
    return not any(
        fact.kind == value.kind and not numbers.isdisjoint(one.number for one in measured(fact))
        for fact in known
    )


def _judge(
    case: Case, value: Fact, known: list[tuple[int, Fact]], *, announced: bool
) -> Iterator[Finding]:
    """A value that no aligned passage states."""
    facts = [fact for _, fact in known]
    if found := derive(value, facts, announced=announced):
        yield _derived(case, value, found, known)
        return
    rivals = [(chunk, fact) for chunk, fact in known if are_rivals(value, fact)]
    elsewhere = next(
        ((chunk, fact) for chunk, fact in case.evidence.figures if is_same(value, fact)), None
    ) or _written(case, value)
    if elsewhere:
        if rivals:
            yield _differs(case, value, rivals, _ELSEWHERE)
        return
    if rivals:
        yield _differs(case, value, rivals, _SURE)
    else:
        yield _finding(
            case, value, f"{value.kind}-not-found", "not_found", _ABSENT,
            f"the evidence has no {_name(value)} {value.text!r}",
        )  # fmt: skip


def _written(case: Case, value: Fact) -> tuple[int, Fact] | None:
    """A code, letter by letter, anywhere in the evidence."""
    quote = case.evidence.find([word.casefold() for word in value.text.split()])
    if quote is None:
        return None
    chunk = next(i for i, one in enumerate(case.evidence.chunks) if one.id == quote.chunk_id)
    return chunk, Fact(value.kind, value.value, quote.text, quote.span)


def _differs(case: Case, value: Fact, rivals: list[tuple[int, Fact]], certainty: float) -> Finding:
    quotes = tuple(case.evidence.quote(chunk, fact.span) for chunk, fact in rivals[:3])
    said = " and ".join(dict.fromkeys(repr(quote.text) for quote in quotes))
    return _finding(
        case, value, f"{value.kind}-differs", "contradicted", certainty,
        f"the claim says {value.text!r} where the evidence says {said}", quotes,
    )  # fmt: skip


def _derived(case: Case, value: Fact, found: Derivation, known: list[tuple[int, Fact]]) -> Finding:
    quotes = tuple(
        case.evidence.quote(chunk, fact.span) for chunk, fact in known if fact in found.facts
    )
    return _finding(
        case, value, "derived", "supported", 1.0,
        f"{value.text!r} follows from the evidence: {found.how}", quotes,
    )  # fmt: skip


def _finding(
    case: Case,
    value: Fact,
    code: str,
    label: Label,
    certainty: float,
    reason: str,
    quotes: tuple[Quote, ...] = (),
) -> Finding:
    del case
    return Finding(
        code=code,
        reason=reason,
        span=value.span,
        text=value.text,
        label=label,
        certainty=certainty,
        evidence=quotes,
    )


def _name(value: Fact) -> str:
    return {"number": "number", "quantity": "quantity"}.get(value.kind, value.kind)
