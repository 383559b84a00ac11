"""Figures read at given words: one value for every spelling, nothing for what is ambiguous."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from ctxguard.text.facts import begins_figure, extract_facts, figures_at

WORD = re.compile(r"\w+(?:[.,:/-](?<=\d.)(?=\d)\w+)*|[^\w\s]")


def read(text: str) -> list[tuple[str, str, str]]:
    """Kind, value and writing of each figure."""
    words = [match.span() for match in WORD.finditer(text) if begins_figure(match[0].casefold())]
    return [
        (found.kind, found.value, text[found.start : found.end])
        for found in figures_at(text, words)
    ]


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        ("duration 30 day", ["30 days", "thirty (30) days", "thirty days", "30 calendar days"]),
        ("duration 12 month", ["12 months", "one (1) year", "twelve (12) months", "1 year"]),
        ("percentage 5 %", ["5%", "5 percent", "five percent (5%)", "five per cent"]),
        (
            "amount USD 1500000",
            ["$1,500,000", "USD 1.5 million", "US$1,500,000.00", "1,500,000 dollars", "USD1500000"],
        ),
        (
            "amount USD 1000000",
            ["One Million Dollars ($1,000,000)", "$1 million", "one million U.S. dollars"],
        ),
        (
            "date 2014-05-08",
            ["May 8, 2014", "8 May 2014", "8th day of May, 2014", "2014-05-08", "8th of May 2014"],
        ),
        ("ordinal 2", ["second", "2nd", "second (2nd)"]),
        ("number 1/2", ["half", "½", "1/2"]),
    ],
)
def test_one_value_for_every_spelling(value: str, spellings: list[str]) -> None:
    for written in spellings:
        [(kind, found, text)] = read(f"It says {written} here.")
        assert (f"{kind} {found}", text) == (value, written)


@pytest.mark.parametrize(
    "text",
    [
        "thirty (60) days",
        "05/08/2014",
        "1.500 euros",
        "AB-12 and 3f2a",
        "version 2.0.1",
        "at 2:30",
        "one of them won't",
    ],
)
def test_what_is_ambiguous_or_a_code_is_left_out(text: str) -> None:
    for _, value, written in read(f"It says {text} here."):
        assert not value.startswith("?")
        assert written in ("one", "30", "12")  # what stands alone beside a code is a number


def test_of_a_reference_the_first_word_is_read() -> None:
    for written in ("Section 4.2(b)", "Sec. 4.2(b)", "§ 4.2(b)", "§4.2(b)"):
        assert [found[:2] for found in read(f"See {written}.")] == [
            ("reference", "section"), ("number", "4.2"),
        ]  # fmt: skip
    assert read("this section") == []


def test_a_word_inside_a_figure_begins_none() -> None:
    assert [text for _, _, text in read("two hundred and five days of May 8")] == [
        "two hundred and five days",
        "May 8",
    ]


def test_figures_in_a_row_are_no_restatement() -> None:
    assert [text for _, _, text in read("5 days (5 days later)")] == ["5 days", "5 days"]


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    words = [match.span() for match in WORD.finditer(text) if begins_figure(match[0].casefold())]
    place = 0
    for found in figures_at(text, words):
        assert place <= found.start < found.end <= len(text)
        place = found.end


@given(
    st.lists(
        st.sampled_from(
            ["30", "thirty", "(30)", "days", "$", "1,500", "May", "8", "2014", "%", "and", "half"]
        ),
        max_size=8,
    )
)
def test_figures_are_facts(words: list[str]) -> None:
    """What is read here, the reader of whole texts reads with the same kind and value."""
    text = " ".join(words)
    facts = {(fact.kind, fact.value) for fact in extract_facts(text)}
    assert {(kind, value) for kind, value, _ in read(text)} <= facts
