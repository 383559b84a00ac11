"""The laws of a stage, for every stage, over pools of copies, windows and versions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.stages import Compress, Deduplicate, Layout, Select
from ctxguard.stages.layout import Order
from ctxguard.types import Budget, Chunk, Context
from tests.stages.helpers import assert_in_order, by_action, check_laws, removed_by
from tests.stages.pools import pools

ORDERS: tuple[Order, ...] = ("edges", "rank", "source", "stable", "cache-stable")
PAGE = re.compile(r"\s*page 3(?: of 9)?\s*$", re.IGNORECASE)
WORD = re.compile(r"[^\W_]{4,}|\d+")


def plain(text: str) -> list[str]:
    """Runs of letters and digits, without page numbers."""
    return re.findall(r"[^\W_]+", PAGE.sub("", text).casefold())


def numbers(text: str) -> set[str]:
    """The numbers of a text but for a page number at its end."""
    return set(re.findall(r"\d+(?:[.,]\d+)*", PAGE.sub("", text)))


def said(text: str) -> set[str]:
    """The words of a text but for a page number at its end."""
    return set(WORD.findall(PAGE.sub("", text).casefold()))


@settings(max_examples=200)
@given(chunks=pools(), share=st.booleans(), overlap=st.sampled_from([1, 8, 20]))
def test_deduplicate(chunks: tuple[Chunk, ...], share: bool, overlap: int) -> None:
    context = Context(chunks=chunks)
    result = check_laws(Deduplicate(share_boilerplate=share, min_overlap=overlap), context)
    assert_in_order(result, chunks)


@settings(max_examples=200)
@given(chunks=pools(), overlap=st.sampled_from([1, 20]))
def test_deduplicate_loses_no_word(chunks: tuple[Chunk, ...], overlap: int) -> None:
    result = Deduplicate(min_overlap=overlap)(Context(chunks=chunks))
    left = " ".join(chunk.text for chunk in result.context.chunks).casefold()
    for chunk in chunks:
        missing = {word for word in said(chunk.text) if word not in left}
        assert not missing


@settings(max_examples=200)
@given(chunks=pools(), overlap=st.sampled_from([1, 20]))
def test_deduplicate_loses_no_number(chunks: tuple[Chunk, ...], overlap: int) -> None:
    """Not even one that may be a piece of another: 0 is not in 30."""
    result = Deduplicate(min_overlap=overlap)(Context(chunks=chunks))
    left = numbers(" ".join(chunk.text for chunk in result.context.chunks))
    for chunk in chunks:
        assert numbers(chunk.text) <= left


@settings(max_examples=200)
@given(chunks=pools())
def test_what_is_dropped_stands_in_its_twin(chunks: tuple[Chunk, ...]) -> None:
    """Read by another eye than the stage's: plain runs of letters and digits."""
    came_in = {chunk.id: chunk.text for chunk in chunks}
    for drop in by_action(Deduplicate()(Context(chunks=chunks)), "drop"):
        if drop.twin is None or "also" in drop.details:
            continue
        part, whole = (" ".join(plain(came_in[name])) for name in (drop.subject, drop.twin))
        # A heading goes only where the text says its word itself.
        heading = part.startswith("notice ") and "notice" in part.removeprefix("notice ")
        assert part in whole or (heading and part.removeprefix("notice ") in whole)


@given(chunks=pools())
def test_what_is_trimmed_stands_in_the_decision(chunks: tuple[Chunk, ...]) -> None:
    result = Deduplicate(min_overlap=1)(Context(chunks=chunks))
    came_in = {chunk.id: chunk.text for chunk in chunks}
    kept = {chunk.id: chunk.text for chunk in result.context.chunks}
    gone: dict[str, list[tuple[int, int]]] = {}
    for decision in by_action(result, "trim"):
        gone.setdefault(decision.subject, []).extend(removed_by(decision))
    for subject, spans in gone.items():
        text = list(came_in[subject])
        for start, end in spans:
            text[start:end] = [""] * (end - start)
        assert "".join(text) == kept[subject]


@given(chunks=pools())
def test_quotes_are_word_for_word(chunks: tuple[Chunk, ...]) -> None:
    result = Deduplicate(share_boilerplate=True)(Context(chunks=chunks))
    came_in = {chunk.id: chunk.text for chunk in chunks}
    for decision in result.decisions:
        for quote in decision.evidence:
            assert quote.text
            assert came_in[quote.chunk_id][slice(*quote.span)] == quote.text


@given(
    chunks=pools(),
    limit=st.one_of(st.integers(1, 60), st.integers(60, 600)),
    separator=st.sampled_from(["\n\n", "", " ", "\n---\n", " | "]),
)
def test_select(chunks: tuple[Chunk, ...], limit: int, separator: str) -> None:
    context = Context(chunks=chunks, budget=Budget(context_tokens=limit))
    result = check_laws(Select(separator=separator), context)
    assert_in_order(result, chunks)
    joined = separator.join(chunk.rendered or chunk.text for chunk in result.context.chunks)
    assert context.analyzer.count(joined) <= limit
    decided = [decision.subject for decision in by_action(result, "keep", "drop")]
    assert decided == [chunk.id for chunk in chunks]


@pytest.mark.parametrize("order", ORDERS)
@given(chunks=pools())
def test_layout(order: Order, chunks: tuple[Chunk, ...]) -> None:
    context = Context(chunks=chunks)
    result = check_laws(Layout(order=order), context)
    assert len(result.context.chunks) == len(chunks)
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    moved = {decision.subject: decision.details for decision in result.decisions}
    for new, chunk in enumerate(result.context.chunks):
        old = places[chunk.id]
        assert moved.get(chunk.id) == ({"from": old, "to": new} if old != new else None)


@given(chunks=pools(), limit=st.integers(1, 300))
def test_the_stages_in_a_row(chunks: tuple[Chunk, ...], limit: int) -> None:
    question = "How long is the notice that the tenant gives?"
    context = Context(question=question, chunks=chunks, budget=Budget(context_tokens=limit))
    for stage in (Deduplicate(), Compress(), Select(), Layout()):
        context = check_laws(stage, context).context
    joined = "\n\n".join(chunk.rendered or chunk.text for chunk in context.chunks)
    assert context.analyzer.count(joined) <= limit, "in the order of the layout too"
