"""The decisions of a ledger as rows, in the order in which they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ctxguard.ledger import Ledger
from ctxguard.types import Action, Decision
from ctxguard.view._labels import ACTIONS, Index, arrow, kept_ids
from ctxguard.view._routes import is_routing
from ctxguard.view._safe import clip, flat

__all__ = ["Row", "changes", "errors", "kept", "reason_of", "rest"]

_ORDER = {action: place for place, action in enumerate(ACTIONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One decision, or one kept chunk, as a line of the table."""

    action: Action
    label: str
    subject: str
    """The id as it is, for looking things up; not safe to show."""
    reason: str
    tokens: str = ""
    twin: str = ""
    """Label of the twin, blank without one."""
    measure: str = ""
    """The score and what it was compared with, blank without one."""
    before: int = 0
    """Tokens that came in, 0 where they are not known."""
    after: int = 0
    """Tokens that were handed on, 0 where they are not known."""
    text: str = ""
    """What was left out, as it came in; not safe to show."""
    chunk: bool = False
    """Whether the subject is a chunk, and not a message."""


def errors(ledger: Ledger) -> tuple[str, ...]:
    """What went wrong: how the run ended, then each failure once, with how often it occurred."""
    ended = (f"the run ended with {flat(ledger.error)}",) if ledger.error else ()
    failures = Counter(flat(d.reason) or f"{flat(d.stage)} failed" for d in ledger.errors)
    return ended + tuple(
        f"{reason} ({times:,} times)" if times > 1 else reason for reason, times in failures.items()
    )


def changes(ledger: Ledger) -> tuple[Row, ...]:
    """Every decision but keeps, errors, conflicts and routes, by action, each group in order.

    What several model calls of an agent decide again is one row that says how often.
    """
    index = Index(ledger)
    shown = [
        d
        for d in ledger.decisions
        if d.action not in ("keep", "error")
        and (d.code != "conflict" or d.action == "drop")
        and not is_routing(d)
    ]
    rows = Counter(_row(d, index) for d in sorted(shown, key=lambda d: _ORDER[d.action]))
    return tuple(
        replace(row, reason=f"{row.reason} ({times:,} times)") if times > 1 else row
        for row, times in rows.items()
    )


def _row(decision: Decision, index: Index) -> Row:
    before, after = decision.tokens_before, decision.tokens_after
    chunk = index.chunks.get(decision.subject)
    removed = decision.details.get("text")
    text = removed if isinstance(removed, str) else chunk.text if chunk else ""
    return Row(
        action=decision.action,
        label=index.label(decision.subject, decision),
        subject=decision.subject,
        reason=reason_of(decision),
        tokens=arrow(before, after),
        twin=index.label(decision.twin) if decision.twin else "",
        measure=_measure(decision),
        before=before or 0,
        after=after or 0,
        text=text if decision.action in ("drop", "trim") else "",
        chunk=chunk is not None,
    )


def reason_of(decision: Decision) -> str:
    """The reason as one safe line of bounded length; the code where it is blank."""
    start, more = clip(flat(decision.reason), 400)
    shown = f"{start}… ({more:,} characters more)" if more else start
    return shown or flat(decision.code)


def _measure(decision: Decision) -> str:
    if decision.score is None:
        return ""
    limit = f", threshold {decision.threshold:.2f}" if decision.threshold is not None else ""
    return f"score {decision.score:.2f}{limit}"


def kept(ledger: Ledger) -> tuple[Row, ...]:
    """What was kept, one row each, in the order in which it came in, chunks first."""
    index = Index(ledger)
    stayed = kept_ids(ledger, index) - index.left_out
    copies: dict[str, list[str]] = {}
    for decision in ledger.of("drop"):
        if decision.twin in stayed:
            copies.setdefault(decision.twin or "", []).append(index.label(decision.subject))
    reasons = {d.subject: d for d in ledger.of("keep")}
    others = [subject for subject in reasons if subject not in index.chunks]
    return tuple(
        _kept_row(subject, reasons.get(subject), copies.get(subject, ()), index)
        for subject in (*(c.id for c in ledger.chunks if c.id in stayed), *others)
    )


def _kept_row(subject: str, keep: Decision | None, copies: Sequence[str], index: Index) -> Row:
    segment = index.segments.get(subject)
    tokens = segment.tokens if segment else keep.tokens_after if keep else None
    stands_in = ""
    if copies:
        more = f" and {len(copies) - 3:,} more" if len(copies) > 3 else ""
        stands_in = f"stands in for {', '.join(copies[:3])}{more}"
    return Row(
        action="keep",
        label=index.label(subject, keep),
        subject=subject,
        reason="; ".join(part for part in (stands_in, reason_of(keep) if keep else "") if part),
        tokens="" if tokens is None else f"{tokens:,}",
        before=tokens or 0,
        after=tokens or 0,
        measure=_measure(keep) if keep else "",
    )


def rest(rows: Sequence[Row]) -> str:
    """What rows of one action add up to: '280 more dropped, 42,000 → 0 tokens'."""
    before, after = sum(row.before for row in rows), sum(row.after for row in rows)
    tokens = f", {arrow(before, after)} tokens" if before else ""
    return f"{len(rows):,} more {ACTIONS[rows[0].action]}{tokens}"
