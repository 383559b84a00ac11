"""Values of a claim against the evidence: numbers, dates, amounts, periods, references, codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxguard.text.facts import Fact, FactKind
from ctxguard.types import Finding, Label, Quote
from ctxguard.verification._align import Case
from ctxguard.verification._values import (
    VALUE_KINDS,
    Derivation,
    are_rivals,
    composed,
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
_BARE: frozenset[FactKind] = frozenset({"number", "ordinal", "year", "identifier", "version"})
"""Kinds that a value of another kind may state: 30 is in "30 days"."""
_KNOWN = VALUE_KINDS | {"quantifier"}
_ANNOUNCING = frozenset(
    "total totals totalling totaling combined together overall altogether difference increase "
    "increased increases rise rose grew growth decrease decreased decreases fall fell drop "
    "dropped decline declined about around approximately roughly nearly almost average half "
    "twice double ratio share remaining".split()
)
"""Words that say that a value was computed or rounded."""


def check_values(case: Case) -> Iterator[Finding]:
    """What is wrong with the values of a claim, and which of them are derived."""
    values = [fact for fact in case.facts if fact.kind in VALUE_KINDS and _says_much(fact)]
    if not values:
        return
    announced = not _ANNOUNCING.isdisjoint(case.words.keys)
    known = [(chunk, fact) for chunk, fact in case.near if fact.kind in _KNOWN]
    for value in values:
        if not _is_stated(value, composed([fact for _, fact in known])):
            yield from _judge(case, value, known, announced=announced)


def _says_much(fact: Fact) -> bool:
    """Whether it is more than the letter of a list's item, or a blank to fill in."""
    return not fact.value.startswith("(") and any(map(str.isalnum, fact.value))


def _is_stated(value: Fact, known: Sequence[Fact]) -> bool:
    """Whether a value is among others; a bare number only where nothing of its kind is."""
    same = [fact for fact in known if is_same(value, fact)]
    if not same or any(fact.kind == value.kind for fact in same) or value.kind in _BARE:
        return bool(same)
    return not any(are_rivals(value, fact) for fact in known) or any(
        fact.kind != "number" for fact in same
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
        (
            (chunk, fact)
            for chunk, fact in case.evidence.figures
            if is_same(value, fact) and (fact.kind != "number" or value.kind in _BARE)
        ),
        None,
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
