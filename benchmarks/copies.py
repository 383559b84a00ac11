"""Copies: the same facts in the same words, as files, converters and splitters change them.

A copy may restyle a number, a date, the case, the layout or the markup of a text, stand under a
page's header, or be cut. Each function gives None where a text offers nothing to change.
"""

from __future__ import annotations

import calendar
import html
import random
import re
import textwrap
from collections.abc import Callable, Mapping

__all__ = ["COPIES", "CORE", "MONTHS", "Change"]

Change = Callable[[str, random.Random], str | None]
MONTHS = "|".join(calendar.month_name[1:])
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER = "|".join((*_ONES, *_TENS[2:], "hundred", "thousand"))
_SPELLED = rf"(?i:\b(?:(?:{_NUMBER})[ -](?:and )?)*(?:{_NUMBER}) \((\d+)\))(?= [a-z])"
_UNITS = r"(?:business |calendar |consecutive )?(?:days|months|years|weeks|hours)\b"


def _spelled(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" {_spelled(rest)}" if rest else "")


# -- layout ---------------------------------------------------------------------------------------


def rewrapped(text: str, rng: random.Random) -> str | None:
    """Other line ends and spaces, as another PDF reader gives them."""
    lines = textwrap.wrap(text, rng.choice([45, 60, 72]))
    return "\n".join(line.replace(" ", "  ", 2) for line in lines)


def typography(text: str, _: random.Random) -> str | None:
    """Curly quotes, en dashes, no-break spaces."""
    text = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text).replace("'", "\u2019")
    text = text.replace(" - ", " \u2013 ")
    return text.replace(" of ", " of\u00a0", 1)


def blank_lines(text: str, _: random.Random) -> str | None:
    """A blank line after every sentence."""
    return re.sub(r"(?<=[a-z][.;]) (?=[A-Z(])", "\n\n", text)


def hyphenated(text: str, rng: random.Random) -> str | None:
    """A long word broken at the end of a line."""
    found = list(re.finditer(r"\b[a-z]{4}(?=[a-z]{4,}\b)", text))
    return None if not found else _at(text, rng.choice(found).end(), "-\n")


def punctuation(text: str, _: random.Random) -> str | None:
    """Commas and semicolons between words dropped, as an OCR does."""
    return re.sub(r"(?<=[a-z])[,;](?= [a-z])", "", text)


def _at(text: str, place: int, new: str) -> str:
    return text[:place] + new + text[place:]


# -- case -----------------------------------------------------------------------------------------


def capitals(text: str, _: random.Random) -> str | None:
    """The first words in capitals, as a heading style gives them."""
    words = text.split(" ")
    return " ".join([word.upper() for word in words[:4]] + words[4:])


def all_capitals(text: str, _: random.Random) -> str | None:
    """Everything in capitals."""
    return text.upper()


def lower_case(text: str, _: random.Random) -> str | None:
    """Everything in lower case."""
    return text.lower()


def defined_terms(text: str, _: random.Random) -> str | None:
    """Defined terms in capitals: 'Agreement' as 'AGREEMENT'."""
    return re.sub(r"\b(?:Agreement|Party|Parties|Term|Licensee|Licensor|Company)\b", _upper, text)


def _upper(match: re.Match[str]) -> str:
    return match.group().upper()


# -- markup ---------------------------------------------------------------------------------------


def markdown(text: str, _: random.Random) -> str | None:
    """A list item with emphasis, as an HTML converter writes it."""
    words = text.split(" ")
    return "- **" + " ".join(words[:3]) + "** " + " ".join(words[3:])


def tags(text: str, _: random.Random) -> str | None:
    """HTML: a paragraph, bold words, a line break."""
    words = text.split(" ")
    middle = len(words) // 2
    return (
        f'<p class="clause"><b>{" ".join(words[:3])}</b> {" ".join(words[3:middle])}<br/>\n'
        f"{' '.join(words[middle:])}</p>"
    )


def entities(text: str, _: random.Random) -> str | None:
    """HTML entities for quotes, apostrophes, signs and no-break spaces."""
    return html.escape(text).replace(" the ", " the&nbsp;", 2)


# -- numbers, dates, references -------------------------------------------------------------------


def number_style(text: str, _: random.Random) -> str | None:
    """'thirty (30) days' as '30 days', '5%' as '5 percent'."""
    text = re.sub(_SPELLED, r"\1", text)
    return re.sub(r"(\d)%", r"\1 percent", text)


def spelled_out(text: str, _: random.Random) -> str | None:
    """'30 days' as 'thirty (30) days', 'thirty (30) days' as 'thirty days'."""
    plain = re.sub(_SPELLED, lambda found: found.group().partition(" (")[0], text)
    return re.sub(
        rf"(?<![\d.,(-])\b(\d{{1,3}}) (?={_UNITS})",
        lambda found: f"{_spelled(int(found[1]))} ({found[1]}) ",
        plain,
    )


def calendar_days(text: str, _: random.Random) -> str | None:
    """'30 days' as '30 calendar days'."""
    return re.sub(r"(?<=\d\) )(?=days\b)|(?<=\d )(?=days\b)", "calendar ", text)


