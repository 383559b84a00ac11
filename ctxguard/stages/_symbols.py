"""Which symbols carry a fact where they stand, and which only dress the text.

A minus before a number is a fact, a bullet is none; `1.5` needs its point, `end.` does not. In
doubt a symbol counts as a fact: a copy that is kept costs tokens, a version that is lost costs the
answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

__all__ = ["DASHES", "INVISIBLE", "SYMBOL", "material_symbol"]

DASHES = "\u2010-\u2015\u2212-"
"""Hyphens, dashes and the minus sign, for a character class."""
INVISIBLE = "\u00ad\u200b-\u200f\u2060\ufeff"
"""Soft hyphen, zero-width characters, marks of direction: for a character class."""

_QUOTES = "'\"\u2019\u201d"
_NEVER = rf"`\u201c\u201e\u00ab\u00bb\u2039\u203a\u2018\u201a\[\]{{}})¿¡…·•◦‣▪¶†‡;:.,{_QUOTES}"
SYMBOL = rf"[^\w\s{_NEVER}{INVISIBLE}] | \.(?=\d) | ,(?=\s?,) | (?<=\d)[{_QUOTES}] | _{{3,}}"
"""What may carry a fact, as a verbose pattern; `material_symbol` decides."""

_MONEY = r"[$¢£¥€₩₪₫₱₹₽₺₴₦]?"
_DASH = rf"""
    (?<![\w)\]]) . (?={_MONEY}\.?\d)      # the sign of a number
  | (?<=[\d%]) . (?=\ ?{_MONEY}\.?\d)     # a range
  | (?<=\w\ ) . (?=\ ?{_MONEY}\.?\d)      # either; a bullet follows a line's end, not a word
"""
_ONLY_WHERE: Mapping[str, re.Pattern[str]] = {
    symbol: re.compile(pattern, re.VERBOSE | re.DOTALL)
    for symbols, pattern in (
        ("\u2010\u2011\u2012\u2013\u2014\u2015-", _DASH),
        ("\u2212", r". (?=\s?\W?\d)"),
        (".", r"(?<![\w.]) . (?=\d)"),
        (",", r". (?=\s?,)"),  # an empty cell
        ("(", rf". (?={_MONEY}\s?\d[\d.,]*\s?%?\))"),  # accounts: a negative amount
        ("#", r". (?=\w) | (?<=\w) ."),
        ("+", r". (?=\S) | (?<=\S) . | (?<=\S\ ) ."),
        (">", r"(?<=\S) . | (?<=\S\ ) . | . (?=[\d=])"),
        ("=", r"(?<!=) ={1,2} (?!=) | (?<=[!=]) . (?!=)"),
        ("!", r". (?=[=\w(]) | (?<=\d) ."),
        ("*", r"(?<=[\d)]) . (?=[\d(]) | (?<=[\w)]\ ) . (?=\ [\w(]) | (?<=[\w)]) .\* (?=\d)"),
        ("●►▶➢➤", r"(?<=\S) . | (?<=\S\ ) ."),
    )
    for symbol in symbols
}
_SAME = {"\uff1f": "?", "\u061f": "?", "\uff05": "%", "\u066a": "%"} | dict.fromkeys(
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"
)
_PUNCTUATION_THAT_CARRIES = frozenset(
    "?\uff1f\u061f%\uff05\u066a\u2030\u2031\u00a7&@/\\\u2032\u2033_"
)
_OPEN_QUOTE = re.compile(r"(?:^|(?<=[\s(\[]))[\"'\u201c\u2018](?=\S)")
_QUOTATION = 300
"""Characters on one line in which a quotation's opening mark is looked for."""


def material_symbol(text: str, place: int, symbol: str) -> str:
    """What the symbol at a place says, blank when it says nothing.

    Args:
        text: the whole text.
        place: where the symbol starts.
        symbol: what `SYMBOL` matched there.
    """
    first = symbol[0]
    if first in _ONLY_WHERE:
        if _ONLY_WHERE[first].match(text, place) is None:
            return ""
    elif first in _QUOTES:
        if _closes_quotation(text, place):
            return ""
        return "\u2032" if first in "'\u2019" else "\u2033"
    elif not _carries(first) or (_is_private(first) and _starts_line(text, place)):
        return ""
    return _SAME.get(first, first)


def _closes_quotation(text: str, place: int) -> bool:
    """Whether the mark after a number ends a quotation (and so is no foot, minute or inch)."""
    window = text[max(text.rfind("\n", 0, place) + 1, place - _QUOTATION) : place]
    opened = [match.end() for match in _OPEN_QUOTE.finditer(window)]
    return bool(opened) and not any(mark in window[opened[-1] :] for mark in _QUOTES)


def _starts_line(text: str, place: int) -> bool:
    return not text[text.rfind("\n", 0, place) + 1 : place].strip()


def _is_private(symbol: str) -> bool:
    """Whether the character is of a private area, where PDFs keep the bullets of symbol fonts."""
    return unicodedata.category(symbol) == "Co"


@lru_cache(maxsize=1024)
def _carries(symbol: str) -> bool:
    """By Unicode category: symbols, marks and what is not assigned do, punctuation does not."""
    if symbol in _PUNCTUATION_THAT_CARRIES:
        return True
    category = unicodedata.category(symbol)
    return category[0] in "SML" or category in {"No", "Nl", "Cs", "Co", "Cn"}
