"""Names of people, organisations, places and defined terms: runs of capitalised words."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ctxguard.text.facts.dates import MONTHS, read_month
from ctxguard.text.facts.vocabulary import COMMON, MODALS, NEGATIONS, REFERENCE_HEADS
from ctxguard.text.sentences import Span

__all__ = ["LEGAL_FORMS", "Name", "NameReader"]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that was read."""

    value: str
    """Its words without punctuation, legal forms unified: "ACME, Incorporated" is "Acme Inc"."""
    span: Span


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    link: str
    """What joins it to the word before: "", "of", "&", "-"."""


_GAP = r"\*{0,3}(?:[ \t\u00a0]{1,20}|[ \t]{0,8}\r?\n[ \t]{0,8})\*{0,3}"
"""Between words: spaces, a wrapped line, the stars of bold text; no blank line."""
_NEXT = re.compile(
    rf"(?:{_GAP}(?P<of>of|de|la|van|von|der|den|du|del|di|da|dos|bin){_GAP}"
    rf"(?:(?:the|la|der|den|los){_GAP})?|{_GAP}|(?P<hyphen>-)|\s?(?P<and>&)\s?)"
    r"(?P<word>[^\W\d_]\w*(?:['’][^\W\d_]+)*)"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.){2,}(?:[^\W\d_](?!\w))?")
LEGAL_FORMS = {
    "inc": "Inc", "incorporated": "Inc", "ltd": "Ltd", "limited": "Ltd", "llc": "LLC", "llp": "LLP",
    "corp": "Corp", "corporation": "Corp", "co": "Co", "company": "Co", "plc": "PLC",
    "gmbh": "GmbH", "ag": "AG", "kg": "KG", "sa": "SA", "nv": "NV", "bv": "BV", "lp": "LP",
}  # fmt: skip
"""A legal form in lower case without full stops → its name."""
_SUFFIX = re.compile(
    rf",?{_GAP}(?P<form>Inc(?:orporated)?|L\.?L\.?[CP]|Ltd|Limited|Corp(?:oration)?|Co|PLC|plc|GmbH|"
    r"AG|KG|S\.?A\.?|N\.?V\.?|B\.?V\.?|L\.?P\.?)\b\.?",
)
_DOTTED = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "rev", "hon", "gov", "gen", "col", "capt")
)
_POSSESSIVE = re.compile(r"['’][sS]?$")
_ABSTRACT = re.compile(r"(?!clement)\w{3,}(?:tion|sion|ment|ability|ibility)s?")
"""Nouns that are nobody's name: "Termination", "Payments"."""
_LETTERS = re.compile(r"[^\W\d_]+")
_STARTS_AFTER = frozenset(".!?:;…。！？|#>")
_MARKERS = frozenset("-–—*+•◦▪‣●")
_SKIPPED = frozenset(" \t\u00a0\"'“”‘’«»([{_`") | _MARKERS


