"""Numbers as they are written: digits in any grouping, words, fractions, powers, multiples."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction

from ctxguard.text.facts.model import Found

__all__ = [
    "NUMBER_WORDS",
    "ORDINALS",
    "VULGAR",
    "Numeral",
    "format_number",
    "read_number",
    "read_ordinal",
]


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number that was read."""

    start: int
    end: int
    value: Fraction | None
    """Exact; None where the writing is ambiguous ("1.500" is 1.5 or 1500)."""
    bare: str
    """The value of the number when nothing is measured by it: "3.10" is not "3.1" then."""
    spelled: bool = False
    """Written in words."""


def read_number(
    text: str, start: int, *, comma_is_decimal: bool = False, money: bool = False
) -> Numeral | None:
    """The number that begins at `start`, with all that belongs to it, or None.

    Args:
        text: the text around it.
        start: where the number begins.
        comma_is_decimal: the text writes decimal commas, so that "1,500" is ambiguous.
        money: a currency stands before it, so that "1.5M" is a multiple.
    """
    number = _digits(text, start, comma_is_decimal=comma_is_decimal) or _words(text, start)
    if number is None:
        return None
    number = _multiplied(text, _with_fraction(text, number), money=money)
    return _restated(text, number, comma_is_decimal=comma_is_decimal)


def format_number(value: Fraction) -> str:
    """A plain decimal where the number has one ("1500", "0.5"), else a fraction ("2/3")."""
    if value.denominator == 1:
        return str(value.numerator)
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator != 1 or value.denominator > 10**30:
        return f"{value.numerator}/{value.denominator}"
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole, rest = divmod(int(abs(value) * 10**digits), 10**digits)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{digits}d}"


# -- digits ---------------------------------------------------------------------------------------

_LIMIT = 400
"""Digits that are read as a number; longer runs are literal text (and int() has its own limit)."""
_NUMERAL = re.compile(
    r"(?P<grouped>(?!0)\d{1,3}(?P<separator>[,.'’_\u00a0\u202f\u2009 ])\d{3}"
    r"(?:(?P=separator)\d{3})*(?!\d)(?:(?!(?P=separator))[.,]\d+)?)"
    r"|(?P<indian>\d{1,2}(?:,\d{2})+,\d{3}(?!\d)(?:\.\d+)?)"
    r"|\d+(?:(?P<mark>[.,])\d+)?"
)
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SUPERSCRIPT_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWER = re.compile(
    r"[eE](?P<e>[+-]?\d{1,3})(?!\w)"
    r"|\s?[x×·*]\s?10(?:(?:\^|\*\*)(?P<caret>[+-]?\d{1,3})(?!\d)|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))"
)
_SLASH = re.compile(r"[/⁄](\d{1,4})(?!\d|[/.,-]\d)")
VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"


def _digits(text: str, start: int, *, comma_is_decimal: bool) -> Numeral | None:
    if start < len(text) and text[start] in VULGAR:
        value = _vulgar(text[start])
        return Numeral(start, start + 1, value, f"{value.numerator}/{value.denominator}")
    match = _NUMERAL.match(text, start)
    if match is None:
        return None
    written = _ascii_digits(match.group())
    if len(written) > _LIMIT:
        return Numeral(start, match.end(), None, written)
    value, bare = _reading(written, match, comma_is_decimal=comma_is_decimal)
    return _with_power(text, Numeral(start, match.end(), value, bare), written)


def _with_power(text: str, number: Numeral, written: str) -> Numeral:
    """Take in what is glued to the digits: "10²", "2/3", "1.5e6", "1.5 * 10^6"."""
    start, end = number.start, number.end
    if raised := _SUPERSCRIPTS.match(text, end):  # a power, or a footnote
        return Numeral(start, raised.end(), None, text[start : raised.end()])
    slash = _SLASH.match(text, end)
    if slash and written.isdigit() and int(slash[1]):
        ratio = Fraction(int(written), int(slash[1]))
        return Numeral(start, slash.end(), ratio, f"{int(written)}/{int(slash[1])}")
    power = _POWER.match(text, end)
    if power is None or number.value is None:
        return number
    exponent = (power["e"] or power["caret"] or power["raised"]).translate(_SUPERSCRIPT_DIGITS)
    value = number.value * Fraction(10) ** int(exponent)
    return Numeral(start, power.end(), value, format_number(value))


