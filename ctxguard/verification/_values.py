"""Values of facts: which are the same, which follow from others, which stand against each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, permutations
from typing import NamedTuple

from ctxguard.text.facts import Fact, FactKind

__all__ = [
    "BARE_KINDS",
    "VALUE_KINDS",
    "Derivation",
    "Measured",
    "are_rivals",
    "composed",
    "derive",
    "is_same",
    "measured",
]

_MEASURED: frozenset[FactKind] = frozenset(
    {"number", "amount", "percentage", "quantity", "duration", "ordinal"}
)
_CALENDAR: frozenset[FactKind] = frozenset({"date", "year"})
_CODES: frozenset[FactKind] = frozenset({"version", "identifier", "reference"})
_TIMES_OF_DAY: frozenset[FactKind] = frozenset({"time"})
VALUE_KINDS = _MEASURED | _CALENDAR | _CODES | _TIMES_OF_DAY
"""Kinds of facts that are a value: the rest says how something is stated."""
BARE_KINDS: frozenset[FactKind] = frozenset({"number", "ordinal", "year", "identifier", "version"})
"""Kinds that a bare number may state; "30 days" is not said by a 30."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and what it measures."""

    number: Fraction
    unit: str
    """'USD', '%', 'day', 'm', 'USD/year'; blank for a bare number."""


class Derivation(NamedTuple):
    """How a value follows from values of the evidence."""

    how: str
    """For people: '1,200 + 300'."""
    facts: tuple[Fact, ...]


# -- the same -------------------------------------------------------------------------------------


def is_same(claimed: Fact, known: Fact) -> bool:
    """Whether the evidence's fact says the claimed one: as much, or more exactly."""
    if claimed.value == known.value and (
        claimed.kind == known.kind or {claimed.kind, known.kind} <= _CALENDAR
    ):
        return True
    if claimed.kind in _CALENDAR and known.kind in _CALENDAR:
        return any(
            _is_date_within(wanted, said) for wanted in _dates(claimed) for said in _dates(known)
        )
    if claimed.kind == "time" and known.kind == "time":
        return not _times(claimed).isdisjoint(_times(known))
    if claimed.kind in _CODES or known.kind in _CODES:
        return _code(claimed) == _code(known) != ""
    ours, theirs = tuple(measured(claimed)), tuple(measured(known))
    return any(_is_same_measure(one, other) for one in ours for other in theirs)


def _is_same_measure(claimed: Measured, known: Measured) -> bool:
    if claimed.number != known.number:
        return False
    return claimed.unit in ("", known.unit, known.unit.partition("/")[0]) or known.unit == ""


def _is_date_within(wanted: str, said: str) -> bool:
    """Whether an ISO date is the other, or a part of it: "2014-05" of "2014-05-08"."""
    if wanted == said or said.startswith(f"{wanted}-"):
        return True
    if wanted.startswith("--"):
        return said.endswith(wanted[1:]) or said[4:].startswith(wanted[1:])
    return len(wanted) == 4 and wanted in said.split("/")


_TWO_DIGITS = 100
_SPLIT = re.compile(r"\D+")


def _dates(fact: Fact) -> tuple[str, ...]:
    """The ISO dates that a date may be: both readings of "08.05.2014"."""
    if not fact.value.startswith("?"):
        return (fact.value.partition("T")[0],)
    parts = _SPLIT.split(fact.value[1:])
    if len(parts) != 3 or not all(parts):
        return (fact.value,)
    first, second, year = map(int, parts)
    if year < _TWO_DIGITS:
        year += 2000 if year < 50 else 1900
    return tuple(
        f"{year}-{month:02d}-{day:02d}"
        for month, day in {(first, second), (second, first)}
        if 1 <= month <= 12
    )


def _times(fact: Fact) -> set[str]:
    """The times of day that a writing may mean: "2:30" is 02:30 or 14:30."""
    if not fact.value.startswith("?"):
        return {fact.value}
    hour, _, minute = fact.value[1:].replace(".", ":").partition(":")
    if not (hour.isdecimal() and minute):
        return {fact.value}
    return {f"{int(hour):02d}:{minute}", f"{(int(hour) + 12) % 24:02d}:{minute}"}


