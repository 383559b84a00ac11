"""The outline of a text: what stands under which heading, in which list, in which table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ctxguard.stages._blocks import Block

__all__ = ["Outline", "Part"]


class Part(NamedTuple):
    """A sentence, an item, a table's row or a block of code, by its place in the text."""

    start: int
    end: int
    block: Block | None = None
    row: int = 0


class _Level(NamedTuple):
    """A list that is open: how its items are marked, and what leads to them."""

    style: str
    item: int
    """The piece that the current item begins with."""
    lead: int | None
    """The piece that introduces the list."""


_MARKER = re.compile(
    r"(?P<bullet>[-*+•‣◦▪●○■□·–—✓✔➢➤])[ \t]"  # noqa: RUF001 -- the bullets of the world
    r"|(?P<open>\(?)(?P<label>\d{1,3}|[A-Za-z]|[ivxlc]{2,5})(?P<close>[.)])\s"
    r"|(?P<path>\d{1,3}(?:\.\d{1,3}){1,4})\.?\s"
)
_ROMAN = frozenset(["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"])
_OPEN_END = re.compile(r"(?:[:–—-]|\b(?:and|or|that|to|by|of|if|the|shall|will|may|must),?)$")  # noqa: RUF001 -- dashes
_STOPPED = re.compile(r"[.!,;:…。！，；：]$")  # noqa: RUF001 -- full stops of the world
_NUMBERED = re.compile(
    r"(?:\d{1,3}(?:\.\d{1,3}){0,4}[.)]?|[IVXLC]{1,5}[.)]|[A-Z][.)]|§\s*\d+"
    r"|(?:article|section|chapter|part|schedule|annex|appendix|exhibit|clause)\b.{0,12})",
    re.IGNORECASE,
)
_LONGEST_TITLE = 80
_LONGEST_QUESTION = 200
_WORDS_IN_TITLE = 12


