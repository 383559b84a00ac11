"""Dates, years and times of day, as ISO 8601 where the writing leaves no doubt."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re

from ctxguard.text.facts.model import Found

__all__ = ["MONTHS", "read_date", "read_month", "read_time", "read_year"]

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio janeiro januari",
            "february feb februar février febrero febbraio fevereiro februari",
            "march mar märz mars marzo março maart",
            "april apr avril abril aprile",
            "may mai mayo maggio maio mei",
            "june jun juni juin junio giugno junho",
            "july jul juli juillet julio luglio julho",
            "august aug août agosto augustus",
            "september sept sep septembre septiembre settembre setembro",
            "october oct oktober octobre octubre ottobre outubro okt",
            "november nov novembre noviembre novembro",
            "december dec dezember décembre diciembre dicembre dezembro dez",
        ),
        start=1,
    )
    for name in names.split()
}
"""Month names: English with abbreviations, German, French, Spanish, Italian, Portuguese, Dutch."""

_ISO = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d|[-/.]\d)"
    r"(T\d{2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?(?!\w))?"
)
_CJK = re.compile(r"(\d{4})年(?:(\d{1,2})月(?:(\d{1,2})日)?)?")
_NUMERIC = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d|[-/.]\d)")
_DAY_MONTH = re.compile(
    r"(\d{1,2})(?:\s?(?:st|nd|rd|th)|er|º|ª)?\.?[\s-]+(?:(?:[Dd]ay|DAY)\s+(?:of|OF)[\s,-]+|of\s+|de\s+)?"
    r"([^\W\d_]{3,10})\.?"
    r"(?:(?:[\s,-]+|\s+of\s+|\s+de\s+)(\d{4})(?!\d|[.,]\d))?(?!\w)"
)
_MONTH_DAY = re.compile(
    r"([^\W\d_]{3,10})\.?[\s-]+(\d{1,2})(?:st|nd|rd|th)?(?!\w|[.:]\d|,(?!\d{4}(?!\d))\d|\s?%)"
    r"(?:[\s,-]+(\d{4})(?!\d|[.,]\d))?"
)
_MONTH_YEAR = re.compile(r"([^\W\d_]{3,10})\.?(?:[\s,-]+|\s+of\s+|\s+de\s+)(\d{4})(?!\d|[.,]\d)")


def read_date(text: str, start: int) -> Found | None:
    """The date that begins with the digit at `start`, or None.

    "08.05.2014" may be in May or in August: its value is "?08.05.2014", unless one number is above
    12 or both are equal. Two-digit years are as ambiguous.
    """
    if match := _ISO.match(text, start):
        value = _iso(match[1], match[3], match[4])
        value = value and value + (match[5] or "")
        return Found("date", value, start, match.end()) if value else None
    if match := _CJK.match(text, start):
        parts = [part.zfill(2) for part in match.groups() if part]
        return Found("date" if len(parts) > 1 else "year", "-".join(parts), start, match.end())
    if match := _NUMERIC.match(text, start):
        value = _day_and_month(match[1], match[3], match[4], match.group())
        return Found("date", value, start, match.end()) if value else None
    if match := _DAY_MONTH.match(text, start):
        month = MONTHS.get(match[2].lower())
        is_verb = match[2] in ("may", "march", "mar") and not match[3]  # "the 5 may be"
        if month and not is_verb:
            value = _iso(match[3] or "-", str(month), match[1])
            return Found("date", value, start, match.end()) if value else None
    return None


def read_month(text: str, start: int) -> Found | None:
    """The date that begins with the month's name at `start`, with a day, a year or both."""
    match = _MONTH_DAY.match(text, start) or _MONTH_YEAR.match(text, start)
    month = match and MONTHS.get(match[1].lower())
    if match is None or month is None:
        return None  # "May\u4e09 5": a script without spaces goes on where the name ends
    if match.re is _MONTH_DAY:
        value = _iso(match[3] or "-", str(month), match[2])
        if value:
            return Found("date", value, start, match.end())
        match = _MONTH_YEAR.match(text, start)
    if match:
        return Found("date", f"{match[2]}-{month:02d}", start, match.end())
    return None


def _iso(year: str, month: str, day: str) -> str | None:
    """ISO 8601, "--05-08" without a year; None when no calendar has such a day."""
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{year}-{int(month):02d}-{int(day):02d}"


def _day_and_month(first: str, second: str, year: str, written: str) -> str | None:
    low, high = sorted((int(first), int(second)))
    if not (1 <= low <= 12 and high <= 31):
        return None
    if len(year) == 2 or (high <= 12 and low != high):
        return f"?{written}"
    return _iso(year, str(low), str(high))


# -- years ----------------------------------------------------------------------------------------

_YEAR = re.compile(
    r"(?P<decade>(?:1[5-9]|20|21)\d0)['’]?s(?!\w)"
    r"|(?P<first>(?:1[5-9]|20|21)\d\d)\s?(?P<mark>[-–—/])\s?(?P<last>(?:1[5-9]|20|21)\d\d|\d\d)"
    r"(?!\w|[-–—/]?\d|[.,]\d|\s[^\W\d_]{3,9}\s\d{4})"  # not "1627-31 December 1700"
    r"|(?P<only>(?:1[89]|20|21)\d\d)"
    r"(?!\w|[-–—/]?\d|[.,]\d)"
)


def read_year(text: str, start: int) -> Found | None:
    """The year (1800 to 2199) or range of years (1500 to 2199) that begins at `start`, or None.

    "2012-2014", "2012/14" and "2012/2014" are one value, "2012-10" may be October: ambiguous.
    """
    match = _YEAR.match(text, start)
    if match is None:
        return None
    if match["decade"]:
        return Found("year", f"{match['decade']}s", start, match.end())
    if match["only"]:
        return Found("year", match["only"], start, match.end())
    first, last = match["first"], match["last"]
    if len(last) == 2:
        if match["mark"] == "-" and int(last) <= 12:
            return Found("year", f"?{match.group()}", start, match.end())
        last = first[:2] + last
    return Found("year", f"{first}/{last}", start, match.end())


# -- times ----------------------------------------------------------------------------------------

_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:(?P<mark>[:.h])(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:\.\d+)?)?)?"
    r"(?:\s?(?P<half>[ap])\.?\s?m\b\.?)?(?!\d)",
    re.IGNORECASE,
)


def read_time(text: str, start: int) -> Found | None:
    """The time of day that begins at `start`, in 24 hours, or None.

    "2:30" without am or pm may be either, or no time at all: its value is "?2:30". "14:30" is sure.
    """
    match = _TIME.match(text, start)
    if match is None or not (match["half"] or match["mark"] in (":", "h")):
        return None
    hour = int(match["hour"])
    if hour > 24 or (match["half"] and not 1 <= hour <= 12):
        return None
    end = match.end()
    if match["half"]:
        hour = hour % 12 + (12 if match["half"].lower() == "p" else 0)
        # The full stop of "p.m." may also end the sentence: leave it where the m has no partner.
        end -= text[end - 1] == "." and "." not in text[match.start("half") : end - 1]
    elif hour <= 12 and match["mark"] == ":" and not match["second"]:
        return Found("time", f"?{match.group()}", start, end)
    seconds = f":{match['second']}" if match["second"] else ""
    return Found("time", f"{hour:02d}:{match['minute'] or '00'}{seconds}", start, end)
