"""Sentences as spans of characters, by rules that need no model and no data.

Lines first: a heading, a list item, a table row, a line of a fenced code block and a `key: value`
line among others begin a unit of their own, a blank line ends one, any other line break is a wrap.
Then the full stops within a unit. In doubt two sentences stay together: a sentence cut in the
middle loses its meaning, one that is too long only costs tokens.
"""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

__all__ = ["Span", "split_sentences"]

Span: TypeAlias = tuple[int, int]
"""Characters `(start, end)`, end exclusive."""


def split_sentences(text: str) -> tuple[Span, ...]:
    """The sentences of a text, in order.

    Spans do not overlap, begin and end with a non-whitespace character, and together cover every
    non-whitespace character. Takes time linear in the length of the text.

    Returns:
        Spans of characters. List items, table rows, headings and lines of code count as sentences;
        an item that holds several sentences gives several, its marker stays with the first.
    """
    spans: list[Span] = []
    stop = _stops_of(text)
    for start, end, is_prose in _units(text):
        if is_prose:
            spans.extend(_sentences(text, start, end, stop))
        else:
            spans.append((start, end))
    return tuple(spans)


# -- units: lines that belong together ------------------------------------------------------------

_BLANK, _WRAP, _STARTS, _ALONE = range(4)
"""What a line is: nothing, the continuation of the line before, the first line of a unit, or a unit
whose full stops do not count."""

_Unit: TypeAlias = tuple[int, int, bool]


def _units(text: str) -> Iterator[_Unit]:
    """Units in order: start, end, and whether it is prose, which full stops may divide."""
    starts: list[int] = []
    lines: list[str] = []
    position = 0
    for raw in text.splitlines(keepends=True):
        bare = raw.lstrip()
        position += len(raw)
        lines.append(bare.rstrip())
        starts.append(position - len(bare))
    begin = end = -1
    for start, line, kind in zip(starts, lines, _kinds(lines), strict=True):
        if kind != _WRAP and begin >= 0:
            yield begin, end, True
            begin = -1
        if kind == _ALONE:
            yield start, start + len(line), False
        elif kind != _BLANK:
            begin = start if begin < 0 else begin
            end = start + len(line)
    if begin >= 0:
        yield begin, end, True


# Which patterns a line can match shows in its first character: most lines are tried with none.
_FENCES = "`~"
_RULES = "#-=_*~+|: "
_FENCE = re.compile(r"`{3,}|~{3,}")
_HEADING = re.compile(r"#{1,6}\s|[-=_*~+|: ]{3,}$")
_BULLET = re.compile(r"[-*+•‣◦▪●○■□·✓✔➢➤]\s")
_MARKER = re.compile(
    r"\(?(?P<label>\d{1,3}|[A-Za-z]|[ivxlcIVXLC]{2,5})[.)]\s+(?=(?P<next>\S))"
    r"|(?:\d{1,3}(?:\.\d{1,3}){1,4}\.?|[–—])\s+(?=(?P<after>\S))"
)
_PAIR = re.compile(r"[\"'*]{0,2}[^\W_][^:.!?;|]{0,40}[\"'*]{0,2}:(?:\s|$)")
_STOPPED = re.compile(r"[.!?…:;。！？؟।॥][\"'”’»)\]*_]{0,4}$")
_REFERENCE = re.compile(
    r"\b(?:section|sec|article|art|clause|paragraph|para|number|no|page|p|chapter|part|item|figure|"
    r"fig|table|schedule|annex|appendix|exhibit|rule|step|version)s?\.?$|[§,&(=+/-]$"
    r"|\b(?:and|or|to|of|in|by|than|the|with|from|for|at|least|most|about|is|are|was|were|be)$",
    re.IGNORECASE,
)
_LIST_AND = re.compile(r"[;,:]\s*(?:and|or|and/or)$", re.IGNORECASE)


