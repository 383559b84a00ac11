"""A claim's words without what is written around them: list markers, citations, formulas."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from ctxguard.text.facts import Fact, extract_facts
from ctxguard.types import Span

__all__ = ["plain_text", "read_facts"]

_MARKER = re.compile(
    r"\s*(?:[-*+\u2022\u2023\u25e6\u25aa\u2013\u2014]\s+|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{2,5})[.)]\s+)"
)
_FORMULA = re.compile(
    r"\\\([^\n]{0,400}?\\\)|\$(?=[^$\n]{0,200}[\\^_{])[^$\s][^$\n]{0,200}\$(?!\d)"
)
_ASKED = re.compile(
    r"\bquestions?\b[ ]?[,:]?[ ](?:'[^'\n]{1,400}'(?!\w)|\"[^\"\n]{1,400}\""
    "|\u2018[^\u2018\n]{1,400}?\u2019(?!\\w)|\u201c[^\u201c\u201d\n]{1,400}\u201d)",
    re.IGNORECASE,
)
"""A question that an answer repeats: it asks, and claims nothing."""
_EMPHASIS = re.compile(r"\*{2,3}|__|</?[A-Za-z](?!\w{0,10}:/)[^<>\n]{0,80}>")
"""An address between the same brackets is no tag."""
_LINK = re.compile(r"\]\((?=\S)")
"""Between a link's words and its address, which would be read as one where both are addresses."""
_OUTSIDE = (_FORMULA, _ASKED, _EMPHASIS, _LINK)


def plain_text(text: str, outside: Iterable[Span] = ()) -> str:
    """The text with spaces for what claims nothing; as long as the text, so that spans hold.

    Args:
        text: a claim.
        outside: more spans of it that claim nothing: its citations.
    """
    spans = [match.span() for pattern in _OUTSIDE for match in pattern.finditer(text)]
    if marker := _MARKER.match(text):
        spans.append(marker.span())
    for start, end in (*spans, *outside):
        text = f"{text[:start]}{' ' * (end - start)}{text[end:]}"
    return text


_RUN = re.compile(r"[ \t\u00a0]{2,}")
"""Spaces that layout or a tag left: "12      months" is read as "12 months"."""
_FILLER = re.compile(
    r"(?<=\s)(?:further|additional|extra|more|successive|consecutive|subsequent|whole)\s+"
    r"(?=(?:hour|day|week|month|quarter|year)s?\b)",
    re.IGNORECASE,
)
"""Between a number and its unit: "one further year" is one year."""


def read_facts(text: str, start: int = 0) -> tuple[Fact, ...]:
    """The facts of a text in which runs of spaces count as one.

    Args:
        text: a claim or a passage.
        start: where it begins in the text that spans are to be of.
    """
    bare = _FILLER.sub(lambda filler: " " * len(filler.group()), text)
    runs = [run.span() for run in _RUN.finditer(bare)]
    facts = extract_facts(_RUN.sub(" ", bare) if runs else bare)
    left = list(accumulate((end - first - 1 for first, end in runs), initial=0))
    edges = [first - gone for (first, _), gone in zip(runs, left, strict=False)]

    def place(character: int) -> int:
        return character + left[bisect_left(edges, character)]

    spans = [(place(fact.span[0]), place(fact.span[1] - 1) + 1) for fact in facts]
    return tuple(
        Fact(fact.kind, fact.value, text[first:end], (start + first, start + end))
        for fact, (first, end) in zip(facts, spans, strict=True)
    )
