"""A text as the comparison sees it: words, where sentences and lines start, how it ends."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._markup import without_markup
from ctxguard.stages._shingles import Shingles, shingles_of
from ctxguard.stages._spelling import respelled
from ctxguard.text.analysis import Analysis, Analyzer
from ctxguard.text.words import Words, split_joints, without_asides, words_of
from ctxguard.types import Span

__all__ = ["CUTTING", "PROBE", "Shared", "TextView"]

CUTTING = 12
"""Words from which on a text may pass for a cutting of a longer one: 'Notice: 30 days' may be a
version of its own of 'Notice: 30 days for tenants'."""
PROBE = 32
"""Characters that have to agree before the overlap of two windows is measured."""
_LONG_SENTENCE = 25
"""Words of a sentence that nobody leaves without a full stop. Labels and offers are shorter."""
_GOES_ON = ("...", "\u2026", ",")
"""Ends that announce more."""

_TERMINATORS = ".!?;:\u2026\u3002\uff01\uff1f\uff1b\uff1a\u061f\u06d4\u0964"
"""Full stops and their like, Latin, Chinese, Arabic, Urdu and Devanagari."""
_CLOSERS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\"'\u2019\u201d»)]*_`"
"""Whitespace, and what stands behind a full stop."""
_FULL_STOPS = tuple(".!?\u3002\uff01\uff1f\u061f\u06d4\u0964")
_ELSEWHERE = re.compile(r"[<&]|-[ \t]*\r?\n")
_IS_INK = bytes(not chr(code).isspace() for code in range(256))
_RUN = re.compile(r"\S+")
_WHITESPACE = bytes(code for code in range(128) if chr(code).isspace())
_AROUND = 4 * 4
"""Bytes of two words before and two after a place."""
_PARAGRAPH = 200
"""Characters before a place that tell whether a sentence ends there."""
_HEADING = re.compile(r"[#*_ \t]*[^\W_a-z]\S*(?:[ \t]+\S+){0,9}(?<=[^\W_])")
"""Up to ten words on a line of their own, the first one capitalised, no mark at the end."""
_NUMBER_ONLY = re.compile(r"\s*\(?\w{1,4}\.")
_ITEM = re.compile(r"[ \t]*(?:[-*+•◦‣▪·\u2013\u2014|]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])\s")


class Shared:
    """What the texts of one call share: an analyzer, the shingle size, numbers for words."""

    def __init__(self, analyzer: Analyzer, shingle: int) -> None:
        self.analyzer = analyzer
        self.shingle = shingle
        self._ids: defaultdict[str, int] = defaultdict(count().__next__)
        self._marks: dict[str, tuple[int, ...]] = {}

    def ids(self, keys: list[str]) -> NDArray[np.int32]:
        """An id for each word, equal for equal words; shape `(words,)`."""
        return np.fromiter(map(self._ids.__getitem__, keys), dtype=np.int32, count=len(keys))

    def marks(self, text: str) -> tuple[int, ...]:
        """See `TextView.marks`; the same for all views of a text."""
        if text not in self._marks:
            sentences = (start for start, _ in self.analyzer.analyse(text).sentences)
            self._marks[text] = tuple(sorted({0, *sentences, *_meant_lines(text)}))
        return self._marks[text]


class TextView:
    """One text under comparison; everything about it is computed when first asked for."""

    def __init__(
        self,
        text: str,
        shared: Shared,
        *,
        words: Words | None = None,
        marks: tuple[int, ...] | None = None,
    ) -> None:
        self.text = text
        self.shared = shared
        self.is_respelled = False
        if words is not None:
            self.words = words
        if marks is not None:
            self.marks = marks

    @cached_property
    def analysis(self) -> Analysis:
        """Tokens and sentences of the text."""
        return self.shared.analyzer.analyse(self.text)

    @cached_property
    def shingles(self) -> Shingles:
        """What tells how much of it another text has."""
        return shingles_of(self.hashes, self.shared.shingle)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """A hash of each plain word, which candidates are found by; shape `(plain words,)`."""
        return self.shared.analyzer.words_of([self.text])[0].hashes

    @property
    def word_spans(self) -> NDArray[np.int32]:
        """Characters of each word of `hashes`; shape `(plain words, 2)`."""
        return self.analysis.words.spans

    @cached_property
    def vocabulary(self) -> NDArray[np.uint64]:
        """The distinct `hashes`, ascending; shape `(distinct words,)`."""
        return np.unique(self.hashes)

    @cached_property
    def is_plain(self) -> bool:
        """Whether nothing in it changes what a word is: markup, a hyphen at a line's end."""
        return self.text.isascii() and _ELSEWHERE.search(self.text) is None

    @property
    def is_hashed(self) -> bool:
        """Whether `hashes` is known."""
        return "hashes" in self.__dict__

    @cached_property
    def head(self) -> str:
        """The first characters of `spaced`."""
        return self.spaced[:PROBE]

    @cached_property
    def words(self) -> Words:
        """Its content words."""
        return words_of(self.text)

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        """A number for each content word; shape `(words,)`."""
        return self.shared.ids(self.words.keys)

    @cached_property
    def code(self) -> bytes:
        """The `ids` as bytes, four for each word: runs of words are found at the speed of C."""
        return self.ids.tobytes()

    @cached_property
    def known(self) -> frozenset[str]:
        """The distinct content words."""
        return frozenset(self.words.keys)

    @cached_property
    def spaced(self) -> str:
        """The text with one space for every run of whitespace, none at its ends."""
        return " ".join(self.text.split())

    @cached_property
    def spaced_words(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where the runs without space end in `spaced`, and in the text; shapes `(runs,)`."""
        if self.text.isascii():
            raw = f" {self.text} ".encode().translate(_IS_INK)
            ink = np.frombuffer(raw, dtype=np.bool_)
            edges = np.flatnonzero(ink[1:] != ink[:-1])
            starts, ends = edges[::2], edges[1::2]
        else:
            spans = [match.span() for match in _RUN.finditer(self.text)]
            starts, ends = np.array(spans, dtype=np.intp).reshape(-1, 2).T
        return np.cumsum(ends - starts + 1) - 1, ends

    @cached_property
    def same(self) -> str:
        """Equal for texts that are the same but for whitespace."""
        # Between two tabs stands an empty cell, which the normal form keeps.
        return self.analysis.normalised if "\t" in self.text else self.spaced

    @cached_property
    def solid(self) -> bytes:
        """`same` without whitespace, to find the few texts for which that is worth making.

        2 µs for 1,000 characters, where `spaced` takes 7.
        """
        if self.text.isascii() and "\t" not in self.text:
            return self.text.encode().translate(None, _WHITESPACE)
        return self.same.replace(" ", "").encode("utf-8", "surrogatepass")

    @cached_property
    def marks(self) -> tuple[int, ...]:
        """Characters at which a sentence or a line that was meant as one starts, ascending."""
        return self.shared.marks(self.text)

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """The `marks` at which the text may be cut in two: after a full stop or a heading.

        What follows 'You shall not:' would say something else without it.
        """
        return tuple(mark for mark in self.marks if _may_cut(self.text, mark))

    @cached_property
    def breaks(self) -> tuple[int, ...]:
        """Indexes of the words at `marks`, and the number of words; ascending."""
        places = {self.words.index_at(mark) for mark in self.marks}
        return tuple(sorted({0, *places, len(self.words)}))

    @cached_property
    def ranges(self) -> tuple[Span, ...]:
        """Sentences (or lines) as ranges of words: `(first, past the last)`."""
        return tuple(zip(self.breaks, self.breaks[1:], strict=False))

    @cached_property
    def range_keys(self) -> tuple[bytes, ...]:
        """What each of the `ranges` says, for comparison."""
        return tuple(self.code[4 * start : 4 * end] for start, end in self.ranges)

    @cached_property
    def is_open(self) -> bool:
        """Whether it ends as a text does that was cut off."""
        return self._end.endswith(_GOES_ON) or not self._end.endswith(tuple(_TERMINATORS))

    @cached_property
    def is_cut_before(self) -> bool:
        """Whether its first sentence lacks its start: in lower case, in a text with capitals."""
        return (
            len(self.words) >= CUTTING
            and self.words.raw(0)[:1].islower()
            and self.text != self.text.lower()
        )

    @cached_property
    def is_cut_after(self) -> bool:
        """Whether its last sentence lacks its end, to judge by the text alone."""
        if not self.may_be_cut_after:
            return False
        last = len(self.words) - self.breaks[-2]
        several = len(self.ranges) > 1
        return several or last >= _LONG_SENTENCE or self._end.endswith(_GOES_ON)

    @cached_property
    def may_be_cut_after(self) -> bool:
        """Whether its last sentence has no full stop, and this may mean something."""
        return len(self.words) >= CUTTING and self.is_open and not self.is_list

    @cached_property
    def _end(self) -> str:
        """The last characters, without quotes and brackets."""
        return self.text[-_PARAGRAPH:].rstrip(_CLOSERS)

    @cached_property
    def is_list(self) -> bool:
        """Whether its sentences or lines mostly have no full stop, so that none is missing.

        Lines as long as sentences are prose that a page's end or a blank line divides.
        """
        ends = [self.is_closed(index) for index in self.breaks[1:-1]]
        if not ends or 2 * sum(ends) > len(ends):
            return False
        unclosed = [
            end - start
            for (start, end), closed in zip(self.ranges, ends, strict=False)
            if not closed
        ]
        return sum(unclosed) < CUTTING * len(unclosed)

    def against(self, other: TextView) -> TextView:
        """This view with words hyphenated at a line's end read as the other text has them."""
        return self._with(split_joints(self.words, other.known))

    @cached_property
    def bare(self) -> TextView:
        """This view without the numbers of lists, sections and pages; itself without any."""
        return self._with(without_asides(self.words))

    @cached_property
    def shown(self) -> TextView:
        """This view without HTML; itself where there is none."""
        return self._with(without_markup(self.words))

    @cached_property
    def meant(self) -> TextView:
        """This view with one spelling for what has several; itself where nothing has."""
        view = self._with(respelled(self.words))
        if view is not self:
            view.is_respelled = True
        return view

    def _with(self, words: Words) -> TextView:
        return self if words is self.words else TextView(self.text, self.shared, words=words)

    def split_like(self, other: TextView) -> TextView:
        """This view with a sentence's start wherever the other has one between the same words.

        "at 2.84 . The" may be one sentence of this text and "at 2.84. The" two of the other.
        """
        known = {other.around(index) for index in other.breaks[1:-1]}
        starts = set(self.breaks)
        added = [
            self.words.spans[index][0]
            for around in known
            for index in self._places_of(around)
            if index not in starts
        ]
        if not added:
            return self
        marks = tuple(sorted({*self.marks, *added}))
        return TextView(self.text, self.shared, words=self.words, marks=marks)

    def around(self, index: int) -> bytes:
        """The two words before a place between words and the two after it, blank at the ends."""
        return self.code[4 * (index - 2) : 4 * (index + 2)] if index >= 2 else b""

    def _places_of(self, around: bytes) -> Iterator[int]:
        """The places between words with these two before and these two after."""
        place = self.code.find(around) if len(around) == _AROUND else -1
        while place >= 0:
            if place % 4 == 0:
                yield place // 4 + 2
            place = self.code.find(around, place + 1)

    def is_break(self, index: int) -> bool:
        """Whether a sentence or a meant line starts at this word, or the text ends before it."""
        place = bisect_left(self.breaks, index)
        return place < len(self.breaks) and self.breaks[place] == index

    def mark_at(self, index: int) -> int:
        """The character at which the sentence or line that starts with this word starts."""
        if index >= len(self.words):
            return len(self.text)
        place = bisect_left(self.marks, self.words.spans[index][0] + 1) - 1
        return self.marks[place]

    def is_item(self, index: int) -> bool:
        """Whether the line of this word is an item of a list or a row of a table."""
        start = self.words.spans[index][0]
        line = self.text.rfind("\n", 0, start) + 1
        return _ITEM.match(self.text, line) is not None

    def follows_blank_line(self, index: int) -> bool:
        """Whether a blank line, or nothing, stands before the word's line."""
        before, after = self.words.span(index, index)
        return index == 0 or self.text.count("\n", before, after) > 1

    def is_closed(self, index: int) -> bool:
        """Whether a full stop (or its like) stands before the word."""
        before, after = self.words.span(index, index)
        return any(mark in _TERMINATORS for mark in self.text[max(0, before - 1) : after])

    def is_closed_after(self, index: int) -> bool:
        """Whether the sentence or line that starts with this word ends with a full stop."""
        return self.is_closed(self.breaks[bisect_left(self.breaks, index + 1)])


def _may_cut(text: str, place: int) -> bool:
    """Whether a sentence (and not just a list's number) or a heading ends before a character."""
    window = text[max(0, place - _PARAGRAPH) : place]
    before = window.rstrip(_CLOSERS)
    above, _, line = before.rpartition("\n")
    if before.endswith(_FULL_STOPS):
        return not _NUMBER_ONLY.fullmatch(line)
    first = text[place : place + 3].lstrip("\"'\u201c\u2018\u00ab(")[:1]
    return (
        "\n" in window[len(before) :]
        and _HEADING.fullmatch(line) is not None
        and first.isalpha()
        and not first.islower()
        and (not above.strip(" \t\r") or above.rstrip(" \t\r").endswith("\n"))
    )


def _meant_lines(text: str) -> list[int]:
    """Where lines start that no line wrapping explains.

    A wrapped line ends because the next word would not have fitted the longest line; a heading, a
    list item or a paragraph ends although it would have.
    """
    lines = text.split("\n")
    if len(lines) == 1:
        return []
    longest = max(map(len, lines))
    starts: list[int] = []
    place = 0
    previous = ""
    for line in lines:
        bare = line.lstrip()
        if bare and place:
            before = previous.rstrip()
            word = bare.split(None, 1)[0]
            fits = len(before) + 1 + len(word) <= longest
            if not before or (fits and before[-1] != ","):
                starts.append(place + len(line) - len(bare))
        place += len(line) + 1
        previous = line
    return starts
