"""Ledgers and runs for the tests of the store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ctxguard.guard import Guard
from ctxguard.ledger import Ledger
from ctxguard.policy import Policy
from ctxguard.routing import Route, Router
from ctxguard.testing import WordTokenizer
from ctxguard.types import Chunk

GUARD = Guard(Policy(tokenizer=WordTokenizer()))
ROUTES = (Route(name="light"), Route(name="heavy"))


def ledger(run_id: str, *, chunks: int = 1, text: str = "The fee is 30 USD.") -> Ledger:
    """A ledger with some text."""
    found = tuple(Chunk(id=f"c{place}", text=text) for place in range(chunks))
    return Ledger(run_id=run_id, question="What is the fee?", name="chain", chunks=found)


def routed(run_id: str, question: str, route: str) -> Ledger:
    """The ledger of a question that took a route, whatever the router said of it."""
    only = next(one for one in ROUTES if one.name == route)
    decision = Router().decide(question, ROUTES).decision()
    decision.details["route"] = only.name  # type: ignore[index]  # a dict, made just now
    return Ledger(run_id=run_id, question=question, decisions=(decision,))


def call(question: str, texts: list[str] | None = None) -> str:
    """Run a guarded call; the id of its run."""
    with GUARD.run(question, "chain") as run:
        GUARD.prepare(question, texts or ["The fee is 30 USD.", "The fee is 30 USD."])
    return run.run_id


def raw(path: Path, query: str) -> list[tuple[object, ...]]:
    """What the file itself says."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def all_bytes(path: Path) -> bytes:
    """The file and what stands beside it."""
    return b"".join(one.read_bytes() for one in sorted(path.parent.glob(f"{path.name}*")))
