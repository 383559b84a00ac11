"""Conflicts: two versions that differ in a fact, side by side, each fact where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctxguard.ledger import Ledger
from ctxguard.types import Decision, Quote, Span
from ctxguard.view._decisions import reason_of
from ctxguard.view._labels import Index
from ctxguard.view._safe import flat

__all__ = ["Conflict", "Excerpt", "Side", "conflicts"]

_CONTEXT = 90
"""Characters shown at most on each side of a fact."""
_WORD = 24
"""Characters within which a cut moves to the end of a word."""
_SENTENCE_END = re.compile(r"[.!?]\s|[\n。！？]")  # noqa: RUF001 -- the full-width marks end sentences too

Excerpt = tuple[tuple[str, bool], ...]
"""A sentence in pieces; True marks a piece that is a fact in conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One version of what two chunks say differently."""

    label: str
    facts: tuple[str, ...]
    """Word for word and whole."""
    excerpts: tuple[Excerpt, ...]
    """Where they stand."""
    fate: str
    """'kept', or why this version is not in the prompt after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two versions that differ in a fact."""

    left: Side
    right: Side
    reason: str

    @property
    def both_kept(self) -> bool:
        """Whether the model gets to see both versions."""
        return self.left.fate == self.right.fate == "kept"


def conflicts(ledger: Ledger) -> tuple[Conflict, ...]:
    """Each conflict once, in order; a second retrieval of the same chunks finds it again."""
    index = Index(ledger)
    gone = {d.subject: d for d in ledger.of("drop") if d.subject not in index.present}
    distinct = {(d.subject, d.twin, d.reason, d.evidence): d for d in ledger.conflicts}
    return tuple(_conflict(decision, index, gone) for decision in distinct.values())


def _conflict(decision: Decision, index: Index, gone: Mapping[str, Decision]) -> Conflict:
    subject, twin = decision.subject, decision.twin or ""
    left = [quote for quote in decision.evidence if quote.chunk_id != twin]
    right = [quote for quote in decision.evidence if quote.chunk_id == twin]
    return Conflict(
        left=_side(subject, left, index, gone.get(subject)),
        right=_side(twin, right, index, gone.get(twin)),
        reason=reason_of(decision),
    )


def _side(subject: str, quotes: Sequence[Quote], index: Index, drop: Decision | None) -> Side:
    chunk = index.chunks.get(subject)
    text = chunk.text if chunk else ""
    spans = [quote.span for quote in quotes if text[slice(*quote.span)] == quote.text != ""]
    return Side(
        label=index.label(subject) if subject else "not named",
        facts=tuple(dict.fromkeys(flat(quote.text) for quote in quotes)),
        excerpts=tuple(_excerpt(text, window, spans) for window in _windows(text, spans)),
        fate=f"dropped later: {reason_of(drop) or flat(drop.stage)}" if drop else "kept",
    )


# -- excerpts -------------------------------------------------------------------------------------


def _windows(text: str, spans: Sequence[Span]) -> list[Span]:
    """The sentences around the spans, merged where they touch; without spans the text's start."""
    if not spans:
        return [(0, _end(text, 0))] if text else []
    found: list[Span] = []
    for start, end in sorted(spans):
        low, high = _start(text, start), _end(text, end)
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _start(text: str, at: int) -> int:
    """Where the sentence starts that holds `at`, or a word at most `_CONTEXT` characters before."""
    low = max(0, at - _CONTEXT)
    ends = [match.end() for match in _SENTENCE_END.finditer(text, low, at)]
    if ends or not low:
        return ends[-1] if ends else 0
    return text.find(" ", low, low + _WORD) + 1 or low


def _end(text: str, at: int) -> int:
    """Where the sentence ends that holds `at`, or a word at most `_CONTEXT` characters after."""
    high = at + _CONTEXT
    match = _SENTENCE_END.search(text, at, high)
    if match or high >= len(text):
        return match.start() + 1 if match else len(text)
    space = text.rfind(" ", high - _WORD, high)
    return space if space > at else high


def _excerpt(text: str, window: Span, spans: Sequence[Span]) -> Excerpt:
    low, high = window
    pieces = [("… ", False)] if low and not _SENTENCE_END.search(text, max(0, low - 2), low) else []
    at = low
    for start, end in sorted(spans):
        if at <= start and end <= high:
            pieces += [(_one_line(text[at:start]), False), (_one_line(text[start:end]), True)]
            at = end
    pieces.append((_one_line(text[at:high]), False))
    if high < len(text) and not _SENTENCE_END.match(text, high - 1):
        pieces.append((" …", False))
    return tuple(piece for piece in pieces if piece[0])


def _one_line(piece: str) -> str:
    """As `flat`, but with the white space at the ends that separates it from its neighbours."""
    inner = flat(piece)
    if not inner:
        return " " if piece else ""
    return f"{' ' * piece[0].isspace()}{inner}{' ' * piece[-1].isspace()}"