def _code(fact: Fact) -> str:
    """A code without what writings of it differ in; blank for what is none."""
    if fact.kind not in _CODES and not fact.text:
        return ""
    return "".join(filter(str.isalnum, fact.value if fact.kind in _CODES else fact.text)).casefold()


_NUMBER = re.compile(r"-?\d+(?:\.\d+|/\d+)?")
_LONGEST = 1_000
"""Characters of a number; longer ones are compared as they are written. Python reads 4,300."""
_AMBIGUOUS = re.compile(r"\d{1,3}([.,])\d{3}")


_REGULAR = {
    word: Measured(Fraction(number), unit)
    for words, number, unit in (
        ("annual annually yearly", 12, "month"),
        ("quarterly", 3, "month"),
        ("monthly", 1, "month"),
        ("weekly", 7, "day"),
        ("daily", 1, "day"),
        ("hourly", 3600, "s"),
    )
    for word in words.split()
}
"""A period in one word: "annual terms" are terms of a year."""


def measured(fact: Fact) -> Iterator[Measured]:
    """The numbers that a fact may be, with their unit; none for what is no number."""
    if fact.kind == "year" and fact.value.isdecimal():
        yield Measured(Fraction(fact.value), "")
    if fact.kind == "quantifier" and fact.value in _REGULAR:
        yield _REGULAR[fact.value]
    if fact.kind not in _MEASURED or len(fact.value) > _LONGEST:
        return
    value = fact.value.removeprefix("?")
    if match := _NUMBER.search(value):
        unit = f"{value[: match.start()].strip()}{value[match.end() :].strip()}"
        ambiguous = _AMBIGUOUS.fullmatch(value.partition(" ")[0])
        if ambiguous:
            written = ambiguous.group()
            unit, factor = _factored(value[len(written) :].strip())
            for mark in ("", "."):
                yield Measured(Fraction(written.replace(ambiguous[1], mark)) * factor, unit)
        elif not match.group().endswith("/0"):
            yield Measured(Fraction(match.group()), unit)


def composed(facts: Sequence[Fact]) -> list[Fact]:
    """The facts, with days and years that stand beside each other as one date more."""
    found = list(facts)
    for one, other in pairwise(facts):
        is_beside = 0 <= other.span[0] - one.span[1] <= _BESIDE
        if is_beside and one.value.startswith("--") and other.kind == "year":
            span = one.span[0], other.span[1]
            value = f"{other.value}{one.value[1:]}"
            found.append(Fact("date", value, f"{one.text} {other.text}", span))
    return found


_BESIDE = 12
"""Characters between a day and its year, where a line or markup came between."""


def _factored(unit: str) -> tuple[str, Fraction]:
    """A unit without the factor that an ambiguous number is written with: "x 1000 g"."""
    found = _FACTOR.match(unit)
    return (unit[found.end() :], Fraction(found[1])) if found else (unit, Fraction(1))


_FACTOR = re.compile("\u00d7 (\\d+(?:/\\d+)?) ")

# -- against each other ---------------------------------------------------------------------------


def are_rivals(claimed: Fact, known: Fact) -> bool:
    """Whether one stands where the other does: values of one kind, of one unit or of one scale."""
    if claimed.kind in _CALENDAR and known.kind in _CALENDAR:
        return True
    if claimed.kind != known.kind:
        return False
    if claimed.kind == "reference":
        return claimed.value.partition(" ")[0] == known.value.partition(" ")[0]
    if claimed.kind == "quantity":
        ours = {one.unit for one in measured(claimed)}
        return not ours.isdisjoint({one.unit for one in measured(known)})
    return True


# -- what follows ---------------------------------------------------------------------------------

_MOST = 12
"""Values of the evidence that are put together."""
_LEAST_DIGITS = 3
"""Significant digits of a sum that nothing announces: smaller numbers are sums by chance."""
_PERCENT = "%"


