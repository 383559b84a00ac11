"""Which texts cannot stand in another, told by their words alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from ctxguard.stages._compare import compare, compare_words
from ctxguard.stages._holding import may_hold
from ctxguard.stages._view import Shared, TextView
from ctxguard.text.analysis import default_analyzer

SHARED = Shared(default_analyzer(), 5)
LAW = (
    "the supplier delivers goods under this contract within days after notice and won't be liable "
    "for losses that exceed fees paid during years before claims arose unless fraud was proven"
)
WORDS = LAW.split()
OTHERS = ("penguins", "gather", "frozen", "plains", "wolves", "rarely", "venture")


def view(text: str) -> TextView:
    return TextView(text, SHARED)


def prose(count: int) -> str:
    """As many words, in sentences of eleven."""
    words = [WORDS[place * 7 % len(WORDS)] for place in range(count)]
    sentences = [words[place : place + 11] for place in range(0, count, 11)]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)


def test_a_word_in_the_middle_that_the_other_lacks() -> None:
    text = prose(90)
    changed = text.replace("goods", "penguins")
    assert not may_hold(view(text), view(changed))
    assert not may_hold(view(changed), view(text))


def test_nothing_is_held_by_a_text_without_words() -> None:
    assert not may_hold(view("..."), view(prose(90)))


TEXT = prose(90)


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        pytest.param(TEXT, f"Penguins and Wolves\n\n{TEXT}", id="heading"),
        pytest.param(TEXT, TEXT.replace("days", "thirty"), id="figure"),
        pytest.param(TEXT, TEXT + " Peng", id="cut word"),
        pytest.param(TEXT, TEXT.replace("goods", "go-\nods"), id="hyphen at a line's end"),
        pytest.param(TEXT, TEXT.replace("goods", "<b>goods</b>"), id="markup"),
        pytest.param(TEXT, TEXT.replace("goods", "g\u00f6\u00f6ds"), id="other letters"),
        pytest.param(TEXT, TEXT.replace("fees", "they've"), id="contraction"),
        pytest.param(TEXT, "Penguins gather.", id="few words"),
    ],
)
def test_what_a_reading_may_leave_out_or_spell_otherwise_decides_nothing(
    whole: str, part: str
) -> None:
    assert may_hold(view(whole), view(part))


COPIES: tuple[Callable[[str], str], ...] = (
    str.upper,
    str.lower,
    lambda text: text.replace(" ", "\n", 3),
    lambda text: text.replace("won't", "will not"),
    lambda text: text.replace("days", "30 (thirty) days"),
    lambda text: f"Page 3 of 12\n\n{text}",
    lambda text: f"12.3 Supplier Liability. {text}",
    lambda text: f"Losses and Notices\n\n{text}",
    lambda text: text[: 2 * len(text) // 3],
    lambda text: text[len(text) // 5 :],
    lambda text: text.replace(". ", ".\n(a) "),
    lambda text: f"<p>{text}</p>",
)


@given(
    count=st.integers(min_value=20, max_value=160),
    ours=st.lists(st.sampled_from(COPIES), max_size=3),
    theirs=st.lists(st.sampled_from(COPIES), max_size=3),
    swaps=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(OTHERS)), max_size=1),
)
def test_what_another_text_holds_may_be_held(
    count: int,
    ours: list[Callable[[str], str]],
    theirs: list[Callable[[str], str]],
    swaps: list[tuple[str, str]],
) -> None:
    one = other = prose(count).replace("days", "thirty (30) days")
    for change in ours:
        one = change(one)
    for change in theirs:
        other = change(other)
    for word, instead in swaps:
        other = other.replace(word, instead)
    worse, better = view(one), view(other)
    if compare_words(worse, better, "other").kind in ("copy", "part"):
        assert may_hold(better, worse)


def test_windows_are_told_from_texts_that_differ() -> None:
    text = prose(200)
    worse, better = view(text[300:]), view(text[:700] + " Penguins. Wolves gather.")
    assert compare(worse, better, kin="other").kind == "other"
