"""Contexts, and what the laws of a stage say about a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from ctxguard.types import Budget, Chunk, Context, Decision, Stage, StageResult


def chunks_of(texts: Iterable[str], *, source: str | None = None) -> tuple[Chunk, ...]:
    """Chunks "0", "1", …, each of its own source unless one is given."""
    return tuple(
        Chunk(id=str(n), text=text, source=f"s{n}.pdf" if source is None else source)
        for n, text in enumerate(texts)
    )


def context_of(*texts: str, source: str | None = None, budget: Budget | None = None) -> Context:
    return Context(chunks=chunks_of(texts, source=source), budget=budget or Budget())


def ids(result: StageResult) -> list[str]:
    return [chunk.id for chunk in result.context.chunks]


def by_action(result: StageResult, *actions: str) -> list[Decision]:
    return [decision for decision in result.decisions if decision.action in actions]


def removed_by(decision: Decision) -> list[tuple[int, int]]:
    """The spans that a trim took out."""
    return cast("list[tuple[int, int]]", decision.details["removed"])


def check_laws(stage: Stage, context: Context) -> StageResult:
    """Run a stage and assert the laws of every stage on what it does."""
    result = stage(context)
    came_in = {chunk.id: chunk for chunk in context.chunks}
    kept = {chunk.id: chunk for chunk in result.context.chunks}

    # By repr: a score that is NaN does not equal itself where dataclasses compare field by field.
    assert repr(stage(context)) == repr(result), "deterministic"

    again = stage(result.context)
    assert [chunk.text for chunk in again.context.chunks] == [c.text for c in kept.values()]
    assert not by_action(again, "drop", "trim", "move"), "idempotent"

    assert kept.keys() <= came_in.keys(), "invents no chunk"
    dropped = Counter(decision.subject for decision in by_action(result, "drop"))
    assert dropped == Counter(came_in.keys() - kept.keys()), "each dropped id in one Decision"
    about = Counter(decision.subject for decision in result.decisions)
    assert all(about[subject] == 1 for subject in dropped), "and in no other"

    trimmed = {decision.subject for decision in by_action(result, "trim", "rewrite")}
    for chunk in kept.values():
        assert chunk.text == came_in[chunk.id].text or chunk.id in trimmed, "text is unchanged"
        assert chunk.source == came_in[chunk.id].source
        assert chunk.metadata == came_in[chunk.id].metadata
    for decision in result.decisions:
        assert decision.stage == stage.name
        assert decision.subject in came_in
        assert decision.reason
        assert decision.twin is None or decision.twin in kept, "a twin is still there"
    return result


def assert_in_order(result: StageResult, given: Sequence[Chunk]) -> None:
    """The survivors stand in the order in which they came in."""
    places = {chunk.id: place for place, chunk in enumerate(given)}
    order = [places[chunk_id] for chunk_id in ids(result)]
    assert order == sorted(order)