def percent_style(text: str, _: random.Random) -> str | None:
    """'5%' as 'five percent (5%)', '5 percent' as '5%'."""
    words = re.sub(r"(?<=\d) percent\b", "%", text)
    if words != text:
        return words
    return re.sub(
        r"(?<![\w.,(])(\d{1,2})%",
        lambda found: f"{_spelled(int(found[1]))} percent ({found[1]}%)",
        text,
    )


def amount_style(text: str, rng: random.Random) -> str | None:
    """'$1,500,000' as 'USD 1.5 million', 'US$1,500,000.00' or '1,500,000 dollars'."""
    style = rng.choice(("USD {}", "US${}.00", "{} dollars", "million"))

    def restyled(found: re.Match[str]) -> str:
        if style == "million" and found[1].endswith("00,000") and found[1].count(",") == 2:
            return f"USD {int(found[1].replace(',', '')) / 10**6:g} million"
        return style.replace("million", "${}").format(found[1])

    return re.sub(r"(?<!\w)\$(\d[\d,]*\d)(?![\d.,]*\d|\s*(?:m|b)illion)", restyled, text)


def date_style(text: str, rng: random.Random) -> str | None:
    """'May 8, 2014' as '8 May 2014', 'the 8th day of May, 2014' or '2014-05-08'."""
    style = rng.choice(("{day} {month} {year}", "the {day}{th} day of {month}, {year}", "iso"))

    def restyled(found: re.Match[str]) -> str:
        month, day, year = found[1], int(found[2]), found[3]
        if style == "iso":
            return f"{year}-{list(calendar.month_name).index(month):02d}-{day:02d}"
        ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return style.format(day=day, th=ending, month=month, year=year)

    return re.sub(rf"\b({MONTHS}) (\d{{1,2}}), ((?:19|20)\d\d)\b", restyled, text)


def references(text: str, rng: random.Random) -> str | None:
    """'Section 4.2' as 'Sec. 4.2' or '§ 4.2', 'Article 5' as 'Art. 5'."""
    text = re.sub(r"\bSection (?=\d)", rng.choice(("Sec. ", "§ ")), text)
    return re.sub(r"\bArticle (?=[\dIVX])", "Art. ", text)


def and_sign(text: str, _: random.Random) -> str | None:
    """'and' between two capitalised words as '&'."""
    return re.sub(r"(?<=[a-z]) and (?=[A-Z])", " & ", text)


def contractions(text: str, _: random.Random) -> str | None:
    """'does not' as "doesn't", 'cannot' as "can't"."""
    text = re.sub(r"\b(does|do|is|are|has|have|was|were|would|should) not\b", r"\1n't", text)
    return text.replace("cannot", "can't").replace("will not ", "won't ")


# -- around and cut -------------------------------------------------------------------------------


def page_lines(text: str, rng: random.Random) -> str | None:
    """A page's header above and its number inside or below."""
    page = rng.choice(("Page 3 of 20", "- 3 -", "CONFIDENTIAL", "Page 3"))
    words = text.split(" ")
    middle = len(words) // 2
    return rng.choice(
        (
            f"CONFIDENTIAL\n\n{text}\n\n{page}",
            f"{page}\n{text}",
            " ".join(words[:middle]) + f"\n\n{page}\n\n" + " ".join(words[middle:]),
        )
    )


def labelled(text: str, rng: random.Random) -> str | None:
    """The number of its section, or its number and title, before the clause."""
    if not re.match(r"[A-Z][a-z]+ (?!\W?\d)", text):
        return None
    return rng.choice(("Section 12.3 ", "12.3 ", "12.3. Termination. ", "(c) ", "§ 12.3 ")) + text


def truncated(text: str, rng: random.Random) -> str | None:
    """The end is missing, in the middle of a sentence, as a splitter leaves it."""
    words = text.split(" ")
    return " ".join(words[: int(len(words) * rng.uniform(0.7, 0.92))])


def cut_in_a_word(text: str, rng: random.Random) -> str | None:
    """The end is missing from the middle of a word on."""
    found = list(re.finditer(r"(?<=[a-z]{3})(?=[a-z]{3})", text[len(text) // 2 :]))
    return text[: len(text) // 2 + rng.choice(found).start()] if found else None


def cut_in_front(text: str, rng: random.Random) -> str | None:
    """The start is missing, up to the middle of a sentence."""
    words = text.split(" ")
    return " ".join(words[int(len(words) * rng.uniform(0.08, 0.3)) :])


def two_styles(text: str, rng: random.Random) -> str | None:
    """Restyled numbers in a text that was wrapped anew."""
    restyled = number_style(text, rng)
    return None if restyled in (None, text) else rewrapped(restyled, rng)


_KINDS: tuple[Change, ...] = (
    *(rewrapped, typography, markdown, truncated, capitals, number_style),
    *(blank_lines, hyphenated, punctuation, all_capitals, lower_case, defined_terms),
    *(tags, entities, spelled_out, calendar_days, percent_style, amount_style, date_style),
    *(references, and_sign, contractions, page_lines, labelled),
    *(cut_in_a_word, cut_in_front, two_styles),
)
CORE = ("rewrapped", "typography", "markdown", "truncated", "capitals", "number_style")
"""The kinds of the first version of the pools, so that results can be compared."""
COPIES: Mapping[str, Change] = {change.__name__: change for change in _KINDS}
