"""What a number measures: money, a share, a length of time, a quantity, or nothing."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ctxguard.text.facts.model import FactKind
from ctxguard.text.facts.money import read_currency_after, read_scale
from ctxguard.text.facts.numbers import Numeral, format_number
from ctxguard.text.facts.units import read_duration_unit, read_unit

__all__ = ["Measure", "measure"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with what it measures."""

    kind: FactKind
    value: str
    end: int


_PERCENT = re.compile(
    r"\*{0,3}[\s-]{0,2}\*{0,3}(?:(?P<percent>[%％٪]|per\s?cent(?!\w)|percent(?!\w)|pct(?!\w)\.?|v\.\s?H\.|Prozent(?!\w)"
    r"|pour\s?cent(?!\w)|por\s?ciento(?!\w)|per\s?cento(?!\w))"
    r"|(?P<mille>‰)"
    r"|(?P<basis>basis\s+points?(?!\w)|bps?(?!\w))"
    r"|(?P<points>percentage\s+points?(?!\w)|pp(?!\w)|ppts?(?!\w)))",
    re.IGNORECASE,
)


_RATE = re.compile(
    r"\*{0,3}(?:(?:\s+per\s+|\s?/\s?(?=[a-z]))(?!cent)(?P<per>[a-z]+)(?!\w)"
    r"|\s+(?:a|an|each|every)\s+(?P<a>second|minute|hour|day|week|month|quarter|year)(?!\w)"
    r"|\s+p\.\s?a\.)",
    re.IGNORECASE,
)
_PERIODS = {
    "annum": "year", "yr": "year", "y": "year", "mo": "month", "mth": "month", "wk": "week",
    "d": "day", "hr": "hour", "h": "hour", "min": "minute", "sec": "second", "s": "second",
}  # fmt: skip


def measure(text: str, number: Numeral, *, sign: str = "", currency: str = "") -> Measure:
    """What the number measures, by what follows it.

    Args:
        text: the text around the number.
        number: the number.
        sign: written before its value: "-", "±", or "?-" when it may be a list marker.
        currency: the currency that stands before it.
    """
    found = _measure(text, number, sign, currency)
    rate = _RATE.match(text, found.end)
    if rate is None:
        return found
    per = (rate["per"] or rate["a"] or "year").lower()
    return Measure(found.kind, f"{found.value}/{_PERIODS.get(per, per)}", rate.end())


def _measure(text: str, number: Numeral, sign: str, currency: str) -> Measure:
    if currency:
        return Measure("amount", _value(number, sign, unit=currency, before=True), number.end)
    if percent := _PERCENT.match(text, number.end):
        return _share(number, sign, percent)
    scale, end = read_scale(text, number.end)
    if money := read_currency_after(text, end):
        factor = Fraction(scale)
        return Measure(
            "amount", _value(number, sign, unit=money[0], factor=factor, before=True), money[1]
        )
    if time := read_duration_unit(text, number.end):
        return Measure(
            "duration", _value(number, sign, unit=time.symbol, factor=time.factor), time.end
        )
    if unit := read_unit(text, number.end):
        return Measure(
            "quantity", _value(number, sign, unit=unit.symbol, factor=unit.factor), unit.end
        )
    return Measure("number", _signed(sign, number.bare), number.end)


def _share(number: Numeral, sign: str, percent: re.Match[str]) -> Measure:
    if percent["points"]:
        return Measure("percentage", _value(number, sign, unit="points"), percent.end())
    factor = (
        Fraction(1, 100)
        if percent["basis"]
        else Fraction(1, 10)
        if percent["mille"]
        else Fraction(1)
    )
    return Measure("percentage", _value(number, sign, unit="%", factor=factor), percent.end())


def _value(
    number: Numeral,
    sign: str,
    *,
    unit: str,
    factor: Fraction | None = None,
    before: bool = False,
) -> str:
    if number.value is None:
        # Ambiguous: the text as written, and the unit's own factor, or 1.500 km would be 1.500 m.
        written = _signed(sign, number.bare if number.bare.startswith("?") else f"?{number.bare}")
        scale = f" × {factor}" if factor not in (None, 1) else ""
        return f"{written}{scale} {unit}"
    amount = _signed(sign, format_number(number.value * (1 if factor is None else factor)))
    return f"{unit} {amount}" if before else f"{amount} {unit}"


def _signed(sign: str, value: str) -> str:
    """The sign before the value, a question mark before both."""
    if "?" in sign or value.startswith("?"):
        return "?" + sign.replace("?", "") + value.removeprefix("?")
    return sign + value
