"""What stands beside a text and is no part of it: numbers of lists, sections and pages.

Whether it makes a difference is for the comparison to say: what only one of two texts has does not,
3. and 4. do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctxguard.text.facts import figures_at
from ctxguard.text.sentences import Span

__all__ = ["asides_of"]

# A list's numbers, and page numbers on a line of their own. "v. Smith" and "J. Smith" are neither.
_NUMBERING = re.compile(r"\n[ \t]*(?:(\d{1,2})\.|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})\))(?=[ \t]+\S)")
_BEFORE_ITEM = re.compile(
    r"""(?: \A | \n[ \t]*\r?\n | [.;:,!?\u3002\uff1b][ \t]*\r?\n | \b(?:and|or)[ \t]*\r?\n
    | (?:\A|\n)[ \t]*\(?\w{1,5}\)[^\n]*\n ) \Z""",
    re.VERBOSE,
)
"""What stands before an item's line: nothing, a blank line, an end, another item. In "thirty⏎(30)
days" nothing of the kind does."""
_LINE = 200
"""Characters before a number that are looked at."""
_PAGE = r"""(?: (?:page|seite|página|pagina|pagine|стр\.?|страница|p\.) [ \t]* \d{1,4}
        (?: [ \t]* (?:of|von|de|di|из|/) [ \t]* \d{1,4} )?
      | [-\u2013\u2014] [ \t] \d{1,4} [ \t] [-\u2013\u2014] )"""
_CONFIDENTIAL = r"(?: (?:(?:strictly|highly|private[ ](?:and|&))[ ])? confidential )"
_PAGE_LINE = re.compile(
    rf"""\n[ \t]* [\[|(*]* [ \t]*
    (?: {_PAGE} (?: [ \t]* [-|\u2013\u2014\u00b7]? [ \t]* {_CONFIDENTIAL} )?
      | {_CONFIDENTIAL} [.!]? (?: [ \t]* [-|\u2013\u2014\u00b7]? [ \t]* {_PAGE} )? )
    [ \t]* [\])|*]* [ \t]*$""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
"""What a page's header or footer says on a line of its own, not what the text says."""
_LABEL = re.compile(
    r"""\A [\s*_\#>\u2022-]*
    (?: (?:(?i:section|sec\.|article|art\.|clause|paragraph)(?<![A-Z]{3})|§+) [ \t]*
        (?:\d{1,3}(?:\.\d{1,3})*|[IVXLC]{1,6}\b) (?:\([a-z0-9]{1,4}\))*
      | (?P<number> \d{1,3}(?:\.\d{1,3})+ ) )
    [.):]? (?= [\s*_]+ ["'\u201c(*_]* [A-Z] )
    (?P<title> [\s*_]+ [A-Z][\w'-]* (?:[ \t]+ (?:of|and|or|the|to|for|in|by|&|[A-Z][\w'-]*) ){0,6}
        [*_]* (?: [.:] (?=[\s*_]) | [ \t]* (?=\n) | [ \t]+ [\u2013\u2014-] (?=\s) ) )?""",
    re.VERBOSE,
)
"""The number, and the title, of the section that a text begins."""
_LABELLED = 60
"""Characters that a text has below its title; a label over a line or two says what they are of."""
_HEADING = re.compile(r"\A[\s#*_]*([^\W\d_]+(?:[ \t]+(?:&|[^\W\d_]+)){0,7})[ \t*_]*:?[ \t]*\r?\n")
"""Up to eight words on the first line, without a figure or a mark at the end."""
_STEM = 5
"""Letters by which two words are of one family: termination, terminate."""


def asides_of(text: str) -> list[Span]:
    """What stands beside a text, as ascending spans of it; linear in its length.

    Lines of a page's header and footer, the number and title of the section, and numbers of lists:
    in brackets, or two in a row (1. 2.), no lone 5. May.
    """
    return sorted((*_labels(text), *_list_numbers(text)))


def _labels(text: str) -> Iterator[Span]:
    """Lines of pages, and what stands above the text."""
    yield from (span for span, _ in _at_lines(_PAGE_LINE, text))
    yield from _section_label(text)
    yield from _heading(text)


def _at_lines(pattern: re.Pattern[str], text: str) -> Iterator[tuple[Span, re.Match[str]]]:
    """What a pattern finds from the start of a line on, without the newline it begins with.

    `re` jumps from one newline to the next; `^` it tries at every character.
    """
    for match in pattern.finditer(f"\n{text}"):
        yield (match.start(), match.end() - 1), match


def _list_numbers(text: str) -> Iterator[Span]:
    numbers: list[tuple[int, Span]] = []
    for span, match in _at_lines(_NUMBERING, text):
        if match[1] is not None:
            numbers.append((int(match[1]), span))
        elif _BEFORE_ITEM.search(text[max(0, span[0] - _LINE) : span[0]]):
            yield span
    for place, (number, span) in enumerate(numbers):
        before = [other for other, _ in numbers[max(0, place - 1) : place]]
        after = [other for other, _ in numbers[place + 1 : place + 2]]
        if before == [number - 1] or after == [number + 1]:
            yield span


def _section_label(text: str) -> Iterator[Span]:
    """The number before the first sentence, `12.3` or `Section 12.3`, with its title."""
    label = _LABEL.match(text)
    if label is None:
        return
    if label["number"]:
        measured = next(figures_at(text, [label.span("number")]), None)
        if measured and measured.end > label.end("number"):
            return  # 12.3 Million
    titled = label["title"] and len(text) - label.end() >= _LABELLED
    yield label.start(), label.end() if titled or not label["title"] else label.start("title")


def _heading(text: str) -> Iterator[Span]:
    """A first line all of whose words the text below it has too, so that it adds none.

    `Termination` above `Either party may terminate` is one, `Gold plan` above a price is none.
    """
    heading = _HEADING.match(text)
    if heading is None or len(text) - heading.end() < _LABELLED:
        return
    below = {word[:_STEM] for word in re.findall(r"[^\W\d_]+", text[heading.end() :].casefold())}
    words = re.findall(r"[^\W\d_]+", heading[1].casefold())
    if all(word[:_STEM] in below for word in words) and heading[1][0].isupper():
        yield heading.start(), heading.end(1)
