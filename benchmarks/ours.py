"""ctxguard as the benchmarks run it: through its public API, as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.base import FilterPeer, Question, SelectorPeer
from ctxguard import Chunk, Guard, Policy
from ctxguard.stages import Deduplicate
from ctxguard.types import Context

__all__ = ["NAME", "filter_peer", "selector_peer"]

NAME = "ctxguard"


def _filtered(texts: Sequence[str]) -> dict[int, str]:
    """The whole guard without a budget: what it leaves out is what repeats."""
    chunks = [Chunk(id=str(index), text=text) for index, text in enumerate(texts)]
    prepared = Guard(Policy(select=None, layout=None)).prepare("", chunks)
    return {int(chunk.id): chunk.text for chunk in prepared.chunks}


def _scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The score of the decision that drops the second text; 0 where it stays."""
    stage = Deduplicate()
    scores: list[float] = []
    for pair in pairs:
        chunks = tuple(Chunk(id=str(index), text=text) for index, text in enumerate(pair))
        decisions = stage(Context(chunks=chunks)).decisions
        dropped = [d.score or 1.0 for d in decisions if d.action == "drop" and d.subject == "1"]
        scores.append(max(dropped, default=0.0))
    return scores


def filter_peer() -> FilterPeer:
    """Near-copies out, versions kept."""
    return FilterPeer(name=NAME, at=lambda _: _filtered, similarity=_scores)


def selector_peer() -> SelectorPeer:
    """Evidence under a budget: `Guard.prepare` with the default policy, titles as metadata."""

    def select(question: Question, budget: int) -> list[str]:
        chunks = [
            Chunk(
                id=str(place),
                text=chunk.text,
                metadata={"title": chunk.title} if chunk.title else {},
            )
            for place, chunk in enumerate(question.chunks)
        ]
        guard = Guard(Policy(tokenizer="o200k_base"))
        prepared = guard.prepare(question.text, chunks, budget=budget)
        return [prepared.text]

    return SelectorPeer(name=NAME, select=select)
