"""Values of a claim against the evidence: numbers, dates, amounts, periods, references, codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ctxguard.text.facts import Fact, FactKind
from ctxguard.types import Finding, Label
from ctxguard.verification._align import Case
from ctxguard.verification._values import (
    BARE_KINDS,
    VALUE_KINDS,
    are_rivals,
    composed,
    derive,
    is_same,
)

__all__ = ["check_values"]

_SURE = 0.97
"""That a value is wrong which the evidence does not have, where it has another one."""
_ABSENT = 0.9
"""That a value is wrong which the evidence does not have, nor another one like it."""
_COUNTED = 0.4
"""The same of a small number in words: of "two friends" a text may give the names alone."""
_COUNTS = frozenset(["one", "two", "three", "four"])
_ELSEWHERE = 0.35
"""That a value is wrong which the evidence has, but where it speaks of something else."""
_CODES: frozenset[FactKind] = frozenset({"identifier", "version", "reference", "ordinal", "time"})
"""Kinds that are looked for as they are written."""
_HOUR = re.compile(r"(\d{1,2})(?::00)?\s?[ap]\.?m", re.IGNORECASE)
"""A full hour: "at 7" may be seven in the evening."""
_QUARTER = re.compile(r"Q([1-4])|([1-4])Q")
_ORDINALS = ("first", "second", "third", "fourth")
_QUOTED = 3
"""Values that are shown beside the one that is wrong."""
_KNOWN = VALUE_KINDS | {"quantifier"}
_ANNOUNCING = frozenset(
    [
        "total",
        "totals",
        "totalling",
        "totaling",
        "combined",
        "together",
        "overall",
        "altogether",
        "difference",
        "increase",
        "increased",
        "increases",
        "rise",
        "rose",
        "grew",
        "growth",
        "decrease",
        "decreased",
        "decreases",
        "fall",
        "fell",
        "drop",
        "dropped",
        "decline",
        "declined",
        "about",
        "around",
        "approximately",
        "roughly",
        "nearly",
        "almost",
        "average",
        "half",
        "twice",
        "double",
        "ratio",
        "share",
        "remaining",
    ]
)
"""Words that say that a value was computed or rounded."""


def check_values(case: Case) -> Iterator[Finding]:
    """What is wrong with the values of a claim, and which of them are derived."""
    values = [fact for fact in case.facts if fact.kind in VALUE_KINDS and _says_much(case, fact)]
    if not values:
        return
    announced = not _ANNOUNCING.isdisjoint(case.words.keys)
    known = [(chunk, fact) for chunk, fact in case.near if fact.kind in _KNOWN]
    facts = composed([fact for _, fact in known])
    exact = {(fact.kind, fact.value) for fact in facts}
    for value in values:
        if (value.kind, value.value) not in exact and not _is_stated(value, facts):
            yield from _judge(case, value, known, announced=announced)


def _says_much(case: Case, fact: Fact) -> bool:
    """Whether it is more than the letter of a list's item, a blank to fill in, or another word.

    "Due" and "once" are numbers in Italian and Spanish.
    """
    if fact.kind == "number" and fact.value.isalpha() and case.evidence.language in ("", "en"):
        return False
    return not fact.value.startswith("(") and any(map(str.isalnum, fact.value))


def _is_stated(value: Fact, known: Sequence[Fact]) -> bool:
    """Whether a value is among others; a bare number only where nothing of its kind is.

    "One" is no number there: "one or more parties" is not said of one month.
    """
    is_bare = value.kind in BARE_KINDS
    same = [
        fact
        for fact in known
        if is_same(value, fact) and (is_bare or fact.kind != "number" or fact.text != "one")
    ]
    if not same or any(fact.kind == value.kind for fact in same) or is_bare:
        return bool(same)
    return not any(are_rivals(value, fact) for fact in known) or any(
        fact.kind != "number" for fact in same
    )


def _judge(
    case: Case, value: Fact, known: Sequence[tuple[int, Fact]], *, announced: bool
) -> Iterator[Finding]:
    """A value that no aligned passage states."""
    if found := derive(value, [fact for _, fact in known], announced=announced):
        sources = [(chunk, fact) for chunk, fact in known if fact in found.facts]
        reason = f"{value.text!r} follows from the evidence: {found.how}"
        yield _finding(case, value, "derived", reason, sources, 1.0)
        return
    rivals = [(chunk, fact) for chunk, fact in known if are_rivals(value, fact)][:_QUOTED]
    is_elsewhere = _is_elsewhere(case, value)
    if rivals:
        said = " and ".join(dict.fromkeys(repr(fact.text) for _, fact in rivals))
        reason = f"the claim says {value.text!r} where the evidence says {said}"
        certainty = _ELSEWHERE if is_elsewhere else _SURE
        yield _finding(case, value, f"{value.kind}-differs", reason, rivals, certainty)
    elif not is_elsewhere:
        reason = f"the evidence has no {value.kind} {value.text!r}"
        is_count = value.kind == "number" and value.text.casefold() in _COUNTS
        certainty = _COUNTED if is_count else _ABSENT
        yield _finding(case, value, f"{value.kind}-not-found", reason, (), certainty)


def _is_elsewhere(case: Case, value: Fact) -> bool:
    """Whether any chunk has the value, the code letter by letter, or what both are short for."""
    evidence = case.evidence
    if evidence.has_value(value) or (
        value.kind in _CODES and evidence.find(value.text) is not None
    ):
        return True
    if value.kind == "time" and (hour := _HOUR.match(value.text)):
        return bool(evidence.runs_of(hour[1], most=1))
    quarter = _QUARTER.fullmatch(value.text)
    if value.kind != "identifier" or quarter is None:
        return False
    number = quarter[1] or quarter[2]
    written = (f"Q{number}", f"{number}Q", f"{_ORDINALS[int(number) - 1]} quarter")
    return any(evidence.runs_of(text, most=1) for text in written)


def _finding(
    case: Case,
    value: Fact,
    code: str,
    reason: str,
    sources: Sequence[tuple[int, Fact]],
    certainty: float,
) -> Finding:
    labels: dict[str, Label] = {"derived": "supported", "differs": "contradicted"}
    return Finding(
        code=code,
        reason=reason,
        span=value.span,
        text=value.text,
        label=labels.get(code.rpartition("-")[2], "not_found"),
        certainty=certainty,
        evidence=tuple(case.evidence.quote(chunk, fact.span) for chunk, fact in sources),
    )
