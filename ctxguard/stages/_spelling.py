"""Words that are spelled in several ways: figures by value, contractions in full, & as `and`.

`thirty (30) days`, `30 days` and `thirty calendar days` become one and the same word, and no
other: `60 days`, `30 business days` and `one month` are words of their own. What is ambiguous
stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias, TypeVar

from ctxguard.text.facts import begins_figure, figures_at
from ctxguard.text.words import Words
from ctxguard.types import Span

__all__ = ["is_figure", "is_respellable", "respelled"]

T = TypeVar("T")
_Change: TypeAlias = tuple[Sequence[str], Sequence[Span], int]
"""Words, their spans, and the word after what they stand for."""

_KEYS = 1 << 14
"""Words of which is remembered what they may begin, about 2 MB."""
_FIGURE, _CONTRACTION = 1, 2
_SPLIT: Mapping[str, tuple[str, str]] = {
    "cannot": ("can", "not"),
    "can't": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
    "i'm": ("i", "am"),
}
_ENDINGS = (("n't", "not"), ("'ll", "will"), ("'re", "are"), ("'ve", "have"))
"""Endings that stand for one word. 's and 'd may stand for two."""
_ORDINAL_DAY = re.compile(r"\d{1,2}(?:st|nd|rd|th)\b")
_APART = re.compile(r"\d\s+\d")
"""Digits with a space between: `1 000` may be one number or two."""
_WRITTEN = frozenset({"number", "quantity", "duration", "amount", "percentage"})
_OTHER = frozenset(
    [
        "percent",
        "per",
        "cent",
        "pct",
        "dollars",
        "dollar",
        "cents",
        "euros",
        "euro",
        "pounds",
        "million",
        "billion",
        "thousand",
        "hundred",
        "and",
        "the",
        "of",
        "day",
        "days",
        "month",
        "months",
        "year",
        "years",
        "week",
        "weeks",
        "hour",
        "hours",
        "calendar",
        "not",
        "us",
        "u",
        "s",
        "usd",
        "basis",
        "points",
        "point",
        "am",
        "pm",
        "a",
        "p",
        "m",
        "is",
        "are",
        "have",
        "will",
    ]
)
"""Words inside a figure or a contraction that begin none."""


def is_figure(key: str) -> bool:
    """Whether a word of `respelled` stands for a figure: no other word has a space."""
    return " " in key


@lru_cache(maxsize=_KEYS)
def is_respellable(key: str) -> bool:
    """Whether a text that lacks this word may say the same with another."""
    return not key.isalpha() or key in _OTHER or key == "cannot" or begins_figure(key)


def respelled(words: Words) -> Words:
    """Words with one spelling for what has several; the same object where nothing has.

    A figure is one word with the span of all its words. Costs about 5 µs for each word that may
    begin one; the others are copied in runs.
    """
    kinds = list(map(_kind, words.keys))
    contracted = [place for place, kind in enumerate(kinds) if kind & _CONTRACTION]
    taken = dict(_figures(words, kinds)) if any(kinds) else {}
    if not taken and not contracted:
        return words
    changed: dict[int, _Change] = {
        place: ((key,), (words.span(place, past),), past) for place, (key, past) in taken.items()
    }
    for place in contracted:
        if place not in taken:
            keys, spans = zip(*_in_full(words, place), strict=True)
            changed[place] = keys, spans, place + 1
    return _replaced(words, changed)


def _replaced(words: Words, changed: Mapping[int, _Change]) -> Words:
    """Words with other ones in some places.

    Args:
        words: of a text.
        changed: first word → what stands there instead, and the word after it.
    """
    keys: list[str] = []
    spans: list[Span] = []
    new_place: dict[int, int] = {}
    noted = sorted({*words.asides, *words.joints}, reverse=True)
    done = 0
    for place in (*sorted(changed), len(words)):
        if place < done:
            continue  # inside a figure
        while noted and noted[-1] <= place:
            note = noted.pop()
            if note >= done:
                new_place[note] = len(keys) + note - done
        keys += words.keys[done:place]
        spans += words.spans[done:place]
        if place < len(words):
            found, where, done = changed[place]
            keys += found
            spans += where
    return Words(
        text=words.text,
        keys=keys,
        spans=spans,
        asides=_moved(words.asides, new_place),
        joints=_moved(words.joints, new_place),
    )


def _moved(notes: Mapping[int, T], new_place: Mapping[int, int]) -> dict[int, T]:
    return {new_place[place]: note for place, note in notes.items() if place in new_place}


@lru_cache(maxsize=_KEYS)
def _kind(key: str) -> int:
    """What `respelled` may have to do with a word, as flags."""
    contraction = "'" in key or key in ("&", "cannot")
    return begins_figure(key) * _FIGURE | contraction * _CONTRACTION


def _figures(words: Words, kinds: Sequence[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    """First word → what the figure says, and the word after it."""
    may_begin = [span for kind, span in zip(kinds, words.spans, strict=True) if kind & _FIGURE]
    done = 0
    for kind, value, start, end in figures_at(words.text, may_begin):
        first, past = words.index_at(start), words.index_at(end)
        if first >= past or first < done or words.spans[past - 1][1] > end:
            continue  # part of a word
        if any(index in words.asides for index in range(first + 1, past)):
            continue  # a page's end stands inside
        written = words.text[start:end]
        if kind in _WRITTEN and _APART.search(written):
            continue
        if kind == "date" and _ORDINAL_DAY.match(written) and first > done:
            first -= words.keys[first - 1] == "the"  # "on the 8th of May", "on May 8"
        # A year is a number of its own kind only because nothing else is known of it.
        name = "number" if kind == "year" else kind
        yield first, (value if kind == "reference" else f"{name} {value}", past)
        done = past


def _in_full(words: Words, index: int) -> Iterator[tuple[str, Span]]:
    """A word, or the two that it contracts."""
    key, (start, end) = words.keys[index], words.spans[index]
    if key == "&":
        spaced = words.text[start - 1 : start].isspace() and words.text[end : end + 1].isspace()
        yield "and" if spaced else key, (start, end)
        return
    if pair := _SPLIT.get(key):
        cut = max(start + 1, end - (2 if pair[1] == "am" else 3))
        yield pair[0], (start, cut)
        yield pair[1], (cut, end)
        return
    for ending, word in _ENDINGS if "'" in key else ():
        if key.endswith(ending) and len(key) > len(ending):
            cut = max(start + 1, end - len(ending))
            yield key.removesuffix(ending), (start, cut)
            yield word, (cut, end)
            return
    yield key, (start, end)