def _reading(
    written: str, match: re.Match[str], *, comma_is_decimal: bool
) -> tuple[Fraction | None, str]:
    """The value of a written number and its bare form, by the separators that it uses."""
    separator = match["separator"]
    if match["indian"]:
        plain = written.replace(",", "")
        return Fraction(plain), plain
    if separator is None:
        if match["mark"] != ",":
            return Fraction(int(written) if written.isdigit() else written), written
        whole, _, decimals = written.partition(",")
        certain = len(decimals) != 3 or whole == "0"
        return (Fraction(f"{whole}.{decimals}") if certain else None), f"?{written}"
    groups = re.split(r"[.,]", written) if separator in ".," else [written]
    one_group = separator in ".," and len(groups) == 2
    if one_group and (separator == "." or comma_is_decimal):
        return None, f"?{written}"
    point = "," if separator == "." else "."
    body = written.replace(separator, "")
    if separator not in ".,":
        body = body.replace(",", ".")
    plain = body.replace(point, ".")
    # Three dots or more may be an address or a version, unless a decimal comma follows.
    is_certain = separator != "." or "." in plain
    return Fraction(plain), plain if is_certain else f"?{written}"


def _ascii_digits(written: str) -> str:
    if written.isascii():
        return written
    return "".join(str(unicodedata.decimal(char, char)) for char in written)


# -- what belongs to a number ---------------------------------------------------------------------

_MIXED = re.compile(r"[\s-]?(?P<vulgar>[" + VULGAR + r"])|\s(?P<n>\d)/(?P<d>\d{1,2})(?![\d/])")
_AND_PART = re.compile(
    r"\s+and\s+(?:(?:a|one)[\s-](?P<one>half|quarter|third)|(?P<three>three)[\s-]quarters)\b", re.I
)
_PART = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3)}
_MULTIPLE = re.compile(r"[\s-]{0,2}(?P<word>[A-Za-z]+)\.?(?!\w)")
_MULTIPLES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9,
    "billions": 10**9, "trillion": 10**12, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7,
    "crores": 10**7, "mio": 10**6, "mrd": 10**9, "bn": 10**9, "mn": 10**6, "millionen": 10**6,
    "milliarden": 10**9, "millones": 10**6, "milliards": 10**9, "dozen": 12,
}  # fmt: skip
_MONEY_MULTIPLES = {
    "k": 10**3, "m": 10**6, "mm": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12, "tn": 10**12,
}  # fmt: skip


_HUGE = 10**30
"""Beyond this no multiple is read: "million million million …" is no number."""


def _with_fraction(text: str, number: Numeral) -> Numeral:
    """Add what follows a whole number: "1½", "1 1/2", "two and a half"."""
    value = number.value
    if value is None or value.denominator != 1:
        return number
    part: Fraction
    if mixed := _MIXED.match(text, number.end):
        if mixed["vulgar"]:
            part = _vulgar(mixed["vulgar"])
        elif int(mixed["d"]):
            part = Fraction(int(mixed["n"]), int(mixed["d"]))
        else:
            return number
        end = mixed.end()
    elif more := _AND_PART.match(text, number.end):
        part = _PART[more["one"].lower()] if more["one"] else Fraction(3, 4)
        end = more.end()
    else:
        return number
    return replace(number, end=end, value=value + part, bare=format_number(value + part))


def _multiplied(text: str, number: Numeral, *, money: bool) -> Numeral:
    """Apply the multiples that follow: "1.5 million", with a currency also "1.5M"."""
    while number.value is not None and number.value < _HUGE:
        match = _MULTIPLE.match(text, number.end)
        if match is None:
            break
        word = match["word"].lower()
        scale = _MULTIPLES.get(word) or (_MONEY_MULTIPLES.get(word) if money else None)
        if scale is None:
            break
        value = number.value * scale
        end = match.end() if word in ("mio", "mrd") else match.end("word")
        number = replace(number, end=end, value=value, bare=format_number(value))
        money = False
    return number


_PARENTHESIS = re.compile(r"\s*\(\s*")
_CLOSED = re.compile(r"\s*\)")


def _restated(text: str, number: Numeral, *, comma_is_decimal: bool) -> Numeral:
    """Take in a restatement: "thirty (30)", "30 (thirty)"; one that contradicts is ambiguous."""
    opening = _PARENTHESIS.match(text, number.end)
    if opening is None:
        return number
    start = opening.end()
    other = (
        _digits(text, start, comma_is_decimal=comma_is_decimal)
        if number.spelled
        else _words(text, start)
    )
    closing = _CLOSED.match(text, other.end) if other else None
    if other is None or closing is None:
        return number
    if other.value == number.value is not None:
        return replace(number, end=closing.end())
    return Numeral(number.start, closing.end(), None, "?" + text[number.start : closing.end()])


# -- words ----------------------------------------------------------------------------------------