def _kinds(lines: list[str]) -> Iterator[int]:
    """The kind of every line; lines are stripped."""
    fence = ""
    previous = ""
    was_pair = False
    item: re.Match[str] | None = None  # the marker that the open unit began with
    for index, line in enumerate(lines):
        if not line:
            kind = _BLANK
        elif fence or (line[0] in _FENCES and _FENCE.match(line)):
            fence = _fence_after(fence, line)
            kind = _ALONE
        else:
            kind = _kind(line, previous, item)
        is_pair = kind in (_WRAP, _STARTS) and ":" in line and _PAIR.match(line) is not None
        if kind == _WRAP and (
            not previous
            or (is_pair and (was_pair or _is_pair_at(lines, index + 1)))
            or _is_title(previous, line)
        ):
            kind = _STARTS
        yield kind
        if kind == _STARTS:
            item = _marker(line)
        previous = line if kind in (_WRAP, _STARTS) else ""
        was_pair = is_pair


def _fence_after(fence: str, line: str) -> str:
    """The fence that is open after this line: the one before, a new one, or none."""
    match = _FENCE.match(line)
    if not fence:
        return match.group() if match else ""
    closes = match is not None and match.group() == line and line.startswith(fence)
    return "" if closes else fence


def _kind(line: str, previous: str, item: re.Match[str] | None) -> int:
    """The kind of a line outside code, as far as the lines before decide it."""
    first = line[0]
    if (first in _RULES and _HEADING.match(line)) or first == "|":
        return _ALONE
    if line.count("|") > 1 or line.count("\t") > 1:
        return _ALONE
    if not first.isalnum() and _BULLET.match(line):
        return _STARTS
    marker = _marker(line)
    return _STARTS if marker and _is_item(line, marker, previous, item) else _WRAP


def _marker(line: str) -> re.Match[str] | None:
    """The number or letter that a line begins with."""
    label = line[1:6]  # a letter is one only before a full stop or a bracket: most lines have none
    if line[0].isalpha() and "." not in label and ")" not in label:
        return None
    return _MARKER.match(line)


def _is_item(line: str, marker: re.Match[str], previous: str, item: re.Match[str] | None) -> bool:
    """Whether a line with a marker begins an item, and is not the rest of a reference.

    "as set out in Section⏎4.2 of the Agreement" is a wrap, "and⏎(b) the Buyer" is a new item.
    """
    if not previous or line[0] == "(" or (item and _continues_list(item, marker, previous)):
        return True
    if _REFERENCE.search(previous[-20:]):
        return False
    follows = item is not None or _STOPPED.search(previous[-8:]) is not None
    return follows or not (marker["next"] or marker["after"]).islower()


def _continues_list(item: re.Match[str], marker: re.Match[str], previous: str) -> bool:
    """Whether a marker is the next one of a list: 2 after 1, c after b, or after "; and"."""
    before, label = item["label"], marker["label"]
    if before and label:
        if before.isdigit() and label.isdigit():
            return int(label) == int(before) + 1
        if len(before) == len(label) == 1:
            return ord(label) == ord(before) + 1
    return _LIST_AND.search(previous[-12:]) is not None


def _is_pair_at(lines: list[str], index: int) -> bool:
    return index < len(lines) and _PAIR.match(lines[index]) is not None


def _is_title(line: str, following: str) -> bool:
    """Whether a line without a full stop reads as the title of what follows."""
    if len(line) > 60 or _STOPPED.search(line) or line[-1] == "," or not following[0].isupper():
        return False
    return all(word[0].isupper() or (len(word) < 4 and word.islower()) for word in line.split())


# -- full stops -----------------------------------------------------------------------------------

