"""Layout: where each chunk stands."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from ctxguard.errors import PolicyError
from ctxguard.stages import Layout
from ctxguard.stages.layout import write_chunks
from ctxguard.text.template import Template
from ctxguard.types import Chunk, Context
from tests.stages.helpers import context_of, ids


def test_an_order_that_does_not_exist_is_named() -> None:
    with pytest.raises(PolicyError, match=r"^Layout\.order: expected one of edges, rank, "):
        Layout(order="best")  # type: ignore[arg-type] -- what an untyped caller writes


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, "0"), (2, "01"), (3, "021"), (4, "0231"), (5, "02431"), (6, "024531")],
)
def test_edges_puts_the_best_first_and_the_second_best_last(count: int, expected: str) -> None:
    assert ids(Layout()(context_of(*map(str, range(count))))) == list(expected)


def test_edges_says_who_moved_where_and_why() -> None:
    result = Layout()(context_of("a", "b", "c"))
    assert [(d.subject, d.details) for d in result.decisions] == [
        ("2", {"from": 2, "to": 1}),
        ("1", {"from": 1, "to": 2}),
    ]
    assert result.decisions[1].reason.startswith("rank 2 of 3 stands at place 3: ")


def test_edges_again_moves_nothing_and_keeps_the_ranks() -> None:
    once = Layout()(context_of(*"abcdef")).context
    assert [chunk.rank for chunk in once.chunks] == [0, 2, 4, 5, 3, 1]
    again = Layout()(once)
    assert again.context == once
    assert not again.decisions


def test_a_new_order_by_somebody_else_is_ranked_anew() -> None:
    once = Layout()(context_of(*"abcd")).context
    reranked = replace(once, chunks=once.chunks[::-1])
    result = Layout()(reranked)
    assert result.context.chunks[0].id == reranked.chunks[0].id
    assert result.context.chunks[-1].id == reranked.chunks[1].id


def test_rank_leaves_everything_as_it_is() -> None:
    context = context_of(*"abc")
    result = Layout(order="rank")(context)
    assert result.context is context
    assert not result.decisions


def piece(name: str, source: str, **metadata: Any) -> Chunk:
    return Chunk(id=name, text=name, source=source, metadata=metadata)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([("x", "a", {"start_index": 9}), ("y", "b", {}), ("z", "a", {"start_index": 2})], "zxy"),
        ([("x", "a", {"page": 2, "position": 0}), ("y", "a", {"page": 1, "position": 9})], "yx"),
        ([("x", "a", {"page_number": "10"}), ("y", "a", {"page_number": "9"})], "yx"),
        ([("x", "a", {"start_char_idx": 5}), ("y", "a", {"start_char_idx": None})], "xy"),
        ([("x", "a", {"position": 5}), ("y", "a", {"start_index": 1})], "xy"),
        ([("x", "a", {"position": float("nan")}), ("y", "a", {"position": 1})], "xy"),
        ([("x", "a", {"position": True}), ("y", "a", {"position": 0})], "xy"),
        ([("x", "", {"position": 2}), ("y", "", {"position": 1})], "xy"),
        ([("x", "a", {}), ("y", "b", {}), ("z", "a", {})], "xzy"),
    ],
)  # fmt: skip
def test_source_reads_each_source_in_its_own_order(
    chunks: list[tuple[str, str, dict[str, Any]]], expected: str
) -> None:
    context = Context(chunks=tuple(piece(n, source, **data) for n, source, data in chunks))
    result = Layout(order="source")(context)
    assert "".join(ids(result)) == expected
    assert all("of" in decision.reason for decision in result.decisions)


def test_stable_gives_the_same_text_whatever_the_ranks() -> None:
    seen: set[str] = set()
    for chunks in itertools.permutations(context_of(*"abcde").chunks):
        result = Layout(order="stable")(Context(chunks=chunks))
        seen.add("".join(chunk.text for chunk in result.context.chunks))
    assert len(seen) == 1


def test_stable_tells_equal_texts_apart_by_id() -> None:
    chunks = context_of("a", "a").chunks
    for order in (chunks, chunks[::-1]):
        assert ids(Layout(order="stable")(Context(chunks=order))) == ["0", "1"]


def test_cache_stable_begins_with_what_was_there_before() -> None:
    layout = Layout(order="cache-stable")
    first = layout(Context(chunks=context_of(*"cab").chunks)).context.chunks
    before = tuple(chunk.id for chunk in first)
    for chunks in itertools.permutations(context_of(*"cabde").chunks):
        result = layout(Context(chunks=chunks, previous=before))
        assert ids(result) == [*before, "3", "4"]
        assert all(decision.code == "cache-stable" for decision in result.decisions)


def test_cache_stable_orders_what_is_new_by_source_and_place() -> None:
    chunks = (
        piece("a", "z.pdf", page=2),
        piece("b", "z.pdf", page=1, start_index=9),
        piece("c", "z.pdf", page=1, start_index=2),
        piece("d", "a.pdf"),
        piece("e", "z.pdf"),
        piece("f", "", page=float("nan")),
    )
    for order in itertools.permutations(chunks):
        assert ids(Layout(order="cache-stable")(Context(chunks=order))) == list("dfcbae")


def test_chunks_are_written_with_numbers_and_conflicts() -> None:
    chunks = (
        Chunk(id="a", text="30 days", source="old.pdf", conflicts=("b", "gone")),
        Chunk(id="b", text="60 days", metadata={"title": "New"}, conflicts=("a",), also_in=("c",)),
        Chunk(id="d", text="{text}"),
    )
    template = Template(
        chunk="[{number}] {source} {title} {also_in}: {text}{conflict}",
        conflict=" (not as in [{rivals}])",
    )
    assert write_chunks(chunks, template) == (
        "[1] old.pdf old.pdf : 30 days (not as in [2])",
        "[2] b New c: 60 days (not as in [1])",
        "[3] d  : {text}",
    )
    assert write_chunks(chunks) == ("30 days", "60 days", "{text}")