_ONES = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9,
}  # fmt: skip
_TEENS = {
    "zero": 0, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_CLASSES = {
    **{word: ("ones", value) for word, value in _ONES.items()},
    **{word: ("teens", value) for word, value in _TEENS.items()},
    **{word: ("tens", value) for word, value in _TENS.items()},
    **{word: ("scale", value) for word, value in _SCALES.items()},
    "hundred": ("hundred", 100),
}
_LARGE = ("hundred", "scale")
_FOLLOWS = {"ones": ("", "tens", *_LARGE), "teens": ("", *_LARGE), "tens": ("", *_LARGE)}
"""Class of a word → classes that it may follow and be added to."""
_DENOMINATORS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "twentieth": 20, "hundredth": 100,
    "thousandth": 1000,
}  # fmt: skip
NUMBER_WORDS = frozenset({*_ONES, *_TEENS, *_TENS, *_SCALES, "hundred", "half"})
"""What a spelled number may begin with."""

_WORD = re.compile(r"[A-Za-z]+")
_NEXT_WORD = re.compile(r"[\s-]{1,2}(and\s+)?([A-Za-z]+)")


def _words(text: str, start: int) -> Numeral | None:
    """The longest well-formed number in words: "one hundred and five", "two-thirds", "half"."""
    first = _WORD.match(text, start)
    if first is None or (word := first.group().lower()) not in NUMBER_WORDS:
        return None
    if word == "half":
        return Numeral(start, first.end(), Fraction(1, 2), "1/2", spelled=True)
    total, group, before = _append(0, 0, "", word, joined=False) or (0, 0, "")
    end = first.end()
    while following := _NEXT_WORD.match(text, end):
        word = following[2].lower()
        if total == 0 and (part := _denominator(word, group)):
            value = Fraction(group, part)
            return Numeral(start, following.end(), value, f"{group}/{part}", spelled=True)
        state = _append(total, group, before, word, joined=following[1] is not None)
        if state is None:
            break
        total, group, before = state
        end = following.end()
    value = Fraction(total + group)
    return Numeral(start, end, value, format_number(value), spelled=True)


ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50,
    "sixtieth": 60, "seventieth": 70, "eightieth": 80, "ninetieth": 90, "hundredth": 100,
    "thousandth": 1000,
}  # fmt: skip
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)(?!\w)")
_TENS_ORDINAL = re.compile(r"([A-Za-z]+)[\s-]([A-Za-z]+)(?!\w)")


def read_ordinal(text: str, start: int) -> Found | None:
    """The ordinal that begins at `start`: "3rd", "third", "twenty-first"."""
    if match := _ORDINAL.match(text, start):
        return Found("ordinal", match[1].lstrip("0") or "0", start, match.end())
    if match := _TENS_ORDINAL.match(text, start):
        tens, ones = _TENS.get(match[1].lower()), ORDINALS.get(match[2].lower(), 10)
        if tens and ones < 10:
            return Found("ordinal", str(tens + ones), start, match.end())
    word = _WORD.match(text, start)
    if word and (value := ORDINALS.get(word.group().lower())):
        return Found("ordinal", str(value), start, word.end())
    return None


def _append(
    total: int, group: int, before: str, word: str, *, joined: bool
) -> tuple[int, int, str] | None:
    """The state after one more word, None when the word cannot continue the number.

    Args:
        total: what the scales so far have closed: 2,000,000 after "two million".
        group: the number below 1,000 that is open: 105 after "one hundred and five".
        before: the class of the word before: "", ones, teens, tens, hundred or scale.
        word: the next word.
        joined: an "and" stands before it, which only hundreds and scales take.
    """
    kind, value = _CLASSES.get(word, ("", 0))
    if kind in _FOLLOWS and before in _FOLLOWS[kind] and (not joined or before in _LARGE):
        return total, group + value, kind
    if joined:
        return None
    if kind == "hundred" and group < 100 and before != "hundred":
        return total, max(group, 1) * 100, kind
    if kind == "scale" and before != "scale" and (not total or value < _smallest_scale(total)):
        return total + max(group, 1) * value, 0, kind
    return None


def _smallest_scale(total: int) -> int:
    return next(scale for scale in reversed(_SCALES.values()) if total % scale == 0)


def _denominator(word: str, count: int) -> int | None:
    """The denominator that a word names after a count: "one third", "three quarters"."""
    if word == "halves":
        return 2
    singular = word[:-1] if word.endswith("s") else word
    return _DENOMINATORS.get(singular) if (singular == word) == (count == 1) else None


def _vulgar(character: str) -> Fraction:
    numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("⁄")
    return Fraction(int(numerator), int(denominator))
