"""What nobody should hand in, and somebody does: no stage raises, hangs or takes quadratic time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ctxguard.stages import Compress, Deduplicate, Layout, Rank, Select
from ctxguard.types import Budget, Chunk, Context, Stage
from tests.stages.helpers import chunks_of, context_of, ids
from tests.stages.pairs import AROUND

STAGES: tuple[Stage, ...] = (
    *(Deduplicate(), Deduplicate(share_boilerplate=True), Rank(), Rank(encoder="static")),
    *(Select(), Layout()),
)
ODD = (
    "\ud800 lone \udfff surrogates", "NUL \x00 inside", "\ufeffmark", "\u202eright to left",
    "a" * 100_000, "1" * 50_000, "(" * 20_000, "- " * 20_000, "1. " * 5_000, "\n" * 50_000 + "end",
    '1"' * 20_000, "*1*" * 5_000, "a-\n" * 10_000, "x\t\t" * 10_000, "\U0010ffff" * 1_000,
    "e\u0301" * 20_000, "word " * 30_000, "。" * 10_000, "中" * 20_000, "# " * 10_000,
)  # fmt: skip


def run(texts: Sequence[str], *, source: str | None = None) -> float:
    """Seconds that all stages take."""
    context = context_of(*texts, source=source, budget=Budget(context_tokens=2_000))
    context = replace(context, question="Which word stands in the middle of page 1?")
    for chunk in context.chunks:
        context.analyzer.count(chunk.text)  # the tokenizer's own time is not in question
    started = time.process_time()
    for stage in STAGES:
        stage(context)
    Select()(Compress(always=True)(context).context)
    return time.process_time() - started


@pytest.mark.slow
@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_an_odd_text_and_near_copies_of_it(text: str) -> None:
    half = text[: len(text) // 2]
    variants = [text, f"{text} ", half, f"Before.\n\n{text}", f"{half} x {half}", text.upper()]
    for source in (None, ""):
        assert run(variants, source=source) < 20


@pytest.mark.parametrize("score", [None, float("nan"), float("-inf"), 1e308])
def test_scores_decide_nothing(score: float | None) -> None:
    chunks = tuple(Chunk(id=str(n), text=f"text {n}", score=score) for n in range(3))
    for stage in STAGES:
        assert len(stage(Context(chunks=chunks)).context.chunks) == 3


@pytest.mark.parametrize("limit", [1, 2, 10**12])
def test_tiny_and_huge_budgets(limit: int) -> None:
    context = context_of("one", "two", "three", budget=Budget(context_tokens=limit))
    for stage in STAGES:
        stage(context)


@pytest.mark.slow
def test_a_chunk_of_ten_megabytes() -> None:
    text = "".join(f"Sentence {n} of a very long text goes here. " for n in range(225_000))
    assert len(text) > 10_000_000
    context = context_of(text, AROUND[0], text[:9_000], budget=Budget(context_tokens=1_000))
    context = Deduplicate()(context).context
    assert [chunk.id for chunk in context.chunks] == ["0", "1"]
    kept, *_ = Select()(context).context.chunks
    assert kept.text.endswith("goes here.")
    assert 900 < context.analyzer.count(kept.text) <= 1_000


@pytest.mark.slow
def test_versions_of_a_very_long_text() -> None:
    text = " ".join(f"Sentence {n} of a very long text goes here." for n in range(15_000))
    other = text.replace("Sentence 1000 ", "Sentence 1001 ")
    texts = text, other, text[: len(text) // 2], text.replace(" ", "\n"), text.upper()
    result = Deduplicate()(context_of(*texts))
    assert ids(result) == ["0", "1"]
    [flag] = [decision for decision in result.decisions if decision.action == "flag"]
    assert flag.details["differs"] == [["1001", "1000"]]


def test_metadata_of_any_kind() -> None:
    metadata = ({}, {"page": None}, {"page": []}, {"page": "x"}, {"page": -1}, {"page": 10**30})
    chunks = tuple(
        Chunk(id=str(n), text=str(n), source="a", metadata=data) for n, data in enumerate(metadata)
    )
    assert len(Layout(order="source")(Context(chunks=chunks)).context.chunks) == len(chunks)


@pytest.mark.slow
def test_two_thousand_chunks_take_seconds() -> None:
    letterhead = " ".join(AROUND)
    texts = [f"{letterhead} Case {n} is about topic {n % 900} of it." for n in range(2_000)]
    started = time.process_time()
    Deduplicate()(Context(chunks=chunks_of(texts)))
    assert time.process_time() - started < 30


@pytest.mark.parametrize("first", [0, 1, 2])
def test_chunks_that_are_all_boilerplate(first: int) -> None:
    texts = [
        "CONFIDENTIAL\nPage 1 of 3",
        "CONFIDENTIAL\nPage 2 of 3",
        "Page 3 of 3\n\nEither party may end this agreement with a notice of 30 days in writing.",
    ]
    texts = texts[first:] + texts[:first]
    result = Deduplicate()(Context(chunks=chunks_of(texts)))
    assert [chunk.text for chunk in result.context.chunks] == texts
