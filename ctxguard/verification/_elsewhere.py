"""Whether any chunk has a value: figures are read only where they may be the one looked for.

Reading all figures of 10,000 tokens takes twice as long as counting the tokens; the words that may
begin one value are few, and told by their digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.facts import Fact, FactKind, begins_figure, begins_number, figures_at
from ctxguard.types import Span
from ctxguard.verification._index import Index
from ctxguard.verification._values import BARE_KINDS, is_same, measured

__all__ = ["Values"]

_FEW = 3
"""Values that are looked for one by one."""
_CALENDAR: frozenset[FactKind] = frozenset({"date", "year"})
_MEASURED: frozenset[FactKind] = frozenset(
    {"number", "amount", "percentage", "duration", "ordinal", "year"}
)
_ALL: frozenset[FactKind] = frozenset({"quantity", "time"})
"""Kinds that all are read for, because their digits may be others: inches in metres, 2 p.m."""
_UNITS = {
    "day": (7, 14),
    "month": (12,),
    "s": (60, 3600),
}
"""How many of it one of the units is in which a duration may be written, 1 and powers of ten left
out: those leave the digits as they are."""
_DATE_WORDS = 6
"""Words in which a date ends: "8th day of the month of May"."""
_DIGITS = re.compile(r"\d+")
_SIGN = re.compile(r"[^\w\s.,;:()'\"-](?=[\s-]{0,2}\Z)")
_SIGNED = 3
"""Characters before a number in which its currency stands."""


class Values:
    """The values of texts; the first few that are asked for are looked for, then all are read."""

    def __init__(self, index: Index) -> None:
        """Hold the texts; nothing is read yet."""
        self._index = index
        self._asked = 0

    def has(self, claimed: Fact) -> bool:
        """Whether a figure of any text says the claimed one."""
        self._asked += 1
        is_one_of_few = self._asked <= _FEW and claimed.kind not in _ALL
        figures = _figures(self._index, claimed) if is_one_of_few else self._near(claimed)
        return any(
            is_same(claimed, fact) and (fact.kind != "number" or claimed.kind in BARE_KINDS)
            for fact in figures
        )

    def _near(self, claimed: Fact) -> Iterable[Fact]:
        """Of all figures those with the claimed number; without one, dates and times."""
        dates, numbers = self._all
        if (same := dates.get((claimed.kind, claimed.value))) is not None:
            return (same,)
        near = [fact for one in measured(claimed) for fact in numbers.get(one.number, ())]
        return near or dates.values()

    @cached_property
    def _all(self) -> tuple[dict[tuple[FactKind, str], Fact], dict[Fraction, list[Fact]]]:
        """Distinct dates and times, and the measured figures by their number."""
        marked = self._index.marked(_flags(self._index, begins_figure))
        distinct: dict[tuple[FactKind, str], Fact] = {
            (fact.kind, fact.value): fact for fact in _read(self._index, marked)
        }
        dates: dict[tuple[FactKind, str], Fact] = {}
        numbers: dict[Fraction, list[Fact]] = {}
        for key, fact in distinct.items():
            found = tuple(measured(fact))
            for one in found:
                numbers.setdefault(one.number, []).append(fact)
            if fact.kind == "year" or not found:
                dates[key] = fact
        return dates, numbers


def _figures(index: Index, claimed: Fact) -> Iterator[Fact]:
    """The figures that may say the claimed one, where it is none of `_ALL`."""
    if claimed.kind in _MEASURED:
        yield from _read(index, index.marked(_flags(index, _is_number(claimed))))
    if claimed.kind in _CALENDAR:
        ends = index.marked(_flags(index, _is_date(claimed)))
        near = np.zeros_like(ends)
        for back in range(min(_DATE_WORDS, ends.size)):
            near[: ends.size - back] |= ends[back:]
        yield from _read(index, near & index.marked(_flags(index, begins_figure)))


def _flags(index: Index, wanted: Callable[[str], bool]) -> list[bool]:
    """For each distinct word, whether it is wanted."""
    return [bool(key) and wanted(key) for key in index.keys]


def _is_number(claimed: Fact) -> Callable[[str], bool]:
    """Which words may begin the number: its first digits, or words for it."""
    wanted = {
        _significant(str(number.numerator if number.denominator == 1 else float(number)))
        for one in measured(claimed)
        for factor in (1, *_UNITS.get(one.unit, ()))
        for number in (abs(one.number) / Fraction(factor),)
    }
    wanted |= {_significant(part) for part in _DIGITS.findall(claimed.text)}

    is_broken = any(one.number.denominator > 1 for one in measured(claimed))

    def is_wanted(key: str) -> bool:
        if not key[0].isdigit():
            return begins_number(key)
        digits = _significant(_DIGITS.findall(key)[0])
        if is_broken:  # two and a half is the word "212"
            digits = digits[:1]
        return any(number.startswith(digits) for number in wanted)

    return is_wanted


def _significant(number: str) -> str:
    """The digits without the zeros around them, which scale and rounding move."""
    return number.replace(".", "").strip("0")


def _is_date(claimed: Fact) -> Callable[[str], bool]:
    """Which words may end the date: its year, or without one the month and the day."""
    parts = {int(part) for part in _DIGITS.findall(claimed.value)}
    years = {part for part in parts if part > 31} or parts
    short = {year % 100 for year in years}
    has_year = years != parts or len(parts) == 1

    def is_wanted(key: str) -> bool:
        digits = _DIGITS.match(key)
        if digits is None:
            return not has_year and begins_figure(key)
        return int(digits.group()[:8]) in years | short or len(digits.group()) > 4

    return is_wanted


def _read(index: Index, marked: NDArray[np.bool_]) -> Iterator[Fact]:
    for number, text in enumerate(index.texts):
        mine = marked[index.edges[number] : index.edges[number + 1]]
        if not mine.any():
            continue
        spans = sorted(_signed(text, start, end) for start, end in index.spans(number, mine))
        for one in figures_at(text, spans):
            yield Fact(one.kind, one.value, text[one.start : one.end], (one.start, one.end))


def _signed(text: str, start: int, end: int) -> Span:
    """The sign of a currency before a number, or the number itself."""
    first = max(0, start - _SIGNED)
    sign = _SIGN.search(text[first:start]) if text[start].isdigit() else None
    if sign is None or not begins_figure(sign.group()):
        return start, end
    return first + sign.start(), first + sign.end()
