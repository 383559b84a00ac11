"""The routes of a run, as lines and rows that both views show; every text in them is safe."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ctxguard.ledger import Call, Ledger
from ctxguard.routing.explanation import explanation_of, words_of
from ctxguard.routing.report import money
from ctxguard.types import Decision
from ctxguard.view._labels import ACTIONS, num
from ctxguard.view._safe import clip, flat, shorten

__all__ = [
    "CallRow",
    "Note",
    "call_rows",
    "choice_words",
    "is_routing",
    "notes",
    "path",
    "savings_lines",
]

_NAME, _WORDS = 40, 400
"""Characters shown of a route's or a model's name, and of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call of a model on a route."""

    name: str
    """Route and model."""
    why: str
    """Why it was made, and what ended it."""
    tokens: str
    """Of the prompt and the answer; an estimate begins with a sign."""
    cached: str
    """Of the prompt, read from the provider's cache; blank: none."""
    cost: str
    heavy: str
    """Cost on the heaviest route; blank for a call that all heavy would not make."""
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One decision about routes."""

    code: str
    said: str
    """Its reason."""
    flagged: bool


def is_routing(decision: Decision) -> bool:
    """Whether a decision is shown with the routes, and not in the table of decisions."""
    return decision.stage == "route" and decision.action in ("route", "escalate", "flag")


def path(ledger: Ledger) -> str:
    """The routes in the order in which they were asked, blank where nothing was routed."""
    names: list[str] = []
    for call in _asked(ledger):
        name = f"{_name(call.route)}{' (failed)' if call.error else ''}"
        if not names or names[-1] != name:
            names.append(name)
    taken = " → ".join(names) if len(names) < 6 else f"{names[0]} → … → {names[-1]}"
    if not ledger.calls or ledger.calls[-1].reason != "shadow":
        return taken
    choice = next((one for d in reversed(ledger.decisions) if (one := explanation_of(d))), None)
    return f"{taken} (shadow: {_name(choice.route)})" if choice else taken


def notes(ledger: Ledger) -> tuple[Note, ...]:
    """What was decided of routes, each once, in order."""
    found = Counter(
        (_name(d.code), _words(d.reason) or ACTIONS[d.action], d.action == "flag")
        for d in ledger.decisions
        if is_routing(d)
    )
    return tuple(
        Note(code=code, said=f"{said} ({times:,} times)" if times > 1 else said, flagged=flagged)
        for (code, said, flagged), times in found.items()
    )


def choice_words(ledger: Ledger) -> tuple[tuple[str, str], ...]:
    """What explains the last choice of a route, a name and its words each."""
    choices = [d for d in ledger.decisions if is_routing(d) and explanation_of(d) is not None]
    words = words_of(choices[-1]) if choices else ()
    return tuple((_name(name), _words(said)) for name, said in words)


def call_rows(ledger: Ledger) -> tuple[CallRow, ...]:
    """The calls, in the order in which they were begun."""
    return tuple(_row(call) for call in _asked(ledger))


def _asked(ledger: Ledger) -> tuple[Call, ...]:
    """The calls in the order in which they were begun: what puts a call right ends before it."""
    found: list[Call] = []
    later: list[Call] = []
    for call in ledger.calls:
        if call.reason in ("repair", "escalated"):
            later.append(call)
            continue
        found += [call, *later] if later and not call.error else [call]
        later = later if call.error else []
    return (*found, *later)


def _row(call: Call) -> CallRow:
    name = " · ".join(dict.fromkeys(one for one in (_name(call.route), _name(call.model)) if one))
    used = bool(call.input or call.output)
    known = "" if call.measured else "≈ "
    heavy = "?" if call.heavy_cost is None else money(call.heavy_cost) if call.heavy_cost else ""
    return CallRow(
        name=name,
        why=f"{call.reason}{f', {_name(call.error)}' if call.error else ''}",
        tokens=f"{known}{call.input:,} → {call.output:,}" if used else "none",
        cached=f"{call.cache_read:,}" if call.cache_read else "",
        cost="?" if call.cost is None else money(call.cost),
        heavy=heavy,
        failed=bool(call.error),
    )


def savings_lines(ledger: Ledger) -> tuple[str, ...]:
    """What it cost beside all heavy, and what is known of the quality."""
    found = ledger.savings
    if found.shadow is not None:
        return (_words(str(found.shadow)),)
    if not found.runs:
        return ()
    marked = f"≈ estimated, in {num(found.estimated, 'call')}: the provider did not say"
    return (_words(found.line), *([marked] if found.estimated else []))


def _name(text: str) -> str:
    return shorten(flat(text), _NAME)


def _words(text: str) -> str:
    start, more = clip(flat(text), _WORDS)
    return f"{start}… ({more:,} characters more)" if more else start
