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

__all__ = ["DASHES", "INVISIBLE", "NEVER_FIRST", "SYMBOL", "material_symbol"]

DASHES = "\u2010-\u2015\u2212-"
"""Hyphens, dashes and the minus sign, for a character class."""
INVISIBLE = "\u00ad\u200b-\u200f\u2060\ufeff"
"""Soft hyphen, zero-width characters, marks of direction: for a character class."""

_QUOTES = "'\"\u2019\u201d"
_NEVER = rf"`\u201c\u201e\u00ab\u00bb\u2039\u203a\u2018\u201a\[\]{{}})¿¡…·•◦‣▪¶†‡;:.,{_QUOTES}"
SYMBOL = rf"""
    (?<=[^\w\s{_NEVER}{INVISIBLE}])
  | (?<=\.)(?=\d)                   # .5
  | (?<=,)(?=\s?,)                  # an empty cell of a row
  | (?<=\S\t)(?:\ *\t)+            # an empty cell of a table
  | (?<=\d[{_QUOTES}])              # feet, inches, minutes
  | (?<=\d[,;:.])(?=\s+[-+]?\d)    # 5, 6 are not 5 6
  | (?<=_)_{{2,}}                   # a blank to fill in
"""
"""What may carry a fact, behind its first character, as a verbose pattern; `material_symbol`
decides."""
NEVER_FIRST = r"\ \n\r\f\v"
"""What neither a word nor a symbol begins with and every text is full of: for a class."""

_MONEY = r"[$¢£¥€₩₪₫₱₹₽₺₴₦]?"
_DASH = rf"""
    (?<![\w)\]]) . (?={_MONEY}\.?\d)      # the sign of a number
  | (?<=[\d%]) . (?=\ ?{_MONEY}\.?\d)     # a range
  | (?: (?<=\S\ ) | (?<=\S\ \ ) ) . (?=\ ?{_MONEY}\.?\d)  # either; before a bullet the line starts
"""
_ONLY_WHERE: Mapping[str, re.Pattern[str]] = {
    symbol: re.compile(pattern, re.VERBOSE | re.DOTALL)
    for symbols, pattern in (
        ("\u2010\u2011\u2012\u2013\u2014\u2015-", _DASH),
        ("\u2212", r". (?=\s?\W?\d)"),
        (".", r"(?<![\w.]) . (?=\d) | (?<=\d) . (?=\s)"),
        ("(", rf". (?={_MONEY}\s?\d[\d.,]*\s?(?:%|per\s?cent)?\))"),  # accounts: a negative amount
        ("#", r". (?=\w) | (?<=\w) ."),
        ("+", r". (?=\S) | (?<=\S) . | (?<=\S\ ) ."),
        (">", r"(?<=\S) . | (?<=\S\ ) . | . (?=[\d=])"),
        ("=", r"(?<!=) ={1,2} (?!=) | (?<=[!=]) . (?!=)"),
        ("!", r". (?=[=\w(]) | (?<=\d) ."),
        ("*", r"(?<=[\w)]\ ) . (?=\ [\w(]) | (?<=[\w)]) \*{1,2} (?=[\d(])"),
        ("●►▶➢➤", r"(?<=\S) . | (?<=\S\ ) ."),
    )
    for symbol in symbols
}
_SAME = {"\uff1f": "?", "\u061f": "?", "\uff05": "%", "\u066a": "%"} | dict.fromkeys(
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"
)
_PRIMES = {"'": "\u2032", "\u2019": "\u2032", '"': "\u2033", "\u201d": "\u2033"}
_PUNCTUATION_THAT_CARRIES = frozenset(
    "?\uff1f\u061f%\uff05\u066a\u2030\u2031\u00a7&@/\\\u2032\u2033_"
)
_OPENER = re.compile(r"(?:^|(?<=[\s(\[]))(?:[\"'\u201c\u2018]|\*+)(?=\S)", re.MULTILINE)
_NEAR = 160
"""Characters on one line in which the mark is looked for that opened what another one closes."""


def material_symbol(text: str, place: int, symbol: str) -> str:
    """What the symbol at a place says, blank when it says nothing.

    Args:
        text: the whole text.
        place: where the symbol starts.
        symbol: what `SYMBOL` matched there.
    """
    first = symbol[0]
    if first in _QUOTES:
        return "" if _closes(text, place) else _PRIMES[first]
    if first == "*" and text[max(0, place - 1) : place].isdigit() and not _closes(text, place):
        return first  # 0.05* is a footnote or a level of significance, **0.05** is not
    if first in _ONLY_WHERE:
        return _SAME.get(first, first) if _ONLY_WHERE[first].match(text, place) else ""
    if first in "\t,;:":
        return symbol.replace(" ", "")
    if not _carries(first) or (_is_private(first) and _starts_line(text, place)):
        return ""
    return _SAME.get(first, first)


def _closes(text: str, place: int) -> bool:
    """Whether the mark after a number ends a quotation or an emphasis."""
    window = text[max(0, place - _NEAR) : place].rpartition("\n")[2]
    opened = [match.end() for match in _OPENER.finditer(window)]
    return bool(opened) and not any(mark in window[opened[-1] :] for mark in "*" + _QUOTES)


def _starts_line(text: str, place: int) -> bool:
    return not text[max(0, place - _NEAR) : place].rpartition("\n")[2].strip()


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
