"""Words, numbers, labels and colours that both views of a ledger share, without any markup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ctxguard.ledger import Ledger
from ctxguard.types import Action, Chunk, Decision, Segment
from ctxguard.view._safe import clip, flat, shorten

__all__ = [
    "ACTIONS",
    "LOOKS",
    "Index",
    "Look",
    "arrow",
    "counting",
    "delta",
    "kept_ids",
    "num",
    "percent",
    "token_noun",
]

_LABEL = 80
"""Characters of a source that are shown."""
_SHORT_ID = 20
"""Characters of an id that is shown whole; a longer one (a UUID, a hash) by a prefix."""


ACTIONS: dict[Action, str] = {
    "drop": "dropped",
    "trim": "trimmed",
    "merge": "merged",
    "rewrite": "rewritten",
    "page_out": "paged out",
    "page_in": "paged in",
    "route": "routed",
    "escalate": "escalated",
    "flag": "flagged",
    "move": "moved",
    "keep": "kept",
    "error": "failed",
}
"""Past tense of each action, in the order in which the decisions are shown."""


# -- the parts of the bar -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a part of the context bar is told apart: by its letter, and by its colour."""

    letter: str
    name: str
    back: str
    """Background, hexadecimal."""
    ink: str
    """Foreground, contrast with the background at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    tint: str
    """Foreground of texture that need not be read."""


LOOKS = {
    "instructions": Look(
        letter="I", name="Instructions", back="#4b5768", ink="#ffffff", tint="#626e80"
    ),
    "tools": Look(letter="T", name="Tools", back="#74508f", ink="#ffffff", tint="#86639f"),
    "history": Look(letter="H", name="History", back="#2f6690", ink="#ffffff", tint="#4377a0"),
    "evidence": Look(letter="E", name="Evidence", back="#2b7553", ink="#ffffff", tint="#3f8764"),
    "question": Look(letter="Q", name="Question", back="#8a5a0b", ink="#ffffff", tint="#9c6d20"),
    "reserve": Look(
        letter="R", name="Answer reserve", back="#d9d2c3", ink="#3f3a30", tint="#c3bba8"
    ),
    "free": Look(letter="·", name="Free", back="#f1f0ed", ink="#57534a", tint="#8f8a80"),
    "dropped": Look(letter="░", name="Left out", back="#f1f0ed", ink="#57534a", tint="#8f8a80"),
}
"""By kind of a bar's part."""


# -- numbers --------------------------------------------------------------------------------------


def num(count: int, noun: str) -> str:
    """'1 chunk', '1,560 tokens'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(part: int, whole: int) -> str:
    """A share as people read it; never '0 %' of something or '100 %' of less than all."""
    if whole <= 0:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1 %"
    if 99.5 <= share < 100:
        return ">99 %"
    return f"{share:.0f} %"


def delta(before: int, after: int) -> str:
    """The change in percent with its sign, blank where there is none."""
    if before <= 0 or before == after:
        return ""
    sign = "−" if after < before else "+"  # noqa: RUF001 -- the typographic minus, as wide as the plus
    return f"{sign}{percent(abs(after - before), before)}"


def arrow(before: int | None, after: int | None) -> str:
    """'210 → 0', one number where nothing changed, blank where nothing is known."""
    if before is None or after is None:
        known = before if after is None else after
        return "" if known is None else f"{known:,}"
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def counting(ledger: Ledger) -> tuple[str, bool]:
    """How tokens were counted, and whether that is only an estimate."""
    if ledger.tokenizer == "estimate":
        return "token counts are conservative estimates", True
    return (
        f"tokens counted with {shorten(flat(ledger.tokenizer), 40)}" if ledger.tokenizer else ""
    ), False


def token_noun(ledger: Ledger) -> str:
    """The noun after a count, which says when it is no count but an estimate."""
    return "estimated tokens" if ledger.tokenizer == "estimate" else "tokens"


# -- labels ---------------------------------------------------------------------------------------


class Index:
    """Finds what a ledger says of a chunk or message by its id."""

    def __init__(self, ledger: Ledger) -> None:
        self.chunks = {chunk.id: chunk for chunk in ledger.chunks}
        segments = [segment for step in ledger.steps for segment in step.segments]
        self.segments: dict[str, Segment] = {
            segment.subject: segment for segment in (*segments, *ledger.segments) if segment.subject
        }
        self._prefix = _id_length(self.chunks)
        calls = [step for step in ledger.steps if step.kind == "model"]
        self.in_model = frozenset(place for step in calls for place in range(*step.decisions))
        last = ledger.decisions[slice(*calls[-1].decisions)] if calls else ()
        self.left_out = frozenset(d.subject for d in last if d.action == "drop")
        """Ids of what the window of the last model call had no room for."""
        self.present = frozenset(segment.subject for segment in ledger.segments)

    def label(self, subject: str, decision: Decision | None = None) -> str:
        """What people call a chunk or message: its source and id, its role, or its id alone."""
        chunk = self.chunks.get(subject)
        if chunk is not None:
            return self._chunk(chunk)
        segment = self.segments.get(subject)
        if segment is not None:
            return _cut(flat(segment.label) or flat(subject))
        role = decision.details.get("role") if decision is not None else None
        name = _cut(flat(subject)) or "the whole call"
        return f"{name} ({flat(role)})" if isinstance(role, str) else name

    def _chunk(self, chunk: Chunk) -> str:
        name = _cut(flat(chunk.id))
        if len(chunk.id) > self._prefix:
            name = f"{flat(chunk.id[: self._prefix])}…"
        source = flat(chunk.source)
        if not source:
            start, more = clip(flat(chunk.text), 28)
            return f"“{start.rstrip()}{'…' if more else ''}” #{name}" if start else f"#{name}"
        if chunk.id.startswith(chunk.source):
            return _cut(flat(chunk.id))
        return f"{_cut(source)} #{name}"


def _id_length(ids: Iterable[str]) -> int:
    """How much of an id tells it from the others: all of a short one, a prefix of a UUID."""
    known = list(ids)
    if all(len(chunk_id) <= _SHORT_ID for chunk_id in known):
        return _SHORT_ID
    length = 8
    while length < 40 and len({chunk_id[:length] for chunk_id in known}) < len(known):
        length += 4
    return length


def _cut(text: str) -> str:
    """A label of bounded length, its end kept: the end of a path tells more than its start."""
    return text if len(text) <= _LABEL else f"{text[: _LABEL // 3]}…{text[-_LABEL * 2 // 3 :]}"


def kept_ids(ledger: Ledger, index: Index) -> frozenset[str]:
    """Ids of the chunks that a retrieval handed on; the window of a model call comes later."""
    handed_on = {
        s.subject for step in ledger.steps if step.kind == "retrieval" for s in step.segments
    }
    gone = {
        d.subject
        for place, d in enumerate(ledger.decisions)
        if d.action == "drop" and place not in index.in_model
    }
    return frozenset(chunk for chunk in index.chunks if chunk in handed_on or chunk not in gone)
