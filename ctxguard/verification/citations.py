"""Citations of an answer: where they stand, and which chunks they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ctxguard.types import Chunk, Span

__all__ = ["Citation", "CitationMap", "find_citations"]

_MARK = re.compile(
    r"\[\^?([^\[\]\n]{1,80})\](?!\()|\u3010([^\u3010\u3011\n]{1,80})\u3011|\(([^()\n]{1,120})\)"
)
_NUMBERS = re.compile(r"\d{1,3}(?:\s?[-\u2013]\s?\d{1,3})?")
_FILE = re.compile(
    r"(?:source:?\s|see\s)?[\w./\\ -]{1,100}\.(?:pdf|md|txt|html?|docx?|csv|json|xlsx?|pptx?)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:source|doc(?:ument)?|chunk|ref(?:erence)?|see)s?[\s:#]\s*", re.I)
_PART = re.compile(r"\s*[,;]\s*")
_MOST = 50
"""Chunks that one citation may mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A mark in an answer that points at evidence."""

    text: str
    span: Span
    """Characters of the text that it was found in."""
    chunks: tuple[int, ...]
    """Positions of the chunks that it means; empty: it means nothing that is there."""


class CitationMap:
    """What a mark means: its number, the id or the source of a chunk, or what a caller says."""

    def __init__(self, chunks: Sequence[Chunk], labels: Mapping[str, str] | None = None) -> None:
        """Learn the names of the chunks.

        Args:
            chunks: the evidence in the order in which the model saw it: [1] is the first.
            labels: mark → id of a chunk, for marks that mean something else.
        """
        self._size = len(chunks)
        self._names: dict[str, list[int]] = {}
        for place, chunk in enumerate(chunks):
            for name in {chunk.id, chunk.source, PurePath(chunk.source.replace("\\", "/")).name}:
                if name:
                    self._names.setdefault(name.casefold(), []).append(place)
        places = {chunk.id: place for place, chunk in enumerate(chunks)}
        self._labels = {
            label.casefold().strip("[]() "): [places[name]] if name in places else []
            for label, name in (labels or {}).items()
        }

    def resolve(self, mark: str) -> tuple[int, ...] | None:
        """The chunks that a mark means; empty if none is there, None if it is no citation."""
        mark = mark.strip()
        found: list[int] = []
        for part in [mark] if self._named(mark) is not None else _PART.split(mark):
            known = self._named(part)
            if known is None and _NUMBERS.fullmatch(part):
                known = self._numbered(part)
            if known is None:
                return () if _FILE.fullmatch(mark) else None
            found += known
        return tuple(dict.fromkeys(found))[:_MOST]

    def _named(self, part: str) -> list[int] | None:
        for name in (part, _LABEL.sub("", part, count=1)):
            key = name.strip().casefold()
            if key in self._labels:
                return self._labels[key]
            if key in self._names:
                return self._names[key]
        return None

    def _numbered(self, part: str) -> list[int]:
        first, _, last = re.sub(r"\s", "", part).replace("\u2013", "-").partition("-")
        numbers = range(int(first), min(int(last or first), int(first) + _MOST) + 1)
        return [number - 1 for number in numbers if 1 <= number <= self._size]


def find_citations(text: str, known: CitationMap) -> Iterator[Citation]:
    """The citations of a text, in order.

    A number counts as one in square brackets only; "(2020)" and "(30 days)" are none.
    """
    for match in _MARK.finditer(text):
        mark = match[1] or match[2] or match[3]
        if match[3] and not (_FILE.fullmatch(mark) or known.resolve(mark)):
            continue
        if match[3] and mark.strip()[:1].isdigit() and not _FILE.fullmatch(mark):
            continue
        chunks = known.resolve(mark)
        if chunks is not None:
            yield Citation(text=match.group(), span=match.span(), chunks=chunks)
