"""The selection path against Select: equal for every budget, tokenizer, template and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.stages import Compress, Kept, Select, SelectionPath, _sweep
from ctxguard.stages._cut import cut_chunk
from ctxguard.stages._evidence import Counter
from ctxguard.text.analysis import Analyzer, default_analyzer
from ctxguard.text.template import Template
from ctxguard.text.tokens import EstimateTokenizer, tokenizer_for
from ctxguard.types import Budget, Chunk, Context, StageResult
from tests.stages.pools import pools, texts

QUESTION = "How many days of notice does the tenant give before the end of the month?"


class Squared:
    """Counts more tokens for a text than for its parts, as no sane tokenizer does."""

    name = "squared"
    exact = True

    def encode(self, text: str) -> list[int]:
        return [0] * (len(text.split()) ** 2 // 8)


ANALYZERS = {
    "o200k": default_analyzer(),
    "cl100k": Analyzer(tokenizer_for("cl100k_base")),
    "estimate": Analyzer(EstimateTokenizer()),
    "squared": Analyzer(Squared()),
}
TEMPLATES = (
    None,
    Template(chunk="[{number}] {source}\n{text}{conflict}", conflict=" (not as in [{rivals}])"),
    Template(chunk="{text}", separator=" "),
)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """Chunks that contradict and lean on each other, divided or not."""
    chunks = draw(pools(max_size=5))
    names = [chunk.id for chunk in chunks]
    links = st.lists(st.sampled_from(names), max_size=2).map(tuple) if names else st.just(())
    chunks = tuple(
        replace(chunk, conflicts=draw(links), leans_on=draw(links))
        if draw(st.integers(0, 3)) == 0
        else chunk
        for chunk in chunks
    )
    context = Context(
        question=QUESTION,
        chunks=chunks,
        template=draw(st.sampled_from(TEMPLATES)),
        analyzer=ANALYZERS[draw(st.sampled_from(list(ANALYZERS)))],
    )
    return Compress(always=True)(context).context if draw(st.booleans()) else context


def selected(context: Context, limit: int) -> StageResult:
    return Select()(replace(context, budget=Budget(context_tokens=limit)))


def made(chunk: Chunk, kept: Kept) -> str:
    """The text of what a path says is kept of a chunk, cut by the means of the stage."""
    if not chunk.pieces:
        return chunk.text[slice(*kept.spans[0])]
    chosen = [n for n, piece in enumerate(chunk.pieces) if piece.span in kept.spans]
    if len(chosen) == len(chunk.pieces):
        return chunk.text
    return cut_chunk(chunk, chosen, gap="…")[0].text


def said(context: Context, kept: Sequence[Kept]) -> list[tuple[str, str]]:
    chunks = {chunk.id: chunk for chunk in context.chunks}
    return [(each.id, made(chunks[each.id], each)) for each in kept]


def counted(context: Context, result: StageResult) -> int:
    """Tokens of the joined text, each chunk with the widest number."""
    template = context.template
    counter = Counter(context, template.separator if template else "\n\n")
    return counter.tokens(counter.separator.join(map(counter.written, result.context.chunks)))


@settings(max_examples=60, deadline=None)
@given(context=contexts(), data=st.data())
def test_the_path_says_what_select_does(context: Context, data: st.DataObject) -> None:
    path = Select().path(context)
    top = path.units.full + 2
    limits = set(data.draw(st.lists(st.integers(1, top), min_size=8, max_size=8))) | {1, top}
    for limit in sorted(limits):
        result = selected(context, limit)
        choice = path.at(limit)
        kept = [(chunk.id, chunk.text) for chunk in result.context.chunks]
        assert said(context, choice.kept) == kept
        assert counted(context, result) <= choice.tokens <= limit or not kept


@settings(max_examples=60, deadline=None)
@given(context=contexts())
def test_the_breakpoints_are_exactly_where_the_choice_changes(context: Context) -> None:
    path = Select().path(context)
    points = {point.budget: point for point in path.breakpoints}
    known: set[tuple[str, tuple[int, int]]] = set()
    for budget in range(min(path.units.full, 200) + 3):
        choice = path.at(budget)
        now = {(kept.id, span) for kept in choice.kept for span in kept.spans}
        assert (now != known) == (budget in points)
        if budget in points:
            point = points[budget]
            assert point.tokens == choice.tokens
            entered = {(kept.id, span) for kept in point.entered for span in kept.spans}
            left = {(kept.id, span) for kept in point.left for span in kept.spans}
            assert (entered, left) == (now - known, known - now)
        known = now


@settings(max_examples=30, deadline=None)
@given(context=contexts())
def test_the_last_breakpoint_holds_all(context: Context) -> None:
    path = Select().path(context)
    points = path.breakpoints
    budgets = [point.budget for point in points]
    assert budgets == sorted(set(budgets))
    if points:
        everything = path.at(points[-1].budget + 10_000)
        assert path.at(points[-1].budget).kept == everything.kept
        assert [kept.id for kept in everything.kept] == [chunk.id for chunk in context.chunks]


@pytest.mark.parametrize("name", ["o200k", "cl100k", "estimate"])
@settings(max_examples=200, deadline=None)
@given(
    passages=st.lists(st.one_of(texts(), st.text(min_size=1, max_size=12)), max_size=5),
    separator=st.sampled_from(["\n\n", "\n", "\n---\n", "  \n", "/\n"]),
)
def test_texts_that_are_said_to_add_up_do(name: str, passages: list[str], separator: str) -> None:
    """Whatever text stands beside them, letters of any script and signs included."""
    counter = Counter(Context(analyzer=ANALYZERS[name]), separator)
    passages = [text for text in passages if all(counter.edges(text)[1:])]
    parts = [counter.tokens(text) for text in passages]
    joints = [counter.edges(text)[0] for text in passages[:-1]]
    assert counter.tokens(separator.join(passages)) == sum(parts) + sum(joints)


@pytest.mark.parametrize(
    ("text", "separator", "is_exact"),
    [
        ("Notice.", "\n\n", True),
        ("  Notice", "\n", True),
        ("合同。", "\n\n", True),
        ("\nNotice.", "\n\n", False),
        ("/x", "\n\n", False),
        ("", "\n\n", False),
        ("a" + "." * 40, "\n\n", False),
        ("Notice.", " ", False),
        ("a " * 250_000, "\n\n", False),
    ],
)
def test_which_texts_add_up(text: str, separator: str, is_exact: bool) -> None:
    assert all(Counter(Context(), separator).edges(text)[1:]) == is_exact


def test_no_text_adds_up_for_a_tokenizer_that_is_not_known() -> None:
    edges = Counter(Context(analyzer=ANALYZERS["squared"]), "\n\n").edges("Notice.")
    assert edges[1:] == (False, False)


def test_a_chunk_of_a_hundred_pieces_has_a_path() -> None:
    text = " ".join(f"Clause {n} is about item {n}." for n in range(100))
    context = Context(question="What is clause 7 about?", chunks=(Chunk(id="a", text=text),))
    context = Compress(always=True)(context).context
    path = Select().path(context)
    points = path.breakpoints
    assert len(points) >= 100
    assert_is_path(path, [point.budget for point in points[::20]], context)


def test_budgets_in_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"Clause {n} is about item {n}." for n in range(9))
    chunks = (Chunk(id="a", text=text), Chunk(id="b", text="\nNo 1.\nNo 2.", leans_on=("a",)))
    for context in (
        Context(chunks=chunks),
        Compress(always=True)(Context(question="What is clause 7?", chunks=chunks)).context,
    ):
        points = Select().path(context).breakpoints
        with monkeypatch.context() as patch:
            patch.setattr(_sweep, "_CELLS", 0)
            patch.setattr(_sweep, "_LEAST", 7)
            assert Select().path(context).breakpoints == points


def assert_is_path(path: SelectionPath, budgets: Sequence[int], context: Context) -> None:
    for budget in budgets:
        kept = [(chunk.id, chunk.text) for chunk in selected(context, budget).context.chunks]
        assert said(context, path.at(budget).kept) == kept
