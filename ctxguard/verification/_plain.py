"""A claim's words without what is written around them: list markers, citations, formulas."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ctxguard.types import Span

__all__ = ["plain_text"]

_MARKER = re.compile(
    r"\s*(?:[-*+\u2022\u2023\u25e6\u25aa\u2013\u2014]\s+|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{2,5})[.)]\s+)"
)
_FORMULA = re.compile(
    r"\\\([^\n]{0,400}?\\\)|\$(?=[^$\n]{0,200}[\\^_{])[^$\s][^$\n]{0,200}\$(?!\d)"
)
_EMPHASIS = re.compile(r"\*{2,3}|__|</?[A-Za-z][^<>\n]{0,80}>")


def plain_text(text: str, outside: Iterable[Span] = ()) -> str:
    """The text with spaces for what claims nothing; as long as the text, so that spans hold.

    Args:
        text: a claim.
        outside: more spans of it that claim nothing: its citations.
    """
    spans = [match.span() for pattern in (_FORMULA, _EMPHASIS) for match in pattern.finditer(text)]
    if marker := _MARKER.match(text):
        spans.append(marker.span())
    for start, end in (*spans, *outside):
        text = f"{text[:start]}{' ' * (end - start)}{text[end:]}"
    return text
