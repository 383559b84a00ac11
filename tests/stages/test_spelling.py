"""Words under comparison: one spelling for figures and contractions, markup and asides left out."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ctxguard.stages._markup import without_markup
from ctxguard.stages._spelling import is_figure, is_respellable, respelled
from ctxguard.text._asides import asides_of
from ctxguard.text.words import without_asides, words_of


def keys(text: str) -> list[str]:
    return respelled(words_of(text)).keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pay within thirty (30) days.", ["pay", "within", "duration 30 day"]),
        ("on the 8th of May 2014", ["on", "date 2014-05-08"]),
        ("the 5% that we can't pay", ["the", "percentage 5 %", "that", "we", "can", "not", "pay"]),
        ("in 2014 or 2,014", ["in", "number 2014", "or", "number 2014"]),
        ("3 0 and 1 000 of it", ["number 3", "number 0", "and", "1", "000", "of", "it"]),
        ("A & B, R&D", ["a", "and", "b", "r", "&", "d"]),
        ("I'm sure they've won't", ["i", "am", "sure", "they", "have", "will", "not"]),
        ("it's the party's", ["it's", "the", "party's"]),
        ("AB-12x stays", ["ab", "12x", "stays"]),
    ],
)
def test_one_spelling_for_what_has_several(text: str, expected: list[str]) -> None:
    assert keys(text) == expected


def test_a_text_with_one_spelling_is_left_as_it_is() -> None:
    words = words_of("The seller owns the goods.")
    assert respelled(words) is words


def test_spans_are_of_the_text() -> None:
    text = "We cannot pay $1,500 (or 30 days)."
    words = respelled(words_of(text))
    assert [words.raw(index) for index in range(len(words))] == [
        "We", "can", "not", "pay", "$1,500", "or", "30 days",
    ]  # fmt: skip
    assert [key for key in words.keys if is_figure(key)] == ["amount USD 1500", "duration 30 day"]


def test_a_figure_that_a_page_divides_is_left_as_it_is() -> None:
    words = without_asides(words_of("It takes thirty\n\nPage 3\n\ndays."))
    assert respelled(words).keys == ["it", "takes", "number 30", "days"]
    assert dict(respelled(words).asides) == {3: "page 3"}


def test_numbers_of_lists_stay_asides() -> None:
    words = without_asides(words_of("(a) Pay $5 dollars.\n\n(b) Pay 30 days on.\n\nPage 9"))
    spelled = respelled(words)
    assert [spelled.keys[place - 1 : place + 1] for place in spelled.asides] == [
        [], ["dollars", "pay"], ["on"],
    ]  # fmt: skip


@pytest.mark.parametrize(("key", "may"), [("30", True), ("thirty", True), ("gold", False)])
def test_which_words_have_other_spellings(key: str, may: bool) -> None:
    assert is_respellable(key) == may


# -- markup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Pay <b>now</b>.</p>", ["pay", "now"]),
        ('<div class="a b" id=x>Pay<br/>now</div>', ["pay", "now"]),
        ("the seller&rsquo;s A&nbsp;&amp;&#32;B", ["the", "seller's", "a", "&", "b"]),
        ("p &lt; 5", ["p", "<", "5"]),
    ],
)
def test_words_as_a_browser_shows_them(text: str, expected: list[str]) -> None:
    words = without_markup(words_of(text))
    assert words.keys == expected
    assert words.text == text


@pytest.mark.parametrize(
    "text",
    [
        "10<sup>2</sup>",
        "<del>not</del>",
        "<td>5</td>",
        '<a href="x.html">a</a>',
        "a < b and c > d",
        "Tom & Ann",
        "plain",
    ],
)
def test_what_carries_something_is_no_markup(text: str) -> None:
    words = words_of(text)
    assert without_markup(words) is words


# -- asides ---------------------------------------------------------------------------------------

BODY = "The buyer shall inspect the goods on delivery and tell the seller of faults."


@pytest.mark.parametrize(
    ("above", "aside"),
    [
        ("Section 12.3 ", "Section 12.3"),
        ("12.3. ", "12.3."),
        ("12.3 Inspection of Goods. ", "12.3 Inspection of Goods."),
        ("Article IV: ", "Article IV:"),
        ("§ 7\n", "§ 7"),
        ("Inspection\n\n", "Inspection"),
        ("Inspect Goods\n\n", "Inspect Goods"),
        ("Gold plan\n\n", ""),
        ("Buyer 5\n", ""),
        ("CONFIDENTIAL\n\n", "CONFIDENTIAL"),
        ("Strictly confidential | Page 3 of 9\n", "Strictly confidential | Page 3 of 9"),
        ("12.3 Million to pay. ", ""),
        ("SECTION 12.3 ", ""),
        ("In Section 12.3 ", ""),
    ],
)
def test_what_stands_above_a_text(above: str, aside: str) -> None:
    text = above + BODY
    assert "".join(text[slice(*span)] for span in asides_of(text)).strip() == aside


def test_a_title_over_a_line_says_what_it_is_of() -> None:
    text = "12.3 Gold Plan. The fee is 5 euros."
    assert [text[slice(*span)] for span in asides_of(text)] == ["12.3"]


@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</b>", "&amp;", "&", "Section", "12.3", "(a)", "\n", "30", "days", "thirty",
             "(30)", "can't", "the", "8th", "May", "Page 3", "CONFIDENTIAL", "$", "\u200b", "-\n"]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_words_are_read_in_order(parts: list[str]) -> None:
    text = " ".join(parts)
    words = respelled(without_asides(without_markup(words_of(text))))
    assert len(words.keys) == len(words.spans)
    edges = [edge for span in words.spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= place <= len(words) for place in words.asides)


def test_what_is_noted_of_words_moves_with_them() -> None:
    text = (
        "12.3 The long-term agree-\nment holds for thirty (30) days.\n- 7 -\n"
        "It can't trans-\nfer them, and won't.\n\nPage 8"
    )
    bare = without_asides(words_of(text))
    full = respelled(bare)
    for words in (bare, full):
        assert [words.keys[index] for index in words.joints] == ["agreement", "transfer"]
        assert [text[slice(*joint)] for joint in words.joints.values()] == ["-\n", "-\n"]
        after = {said: words.keys[index : index + 1] for index, said in words.asides.items()}
        assert after == {"12.3": ["the"], "7": ["it"], "page 8": []}
        assert [words.raw(index) for index in (0, 1)] == ["The", "long"]
    assert "duration 30 day" in full.keys
    assert full.keys[-2:] == ["will", "not"]