def derive(claimed: Fact, known: Sequence[Fact], *, announced: bool) -> Derivation | None:
    """How a value follows from others: converted, rounded, a sum, a difference, a share.

    Args:
        claimed: the value.
        known: values of the passages that the claim is aligned to.
        announced: the claim says that it adds up, compares or rounds.
    """
    if claimed.kind in _CALENDAR:
        return None
    for wanted in measured(claimed):
        values = [
            (one, fact) for fact in known if fact.kind not in _CALENDAR for one in measured(fact)
        ]
        if not announced:  # two limits of a million each are no two million
            values = list({one: (one, fact) for one, fact in reversed(values)}.values())[::-1]
        values = values[:_MOST]
        for one, fact in values:
            if how := _converted(wanted, one, announced=announced):
                return Derivation(how, (fact,))
        is_long = _digits(wanted.number) >= _LEAST_DIGITS
        if (announced or is_long) and (found := _combined(wanted, values)):
            return found
    return None


_TIMES = {("s", "day"): 86_400, ("quarter", "month"): Fraction(1, 3)}
"""Unit, unit → how many of the first one of the second is."""


def _converted(wanted: Measured, known: Measured, *, announced: bool) -> str:
    """How one value is the other in another unit or rounded; blank if it is not."""
    for (small, large), factor in _TIMES.items():
        pair = (wanted.unit, known.unit)
        ratio = {(small, large): Fraction(factor), (large, small): 1 / Fraction(factor)}.get(pair)
        if ratio and wanted.number == known.number * ratio:
            return f"{_show(known)} is {_show(wanted)}"
    if {wanted.unit, known.unit} == {_PERCENT, ""}:
        share = known.number * 100 if known.unit == "" else known.number / 100
        if _rounds(share, wanted.number):
            return f"{_show(known)} is {_show(wanted)}"
    if wanted.unit == known.unit and wanted.number != known.number:
        near = announced and _is_near(known.number, wanted.number)
        if near or (
            (wanted.number.denominator > 1 or wanted.number % 10 == 0)
            and _rounds(known.number, wanted.number)
        ):
            return f"{_show(known)} is about {_show(wanted)}"
    return ""


def _combined(wanted: Measured, values: Sequence[tuple[Measured, Fact]]) -> Derivation | None:
    same = [(one, fact) for one, fact in values if one.unit == wanted.unit]
    for size in (2, 3):
        for group in combinations(same, size):
            if sum(one.number for one, _ in group) == wanted.number:
                shown = " + ".join(_show(one) for one, _ in group)
                return Derivation(f"{shown} is {_show(wanted)}", tuple(fact for _, fact in group))
    for (one, first), (other, second) in permutations(same, 2):
        if one.number - other.number == wanted.number:
            shown = f"{_show(one)} - {_show(other)} is {_show(wanted)}"
            return Derivation(shown, (first, second))
    if wanted.unit != _PERCENT:
        return None
    for (one, first), (other, second) in permutations(values, 2):
        if one.unit == other.unit and other.number and one.unit != _PERCENT:
            share = one.number / other.number * 100
            if _rounds(share, wanted.number) or _rounds(abs(share - 100), wanted.number):
                shown = f"{_show(one)} of {_show(other)} gives {_show(wanted)}"
                return Derivation(shown, (first, second))
    return None


def _rounds(exact: Fraction, shown: Fraction) -> bool:
    """Whether a number is another one, rounded to the digits that it is written with."""
    if exact == shown:
        return True
    if not shown:
        return False
    step = Fraction(1)
    while (shown / step).denominator != 1 and step > Fraction(1, 10**6):
        step /= 10
    while shown / (step * 10) == shown // (step * 10) and step * 100 <= abs(shown):
        step *= 10
    return abs(exact - shown) <= step / 2


def _is_near(exact: Fraction, shown: Fraction) -> bool:
    """Whether it is within a twentieth."""
    return abs(exact - shown) * 20 <= abs(exact)


def _digits(number: Fraction) -> int:
    written = str(abs(number.numerator)) if number.denominator == 1 else f"{float(abs(number)):g}"
    return len(written.replace(".", "").strip("0"))


def _show(value: Measured) -> str:
    number = value.number
    whole = number.denominator == 1
    shown = f"{number.numerator:,}" if whole else f"{float(number):,.6g}"
    return f"{shown} {value.unit}".strip()
