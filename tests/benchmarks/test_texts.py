"""Cutting, filling and counting."""

from __future__ import annotations

from hypothesis import given, strategies as st

from benchmarks.peers.base import Question, Source
from benchmarks.texts import cut, fill, sentences, tokens, units

PIECES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.text(max_size=40)), max_size=12
)


@given(PIECES, st.integers(0, 60))
def test_filling_never_exceeds_the_budget(ranked: list[tuple[int, int, str]], budget: int) -> None:
    assert tokens("\n\n".join(fill(ranked, budget))) <= budget


def test_filling_takes_the_best_that_fit_and_keeps_the_source_s_order() -> None:
    ranked = [(1, 0, "second"), (0, 9, "word " * 50), (0, 1, "tail"), (0, 0, "head")]
    assert fill(ranked, 10) == ["head tail", "second"]


def test_all_fits_in_the_tokens_of_all() -> None:
    text = "One sentence of several words. Another one, with a few more words in it."
    assert fill([(0, 0, text)], tokens(text)) == [text]


def test_a_cut_text_loses_no_word_and_ends_at_paragraphs() -> None:
    paragraphs = [f"Section {number}. " + "It goes on for a while. " * 12 for number in range(9)]
    text = "\n\n".join(paragraphs)
    chunks = cut(text, 700)
    assert " ".join(chunks).split() == text.split()
    assert len(chunks) > 3
    assert all(chunk.startswith("Section") and len(chunk) <= 700 for chunk in chunks)


def test_a_long_paragraph_is_cut_at_sentences() -> None:
    chunks = cut("This is one sentence of it. " * 100, 500)
    assert all(chunk.endswith(".") and len(chunk) <= 500 for chunk in chunks)


@given(st.text())
def test_cutting_any_text_keeps_its_words(text: str) -> None:
    assert " ".join(cut(text, 20)).split() == text.split()


def test_sentences_end_where_a_capital_follows() -> None:
    assert sentences("It is 3.5 m long. Then (b) follows; And this\n\nlast") == (
        "It is 3.5 m long.",
        "Then (b) follows;",
        "And this",
        "last",
    )


def test_rankers_read_the_title_and_models_do_not() -> None:
    question = Question(
        id="1",
        group="1",
        text="?",
        chunks=(Source(title="Rome", text="A b. C d.", sentences=("A b.", "C d.")),),
        support=(),
    )
    assert units(question, "chunk") == ([(0, 0, "A b. C d.")], ["Rome. A b. C d."])
    pieces, shown = units(question, "sentence")
    assert pieces == [(0, 0, "A b."), (0, 1, "C d.")]
    assert shown == ["Rome. A b.", "Rome. C d."]
