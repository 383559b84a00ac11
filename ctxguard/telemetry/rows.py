"""The rows of a store: a run with its ledger, and what somebody said of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ctxguard.ledger import Ledger, route_numbers
from ctxguard.types import Decision

__all__ = ["COLUMNS", "Cell", "Mark", "StoredRun", "row_of", "whole"]

Cell: TypeAlias = str | int | float | None
COLUMNS = (
    *("run_id", "at", "name", "model", "error", "tokens_in", "tokens_kept", "tokens_used"),
    *("dropped", "conflicts", "errors", "grounded", "route", "routing", "question", "size"),
    "ledger",
)
"""Of the table `runs`, in the order of `row_of`; the ledger last, so that no list reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What somebody said of a run's answer."""

    run_id: str
    at: float
    """Seconds since the epoch."""
    ok: bool
    by: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run in a store, in numbers; `LedgerStore.get` has the rest."""

    run_id: str
    at: float
    """When it ended, in seconds since the epoch."""
    name: str
    """What ran."""
    model: str
    error: str
    """What ended it early; without content, only the type. Blank when it ended well."""
    tokens_in: int
    """Evidence that the retrievers brought."""
    tokens_kept: int
    """Evidence that was handed on."""
    tokens_used: int
    """Of the last prompt."""
    dropped: int
    """Chunks that were left out."""
    conflicts: int
    """Pairs of versions that differ in a fact."""
    errors: int
    """Stages that failed."""
    grounded: bool | None
    """What the evidence says of the last answer that was verified; None: none was, or it could not
    be told."""
    route: str
    """The route that was taken; blank: there was none to take."""
    size: int
    """Bytes of the ledger."""
    ok: bool | None = None
    """What was said of the answer last; None: nothing."""


def row_of(ledger: Ledger, at: float, *, content: bool) -> tuple[Cell, ...]:
    """The cells of a run, in the order of `COLUMNS`."""
    text = ledger.to_json(content=content)
    routes = [d for d in ledger.decisions if d.stage == "route" and d.action == "route"]
    routing = _routing(routes, ledger.route)
    grounded = ledger.verification and ledger.verification.grounded
    return (
        whole(ledger.run_id),
        at,
        whole(ledger.name),
        whole(ledger.model),
        whole(ledger.error if content else ledger.error.partition(":")[0]),
        ledger.tokens_in,
        ledger.tokens_kept,
        ledger.tokens_used,
        len(ledger.dropped()),
        len(ledger.conflicts),
        len(ledger.errors),
        grounded,
        whole(ledger.route or str(routing.get("route", ""))),
        json.dumps(routing) if routing else None,
        whole(ledger.question) if content else None,
        len(text),
        text,
    )


def _routing(routes: list[Decision], answered: str) -> Mapping[str, object]:
    """The numbers of the route that was taken last.

    Several of them, or an answer of yet another route, were no one's choice by chance.
    """
    if not routes:
        return {}
    found = route_numbers(routes[-1].details)
    if len(routes) > 1 or (answered and answered != found.get("route")):
        found.pop("propensity", None)
    return found


def whole(text: str) -> str:
    """A text that UTF-8 can hold: half of a pair of surrogates becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
