# ruff: noqa: RUF001 -- Chinese has a comma of its own
"""Hypothesis strategies: pools of chunks as retrievers bring them, full of copies and versions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from hypothesis import strategies as st

from ctxguard.types import Chunk

SENTENCES = (
    "The tenant shall give notice of at least 30 days before the end of the month.",
    "The landlord may keep a deposit of $1,500 until the keys are returned.",
    "Acme Corp. owes Beta GmbH the full purchase price on 1 March 2021.",
    "It does not apply to parts that the buyer has altered.",
    "Section 4.2 survives the end of this agreement.",
    "Each party bears its own costs unless a court decides otherwise.",
    "The warranty lasts 24 months from delivery, and 12 months for used goods.",
    "They are listed in the schedule below, with their prices.",
    "No waiver is effective unless it is made in writing and signed by both parties.",
    "The maximum load of the crane is 5 t at a radius of 12.5 m.",
    "Die Kündigungsfrist beträgt drei Monate zum Ende des Quartals.",
    "合同期限为三十日，自签署之日起计算。",
    "- item one\n- item two\n- item three",
)

Change = Callable[[str], str]
COPIES: tuple[Change, ...] = (
    str.lower,
    str.upper,
    lambda text: textwrap.fill(text, 40),
    lambda text: text.replace(" ", "  "),
    lambda text: f"> {text}",
    lambda text: f'"{text}"',
    lambda text: f"Notice\n\n{text}",
    lambda text: f"{text}\n\nPage 3 of 9",
)
VERSIONS: tuple[Change, ...] = (
    lambda text: text.replace("30", "60").replace("24", "36").replace("三", "六"),
    lambda text: text.replace("shall", "shall not").replace("may", "may not"),
    lambda text: text.replace("Acme Corp.", "Gamma Inc."),
    lambda text: text.replace("$", "€").replace("12.5", "125"),
    lambda text: text.replace(" the ", " any ", 1),
    lambda text: text.replace("item two\n", ""),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A passage of the sentences above, at times changed, cut, or not made of them at all."""
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return draw(st.text(max_size=60))
    if kind == 1:
        return draw(st.sampled_from(["", "  \n", "?", "\ud800", "\x00", "a", "…", "30"]))
    start = draw(st.integers(0, len(SENTENCES) - 1))
    count = draw(st.integers(1, 6))
    glue = draw(st.sampled_from([" ", " ", "\n", "\n\n"]))
    text = glue.join((SENTENCES + SENTENCES)[start : start + count])
    if draw(st.booleans()):
        text = draw(st.sampled_from(COPIES))(text)
    if draw(st.booleans()):
        text = draw(st.sampled_from(VERSIONS))(text)
    if draw(st.integers(0, 2)) == 0:
        first = draw(st.integers(0, len(text)))
        last = draw(st.integers(first, len(text)))
        text = text[first : max(last, first + 80)]
    return text


@st.composite
def pools(draw: st.DrawFn, max_size: int = 9) -> tuple[Chunk, ...]:
    """Chunks in rank order."""
    passages = draw(st.lists(texts(), max_size=max_size))
    sources = draw(st.sampled_from([("",), ("a.pdf",), ("a.pdf", "b.pdf", "")]))
    chunks: list[Chunk] = []
    for number, passage in enumerate(passages):
        rendered = draw(st.sampled_from(["", "", f"title: x\n{passage}", "something else"]))
        chunks.append(
            Chunk(
                id=f"c{number}",
                text=passage,
                source=draw(st.sampled_from(sources)),
                score=draw(st.sampled_from([None, float("nan"), 0.5])),
                metadata={"start_index": draw(st.integers(0, 3))},
                rendered=rendered,
            )
        )
    return tuple(chunks)