class NameReader:
    """Reads the names of one text; looks further around only where a capital may mean nothing.

    The first word of a sentence, the words of a heading and capitals among capitals are names
    unless they are common words, abstract nouns, or also in the text in lower case. A first word
    that is none of these may be no name; that costs a difference, and a missed name costs a fact.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, start: int, end: int) -> tuple[tuple[Name, ...], int]:
        """The names in the run of capitalised words that begins with the word `start` to `end`.

        Returns:
            The names (none when every word of the run is an ordinary one), and the end of the run.
        """
        words = self._run(start, end)
        groups: list[list[_Word]] = [[]]
        for word in words:
            if self._is_ordinary(word, first=word is words[0]):
                groups.append([])
            else:
                groups[-1].append(word)
        return tuple(_name(group) for group in groups if group), words[-1].end

    def starts_sentence(self, start: int) -> bool:
        """Whether a word at `start` owes a capital to its place: after a full stop, in a list."""
        text = self._text
        index = start - 1
        lines = 0
        is_item = False
        while index >= 0 and (text[index] in _SKIPPED or text[index] in "\r\n"):
            lines += text[index] == "\n"
            is_item = is_item or (lines == 0 and text[index] in _MARKERS)
            index -= 1
        if index < 0 or lines > 1 or text[index] in _STARTS_AFTER:
            return True
        if lines:
            return is_item or self._is_heading(index)
        return text[index] == ")" and index > 0 and text[index - 1].isdigit()  # "1) Foo"

    def _run(self, start: int, end: int) -> list[_Word]:
        text = self._text
        if initials := _INITIALS.match(text, start):
            end = initials.end()
        words = [_Word(text[start:end], start, end, "")]
        words.extend(self._following(words[0]))
        return words

    def _following(self, word: _Word) -> Iterator[_Word]:
        text = self._text
        while True:
            after = word.end
            if text.startswith(".", after) and (
                len(word.text) == 1 or word.text.lower() in _DOTTED
            ):
                after += 1
            if suffix := _SUFFIX.match(text, word.end):
                word = _Word(suffix["form"], suffix.start("form"), suffix.end(), "")
                yield word
                continue
            match = _NEXT.match(text, after)
            if match is None or not _continues(match["word"]):
                return
            if match["word"].lower() in MONTHS and read_month(text, match.start("word")):
                return  # "in Exhibit A. September 30, 1997"
            link = match["hyphen"] or match["and"] or match["of"] or ""
            word = _Word(match["word"], match.start("word"), match.end(), link)
            yield word

    def _is_ordinary(self, word: _Word, *, first: bool) -> bool:
        """Whether a word owes its capital to its place, and stands in lower case elsewhere."""
        lower = _bare(word.text).lower()
        if lower not in self._lower_words and _ABSTRACT.fullmatch(lower) is None:
            return False
        if self.is_acronym(word.start, word.end):
            return False
        return (
            (first and self.starts_sentence(word.start))
            or (word.text.isupper() and self._among_capitals(word.start, word.end))
            or self._is_heading(word.start)
        )

    def is_acronym(self, start: int, end: int) -> bool:
        """Whether a word of capitals is no ordinary word in a text of capitals: "US", not "us"."""
        is_upper = 1 < end - start < 6 and self._text[start:end].isupper()
        return is_upper and not self._among_capitals(start, end)

    def _among_capitals(self, start: int, end: int) -> bool:
        text = self._text
        sides = text[max(0, start - 15) : start], text[end : end + 15]
        return any(sum(map(str.isupper, side)) > sum(map(str.islower, side)) for side in sides)

    def _is_heading(self, index: int) -> bool:
        """Whether the line around `index` reads as a heading, and is no part of a paragraph."""
        text = self._text
        begin = max(text.rfind("\n", max(0, index - 90), index) + 1, index - 90, 0)
        end = text.find("\n", index, index + 90)
        if end < 0:
            end = min(len(text), index + 90)
            if end < len(text) or "\n" not in text:
                return False
        line = text[begin:end].strip()
        if line.startswith("#"):
            return True
        if not line or len(line) > 80 or line[-1] in ".!?,;":
            return False
        before = text[max(0, begin - 20) : begin].rstrip(" \t")
        if before.strip() and not before.endswith("\n\n") and before.rstrip()[-1] not in ".!?:;":
            return False
        return all(word[0].isupper() or len(word) < 4 for word in line.split() if word[0].isalpha())

    @cached_property
    def _lower_words(self) -> frozenset[str]:
        """The words of the text; a capitalised word is never equal to one of them in lower case."""
        return frozenset(_LETTERS.findall(self._text))


def _continues(word: str) -> bool:
    """Whether a run goes on with this word; "Vitamin A", "World War I" do, "Acme The" does not."""
    lower = word.lower()
    if len(word) == 1:
        return word.isupper()
    return (
        word[0].isupper()
        and lower not in COMMON
        and lower not in NEGATIONS
        and lower not in MODALS
        and lower not in REFERENCE_HEADS
        and not any(map(str.isdigit, word))
    )


def _bare(word: str) -> str:
    return word if word.isalpha() else _POSSESSIVE.sub("", word).replace(".", "")


def _name(words: list[_Word]) -> Name:
    parts: list[str] = []
    for index, word in enumerate(words):
        if index and word.link:
            parts.append(word.link)
        bare = _bare(word.text)
        form = LEGAL_FORMS.get(bare.lower()) if index else None
        is_shouted = len(bare) > 3 and bare.isupper()
        parts.append(form or (bare.capitalize() if is_shouted else bare))
    end = words[-1].end
    return Name(" ".join(parts), (words[0].start, end))
