"""What digits and number words can be: a date, a code, an ordinal, or a number that measures."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from functools import cached_property

from ctxguard.text.facts.dates import read_date, read_time, read_year
from ctxguard.text.facts.identifiers import read_digit_code, read_glued
from ctxguard.text.facts.measures import measure
from ctxguard.text.facts.model import Found
from ctxguard.text.facts.money import read_currency_before
from ctxguard.text.facts.numbers import read_number, read_ordinal

__all__ = ["CJK", "FigureReader"]

CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Scripts that put no spaces between words, or between a number and what it counts."""

_DECIMAL_COMMA = re.compile(r"\d,\d{1,2}(?![\d,])|\d\.\d{3},\d")
_COUNTED = re.compile(rf"[{CJK}]{{1,3}}")
_MINUSES = frozenset("-−–±")


class FigureReader:
    """Reads the figures of one text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def at(self, start: int) -> Found:
        """What the digit at `start` begins. Always something, so that no digit is left out."""
        text = self._text
        sign, sign_start = self._sign(start)
        if not sign:
            year = read_year(text, start)
            if year and len(year.value) > 4:  # a range or a decade: nothing is measured by it
                return year
            for reader in (read_date, read_time, read_digit_code, read_ordinal):
                if found := reader(text, start):
                    return found
        return self._measured(sign_start, start, sign=sign)

    def spelled(self, start: int) -> Found:
        """The number in words that begins at `start`, with what it measures."""
        return self._measured(start, start)

    def money(self, start: int) -> Found | None:
        """The amount whose currency stands at `start`, None when no number follows."""
        text = self._text
        currency = read_currency_before(text, start)
        if currency is None:
            return None
        code, number_start = currency
        sign, fact_start = self._sign(start)
        if not _MINUSES.isdisjoint(text[start:number_start]):
            sign = "-"
        return self._measured(fact_start, number_start, sign=sign, currency=code)

    @cached_property
    def _comma_is_decimal(self) -> bool:
        return _DECIMAL_COMMA.search(self._text) is not None

    def _measured(
        self, fact_start: int, start: int, *, sign: str = "", currency: str = ""
    ) -> Found:
        """A number and what it measures, from `fact_start`; the number begins at `start`."""
        text = self._text
        number = read_number(
            text, start, comma_is_decimal=self._comma_is_decimal, money=bool(currency)
        )
        if number is None:
            return read_glued(text, start)
        if not sign and self._is_bracketed(start, number.end, number.bare):
            sign = "?()"
        found = measure(text, number, sign=sign, currency=currency)
        if found.kind == "number":
            if counted := _COUNTED.match(text, found.end):  # "30天", "500万美元": as written
                value = found.value + counted.group()
                return Found("quantity", value, fact_start, counted.end())
            after = text[found.end : found.end + 1]
            if (after.isalnum() or after == "_") and not number.spelled:
                return read_glued(text, start)
            if not sign and (year := read_year(text, start)):
                return year
        return Found(found.kind, found.value, fact_start, found.end)

    def _sign(self, start: int) -> tuple[str, int]:
        """The sign before what begins at `start`, and where the sign begins.

        A dash right before a digit is a minus, unless something that it could join or take from
        stands before it. A dash and a space are a range after a digit, elsewhere they may be a
        minus or a list marker: "?-".
        """
        text = self._text
        index = start - 1
        while index >= 0 and start - index < 3 and text[index] in " \u00a0":
            index -= 1
        if index < 0 or text[index] not in _MINUSES:
            return "", start
        if text[index] == "±":
            return "±", index
        before = text[index - 1] if index else "\n"
        if index == start - 1:
            is_minus = before.isspace() or before in "([|:=<>~≈≤≥,;/\"'“*$€£"
            return ("-", index) if is_minus else ("", start)
        return (
            ("", start)
            if text[max(0, index - 3) : index].rstrip()[-1:].isdigit()
            else ("?-", start)
        )

    def _is_bracketed(self, start: int, end: int, bare: str) -> bool:
        """Whether accountants would read the number as negative: "(5,000)"."""
        text = self._text
        is_figure = "." in bare or len(bare) > 4 or "," in text[start:end]
        return is_figure and start > 0 and text[start - 1] == "(" and text.startswith(")", end)