class Outline:
    """Reads the parts of a text in order; afterwards `needs`, `labels` and `prose` are known."""

    def __init__(self, text: str, parts: Sequence[Part]) -> None:
        self.text = text
        self.parts = parts
        self.needs: list[set[int]] = [set() for _ in parts]
        self.labels: set[int] = set()
        self.prose: list[int] = []
        """Parts that are sentences, headings left out."""
        self._breaks = _breaks(text, parts)
        self._heading: int | None = None
        self._title: int | None = None
        """The title that the current paragraph or clause begins with: "5.2 Termination."."""
        self._levels: list[_Level] = []
        self._table: tuple[int, ...] = ()
        """What the rows of the current table need."""

    def read(self) -> None:
        """Go through the parts once."""
        headings = self._headings() if "\n" in self.text else frozenset[int]()
        for index, part in enumerate(self.parts):
            if index in headings:
                self.labels.add(index)
                self._heading, self._title, self._levels = index, None, []
                continue
            if part.block is not None:
                self._in_block(index, part.block, part.row)
            elif self._breaks[index]:
                self._at_line(index)
            if part.block is None and index not in self.labels:
                self.prose.append(index)
            for above in (self._heading, self._title):
                if above is not None and above != index:
                    self.needs[index].add(above)

    # -- headings ---------------------------------------------------------------------------------

    def _headings(self) -> frozenset[int]:
        """Lines that name what follows; three titles in a row are rather a list of names."""
        found: set[int] = set()
        run: list[int] = []
        breaks = self._breaks
        last = len(self.parts) - 1
        for index in range(last + 1):
            alone = breaks[index] and breaks[index + 1] and index < last
            if alone and self._is_heading(index):
                run.append(index)
                continue
            if len(run) < 3:
                found.update(run)
            else:
                found.update(i for i in run if self.text.startswith("#", self.parts[i].start))
            run = []
        return frozenset(found)

    def _is_heading(self, index: int) -> bool:
        """Whether a part that is a line of its own names what follows."""
        part = self.parts[index]
        long = part.end - part.start > _LONGEST_QUESTION
        if long or part.block:
            return False
        line = self.text[part.start : part.end]
        if "\n" in line or self._is_item(index):
            return False
        if line[0] == "#" or line[-1] in "?？؟":  # noqa: RUF001 -- question marks of the world
            return True
        apart = self._lines_before(index) > 1 and self._lines_after(index) > 1
        return _is_title(line, apart=apart)

    def _is_item(self, index: int) -> bool:
        """Whether a line has a bullet, or a number like the line before or after it."""
        form = self._form(index)
        if form is None or form[0]:
            return form is not None
        return form in (self._form(index - 1), self._form(index + 1))

    def _form(self, index: int) -> tuple[bool, str | None, str | None, int] | None:
        """Bullet or not, and what stands around the number; None without a marker."""
        if not 0 <= index < len(self.parts):
            return None
        found = _marker(self.text, self.parts[index].start)
        if found is None:
            return None
        path = found["path"] or ""
        return found["bullet"] is not None, found["open"], found["close"], path.count(".")

    def _is_run_in(self, index: int) -> bool:
        """Whether a part that begins a line is the title of what goes on in that line."""
        part = self.parts[index]
        if part.end - part.start > _LONGEST_TITLE or self._lines_after(index):
            return False
        line = self.text[part.start : part.end]
        return line[-1] in ".:" and "\n" not in line and _is_title(line[:-1], apart=False)

    # -- lists ------------------------------------------------------------------------------------

    def _at_line(self, index: int) -> None:
        """A sentence that begins a line: an item, or what ends a list."""
        marker = _marker(self.text, self.parts[index].start)
        if marker is None or not marker["open"]:
            self._title = None
        if index + 1 < len(self.parts) and self._is_run_in(index):
            self.labels.add(index)
            self._title = index
        if marker is None:
            # A paragraph at the margin ends the lists; an indented one goes on with its item.
            if self._lines_before(index) > 1 and not self._indent(index):
                self._levels = []
            return
        style = self._style(index, marker)
        above = [level.style for level in self._levels]
        if style in above:
            place = above.index(style)
            lead = self._levels[place].lead
        else:
            place = self._place(index, marker)
            lead = self._lead(index, place)
        self._levels[place:] = [_Level(style, index, lead)]
        if lead is not None:
            self.needs[index].add(lead)

    def _style(self, index: int, marker: re.Match[str]) -> str:
        """What items of one list have in common: bullet and indent, or the form of the number."""
        if marker["bullet"]:
            return f"{self._indent(index)}{marker['bullet']}"
        if marker["path"]:
            return "1" + ".1" * marker["path"].count(".")
        label = marker["label"]
        if label.isdigit():
            form = "1"
        elif label.lower() in _ROMAN and not self._follows_letter(index, label):
            form = "i" if label.islower() else "I"
        else:
            form = "a" if label.islower() else "A"
        return f"{marker['open']}{form}{marker['close']}"

    def _follows_letter(self, index: int, label: str) -> bool:
        """Whether the open list is one of letters that ends just before this one: h, then i."""
        if len(label) > 1 or not self._levels or self._is_open(index - 1):
            return False
        before = _MARKER.match(self.text, self.parts[self._levels[-1].item].start)
        letter = before and before["label"]
        return bool(letter) and len(letter) == 1 and ord(letter) + 1 == ord(label)

    def _place(self, index: int, marker: re.Match[str]) -> int:
        """The depth of a new list: below the open ones, for bullets as far as they are indented."""
        place = len(self._levels)
        if marker["bullet"]:
            indent = self._indent(index)
            while place and indent < self._indent(self._levels[place - 1].item):
                place -= 1
        return place

    def _lead(self, index: int, place: int) -> int | None:
        """The piece that a new list hangs on: one that ends openly, else the item above it."""
        if self._is_open(index - 1):
            return index - 1
        return self._levels[place - 1].item if place else None

    def _is_open(self, index: int) -> bool:
        """Whether a part ends as if something had to follow: "The fees are:"."""
        if index < 0 or index in self.labels:
            return False
        part = self.parts[index]
        return _OPEN_END.search(self.text, max(part.start, part.end - 12), part.end) is not None

    # -- tables and code --------------------------------------------------------------------------

    def _in_block(self, index: int, block: Block, row: int) -> None:
        if row == 0:
            self._levels = []
            lead = self._lead(index, 0)
            self._table = () if lead is None else (lead,)
        if block.kind == "table" and row < block.header:
            self.labels.add(index)
            self._table = (*self._table, index)
        else:
            self.needs[index].update(self._table)

    # -- lines ------------------------------------------------------------------------------------

    def _lines_before(self, index: int) -> int:
        """Line breaks between the part and the one before; two where the text begins."""
        return self._breaks[index]

    def _lines_after(self, index: int) -> int:
        """Line breaks between the part and the next one; two where the text ends."""
        return self._breaks[index + 1]

    def _indent(self, index: int) -> int:
        """Characters between the start of its line and the part."""
        start = self.parts[index].start
        return start - 1 - self.text.rfind("\n", max(0, start - 200), start)


def _marker(text: str, start: int) -> re.Match[str] | None:
    """The bullet, number or letter that stands at the start of a part."""
    label = text[start + 1 : start + 6]  # a letter is one only before a full stop or a bracket
    if text[start].isalpha() and "." not in label and ")" not in label:
        return None
    return _MARKER.match(text, start)


def _breaks(text: str, parts: Sequence[Part]) -> list[int]:
    """Line breaks before each part and after the last; two where the text begins and ends."""
    if "\n" not in text:
        return [2, *[0] * (len(parts) - 1), 2]
    between = [text.count("\n", one.end, two.start) for one, two in pairwise(parts)]
    return [2, *between, 2]


def _is_title(line: str, *, apart: bool) -> bool:
    """Whether a line without a full stop reads as the name of what follows."""
    words = line.split()
    if len(line) > _LONGEST_TITLE or len(words) > _WORDS_IN_TITLE or _STOPPED.search(line):
        return False
    letters = [word for word in words if word[0].isalpha()]
    if not letters or (letters[0][0].islower() and not _NUMBERED.match(line)):
        return False
    if apart or _NUMBERED.match(line):
        return True
    return all(not word[0].islower() or len(word) < 4 for word in letters)
