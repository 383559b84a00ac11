"""The sums of a ledger, as data: totals, the one-line summary, the context bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ctxguard.ledger import Ledger
from ctxguard.view._answers import answer_line
from ctxguard.view._labels import Index, arrow, delta, kept_ids, num, percent, token_noun
from ctxguard.view._routes import path
from ctxguard.view._safe import clip, flat, shorten

__all__ = ["Bar", "Part", "Total", "bar", "heading", "is_empty", "summary", "timings", "totals"]

_UNCOUNTED = "not counted"
"""Shown where counting failed: nothing is known, which is not the same as 0 tokens."""


def heading(ledger: Ledger) -> tuple[str, ...]:
    """Name of what ran and of the model, where they are known and differ."""
    names = (shorten(flat(ledger.name), 60), shorten(flat(ledger.model), 60))
    return tuple(dict.fromkeys(name for name in names if name))


def is_empty(ledger: Ledger) -> bool:
    """Whether nothing was recorded."""
    return not (
        ledger.steps
        or ledger.segments
        or ledger.decisions
        or ledger.children
        or ledger.verifications
        or ledger.calls
    )


# -- sums -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """One sum with what it is a sum of, so that a saving never stands alone."""

    name: str
    main: str
    notes: tuple[str, ...] = ()


def totals(ledger: Ledger) -> tuple[Total, ...]:
    """What came in and what was kept, then the prompt that was sent."""
    index = Index(ledger)
    return tuple(t for t in (_evidence_total(ledger, index), _prompt_total(ledger, index)) if t)


def _evidence_total(ledger: Ledger, index: Index) -> Total | None:
    counted = any(step.kind == "retrieval" for step in ledger.steps)
    if not ledger.chunks:
        return Total(name="Evidence", main="nothing retrieved") if counted else None
    came, stayed = num(len(ledger.chunks), "chunk"), len(kept_ids(ledger, index))
    counts = f"{came}, all kept" if stayed == len(ledger.chunks) else f"{came} → {stayed:,} kept"
    if not counted:
        return Total(name="Evidence", main=counts)
    before, after, limit = ledger.tokens_in, ledger.tokens_kept, ledger.budget.context_tokens
    of_budget = f"{percent(after, limit)} of a budget of {limit:,}" if limit else ""
    notes = (delta(before, after), counts, of_budget)
    main = f"{arrow(before, after)} {token_noun(ledger)}" if before or after else _UNCOUNTED
    return Total(
        name="Evidence",
        main=main,
        notes=tuple(note for note in notes if note),
    )


def _prompt_total(ledger: Ledger, index: Index) -> Total | None:
    calls = [step for step in ledger.steps if step.kind == "model"]
    if not _has_prompt(ledger):
        return None
    if not ledger.tokens_used:
        return Total(name="Prompt", main=_UNCOUNTED)
    used, window = ledger.tokens_used, ledger.budget.window
    before = calls[-1].tokens_before if calls else used
    notes = [f"last of {len(calls):,} model calls"] if len(calls) > 1 else []
    if before != used:
        notes.append(f"{before:,} before, {delta(before, used)}")
    if index.left_out:
        notes.append(_left_out(index))
    main = f"{used:,} {token_noun(ledger)}"
    if window:
        main = f"{used:,} of {window:,} {token_noun(ledger)}"
        notes.insert(0, f"{percent(used, window)} of the window")
    return Total(name="Prompt", main=main, notes=tuple(notes))


def _left_out(index: Index) -> str:
    chunks = sum(subject in index.chunks for subject in index.left_out)
    messages = len(index.left_out) - chunks
    counts = [num(n, noun) for n, noun in ((messages, "message"), (chunks, "chunk")) if n]
    return f"{' and '.join(counts)} left out"


def _has_prompt(ledger: Ledger) -> bool:
    return any(step.kind == "model" for step in ledger.steps) or any(
        segment.kind not in ("evidence", "reserve") for segment in ledger.segments
    )


def summary(ledger: Ledger) -> tuple[str, ...]:
    """The parts of the one-line form."""
    index = Index(ledger)
    parts: list[str] = []
    if ledger.chunks:
        parts.extend(_evidence_summary(ledger, index))
    elif any(step.kind == "retrieval" for step in ledger.steps):
        parts.append("nothing retrieved")
    if _has_prompt(ledger):
        used, window = ledger.tokens_used, ledger.budget.window
        of_window = f" of {window:,}" if window else ""
        share = f" ({percent(used, window)})" if window else ""
        prompt = f"prompt {used:,}{of_window} {token_noun(ledger)}{share}"
        parts.append(prompt if used else f"prompt {_UNCOUNTED}")
    if index.left_out:
        parts.append(_left_out(index))
    if ledger.calls:
        parts.append(f"route {path(ledger)}")
    if ledger.verification is not None:
        parts.append(answer_line(ledger).partition(",")[0])
    counts = (
        (ledger.conflicts, "conflict"),
        (ledger.errors, "error"),
        (ledger.children, "nested run"),
    )
    parts.extend(num(len(items), noun) for items, noun in counts if items)
    if ledger.error:
        start, more = clip(flat(ledger.error), 60)
        parts.append(f"ended with {start}{'…' if more else ''}")
    return tuple(parts) or ("empty: no retrieval, no model call",)


def _evidence_summary(ledger: Ledger, index: Index) -> Iterator[str]:
    came, stayed = len(ledger.chunks), len(kept_ids(ledger, index))
    before, after = ledger.tokens_in, ledger.tokens_kept
    yield num(came, "chunk") + (" all kept" if came == stayed else f" → {stayed:,} kept")
    if before or after:
        change = delta(before, after)
        yield f"{arrow(before, after)} {token_noun(ledger)}" + (f" ({change})" if change else "")


def timings(ledger: Ledger) -> str:
    """Milliseconds per stage, in the order in which they ran, blank without any."""
    return " · ".join(
        f"{shorten(flat(stage), 40)} {_milliseconds(seconds)}"
        for stage, seconds in ledger.timings.items()
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms" if seconds >= 0.0001 else "<0.1 ms"


# -- the bar --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the context bar."""

    kind: str
    """A segment kind, 'free', or 'dropped' where the bar shows what a retrieval brought."""
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What fills the context window, in the order of a prompt."""

    parts: tuple[Part, ...]
    """None is empty; their tokens add up to `total`."""
    total: int
    whole: str
    """What the shares are shares of."""
    over: int = 0
    """Tokens that the window does not hold, the reserve included."""


_PROMPT = ("instructions", "tools", "history", "evidence", "question", "reserve")


def bar(ledger: Ledger) -> Bar | None:
    """The context bar: of the window when it is known, else of the prompt, else of the evidence.

    None when there is nothing to compare: no tokens, or tokens of one kind only.
    """
    if not _has_prompt(ledger):
        return _evidence_bar(ledger)
    if not ledger.tokens_used:
        return None
    sums: Counter[str] = Counter()
    for segment in ledger.segments:
        sums[segment.kind] += segment.tokens
    window = ledger.budget.window
    if window is None:
        del sums["reserve"]
        return _bar(sums, f"the prompt, {sums.total():,} tokens; the model's window is not known")
    sums["reserve"] = sums["reserve"] or ledger.budget.reserve
    over = max(0, sums.total() - window)
    sums["free"] = max(0, window - sums.total())
    if over:
        return _bar(sums, f"the prompt with the answer's reserve, {sums.total():,} tokens", over)
    return _bar(sums, f"the context window, {window:,} tokens")


def _evidence_bar(ledger: Ledger) -> Bar | None:
    after = ledger.tokens_kept or sum(s.tokens for s in ledger.segments if s.kind == "evidence")
    sums = Counter({"evidence": after, "dropped": max(0, ledger.tokens_in - after)})
    return _bar(sums, f"what was retrieved, {sums.total():,} tokens")


def _bar(sums: Counter[str], whole: str, over: int = 0) -> Bar | None:
    order = (*_PROMPT, "free", "dropped")
    parts = tuple(Part(kind, sums[kind]) for kind in order if sums[kind] > 0)
    if len(parts) < 2:
        return None
    return Bar(parts=parts, total=sums.total(), whole=whole, over=over)