# Runs are taken whole and judged afterwards: a pattern that demanded what follows would scan a
# long run of dots again from each of its characters.
_BEHIND = r"[\"'”’»)\]*_]*(?:[ ]?\[\d{1,3}\](?!\w))*"
_STOPS = (
    rf"[.!?…]+{_BEHIND}",
    r"[。！？｡]+[」』”’）】》〉\"')\]]*",
    r"[؟۔।॥།።։။។]+[\"'”’»)\]]*",  # Arabic, Urdu, Devanagari, Ethiopic, Armenian, Burmese, Khmer
)
_STOP = re.compile("|".join(_STOPS))
_LATIN_STOP = re.compile(_STOPS[0])
"""Begins with one class, which `re` looks for five times faster than for one of three."""
_DOT = re.compile(rf"\.\.*{_BEHIND}")
"""Begins with one character, ten times faster again; for texts without the other marks."""
_OTHER_STOP = re.compile("[。！？｡؟۔।॥།።։။។]")
_NEXT = re.compile(r"\s+[\"'“‘«(\[{*_¿¡-]*")
_WORD = re.compile(r"[^\W\d_]+")
_ROMAN_OR_LETTER = re.compile(r"(?:[IVXLC]{1,5}|[A-Z])\b")
_LABEL = re.compile(
    r"\(?(?:(?:section|sec\.|article|art\.|clause|part|chapter|schedule|annex|appendix|exhibit|rule|"
    r"step|item|paragraph|question|§)\s*)?(?:\d{1,3}(?:\.\d{1,3}){0,4}|[a-z]|[ivxlc]{1,6})\)?",
    re.IGNORECASE,
)
_LONGEST_LABEL = 24
"""Characters within which a sentence may be a label only: "Section 4.2"."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_TITLES = _words("mr mrs ms mx dr prof messrs rev hon sen gov capt sgt lt cmdr maj st mme mlle hr")
_VOWELS = frozenset("aeiouyAEIOUY")
_INNER = _words(
    "e.g i.e viz cf c.f vs approx ca incl excl esp resp aka p.ex z.b d.h u.a bzw vgl ggf gem"
)
"""Never the end of a sentence."""
_NUMBERED = _words(
    "no nos nr sec secs sect art arts fig figs eq eqs vol vols ch chap cl para paras p pp pt ref",
    "refs reg regs app ann sched ex exh tel ext abs ziff kap rn núm pág col ed op lit jan feb mar",
    "apr jun jul aug sep sept oct nov dec",
)
"""Not the end of a sentence before a number, a letter or a Roman numeral."""
_MAY_END = _words(
    "inc ltd co corp plc gmbh llc llp bros jr sr esq etc al eds dept univ assn u.s u.k u.n e.u a.m",
    "p.m ph.d ave blvd rd est min max avg hrs hr yr yrs lb lbs oz jan feb mar apr jun jul aug sep",
    "sept oct nov dec mon tue tues wed thu thur thurs fri sat sun usw n.v s.a b.v l.p",
)
"""The end of a sentence only before a word that often begins one."""
_SHORTENED = _TITLES | _INNER | _NUMBERED | _MAY_END
_MONTHS = _words(
    "january february march april may june july august september october november december",
    "januar februar märz april mai juni juli august september oktober november dezember",
)
"""Follow a day with a full stop: "3. Mai"."""
_OPENERS = _words(
    "the a an this that these those it he she they we you i in on at by for from if when where",
    "while as after before however but and or no there each every all any such unless upon under",
    "to with its their our his her both neither either what who which how why then thus therefore",
    "moreover furthermore also although because since until once subject notwithstanding except",
    "not nothing please see yes during without within some many most one two",
    "der die das er sie es wir ein eine le la les il elle un une el los las",
)
"""Words that begin a sentence far more often than a name that follows an abbreviation."""


def _stops_of(text: str) -> re.Pattern[str]:
    """The fastest pattern that finds what may end the sentences of a text."""
    if not text.isascii() and _OTHER_STOP.search(text):
        return _STOP
    return _LATIN_STOP if "?" in text or "!" in text or "…" in text else _DOT


def _sentences(text: str, start: int, end: int, stops: re.Pattern[str]) -> Iterator[Span]:
    begin = start
    for stop in stops.finditer(text, start, end):
        after = stop.end()
        if after < end and (
            _divides_plainly(text, begin, stop.start(), after) or _divides(text, begin, end, stop)
        ):
            yield begin, after
            begin = after
            while text[begin].isspace():  # ends: the last character of a unit is no whitespace
                begin += 1
    yield begin, end


def _divides_plainly(text: str, begin: int, dot: int, after: int) -> bool:
    """Whether a full stop stands between a word that is no abbreviation and a capital.

    Nine of ten do, and what `_divides` would find out about them is known at once.
    """
    if after - dot > 1 or text[dot] != "." or dot - begin < _LONGEST_LABEL or text[after] != " ":
        return False
    word = text[text.rfind(" ", begin, dot) + 1 : dot]
    if not word.isalpha() or not text[after + 1].isupper() or word.lower() in _SHORTENED:
        return False
    return len(word) > 5 or (len(word) > 1 and not _VOWELS.isdisjoint(word))


def _divides(text: str, begin: int, end: int, stop: re.Match[str]) -> bool:
    """Whether a sentence ends at this full stop; `begin` is where the sentence began."""
    after = stop.end()
    mark = text[stop.start()]
    if mark not in ".!?…":
        return True
    if not text[after].isspace():
        return mark in "!?" and _is_cjk(text[after])
    place = after + 1
    if place < end and not text[place].isalnum():  # else there is nothing to skip
        gap = _NEXT.match(text, after, end)
        place = gap.end() if gap else place
    following = text[place] if place < end else "-"
    if following.islower():
        return False
    if mark in "!?":
        return True
    if mark == "…" or text.startswith("..", stop.start()):
        return not following.isdigit()
    return _ends_after(text, begin, stop, place)


def _ends_after(text: str, begin: int, stop: re.Match[str], following: int) -> bool:
    """Whether a single full stop ends a sentence, rather than an abbreviation or a number."""
    dot = stop.start()
    if dot - begin < _LONGEST_LABEL and _LABEL.fullmatch(text, begin, dot):
        return False  # "4.2. The Supplier", "Article V. Term", "a. First"
    window = text[max(begin, dot - 40) : dot]
    word = "" if not window or window[-1].isspace() else window.split()[-1]
    token = word.lstrip("\"'“‘«([{*_").rstrip("\"'”’»)]*_")
    key = token.lower()
    next_is_number = following < len(text) and (text[following].isdigit() or text[following] == "§")
    if key in _TITLES or key in _INNER:
        return False
    if key in _NUMBERED and (next_is_number or _ROMAN_OR_LETTER.match(text, following)):
        return False
    if next_is_number:
        return stop.end() > dot + 1 or _ends_before_number(token)
    word_after = _WORD.match(text, following, following + 30)
    if key in _MAY_END or _looks_abbreviated(token):
        return word_after is not None and word_after.group().lower() in _OPENERS
    is_day = token.isdigit() and len(token) < 3
    return not (is_day and word_after is not None and word_after.group().lower() in _MONTHS)


def _ends_before_number(token: str) -> bool:
    """Whether what a full stop follows is a whole word: "30 days. 60 …", not "Ziff. 60"."""
    if not token or token.lower() in _MAY_END:
        return False
    if token[0].isdigit():
        return len(token) > 2
    is_word = token.isalpha() and not _looks_abbreviated(token)
    return is_word and len(token) >= (4 if token[0].islower() else 6)


def _looks_abbreviated(token: str) -> bool:
    """Initials ("J", "U.S"), and short words without a vowel ("Bldg", "Pvt")."""
    letters = token.replace(".", "")
    if not letters.isalpha() or not letters.isascii():
        return False
    if len(letters) != len(token):
        return all(len(part) <= 3 for part in token.split("."))
    return len(token) == 1 or (len(token) <= 5 and _VOWELS.isdisjoint(token))


def _is_cjk(character: str) -> bool:
    return "\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3"
