"""Sentences: where texts divide, that nothing is lost, and that it takes linear time."""

# ruff: noqa: RUF001 -- typographic and foreign characters are what these tests are about

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, strategies as st

from ctxguard.text.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


ONE = [
    # abbreviations
    "See Sec. 4.2 and Art. 5 of Schedule No. 5.",
    "It applies, e.g. in cl. 3, i.e. there.",
    "Acme Inc. is a Delaware corporation.",
    "The U.S. government paid Acme Corp. Board members at 5 p.m. Friday.",
    "J. R. R. Tolkien met Dr. Smith, Prof. Jones and St. John.",
    "Smith et al. (2010) agreed with Jones et al. but not with others.",
    "Figs. 3 and 4, pp. 12 ff., vol. 3, approx. 30 items, vs. Apex.",
    "It was filed on Jan. 5, 2014 and on 3. Mai 2015.",
    "Gem. Ziff. 4 und Abs. 2 bzw. Kap. 3 gilt das nicht.",
    "The Bldg. Owner and Zyx Pvt. Limited signed.",
    # an unknown abbreviation before a lower-case word or a digit
    "The abbr. was unknown, cf. xbzt. 40 as well.",
    # numbers
    "Version 2.0.1 costs 3.14 dollars (v1.2).",
    "The rate rose from 2.5 to 3.5 percent.",
    # marks inside a sentence
    '"Really?" he asked.',
    "What! no way.",
    "They waited... and waited … in vain.",
    "He [sic!] said so (see above!) and left.",
    "Visit www.example.com/a.b?c=d or mail a.b@example.com today.",
    # line breaks
    "The Supplier shall\npay within 30 days\nof the invoice.",
    "We visited\nParis in the spring.",
    "as set out in Section\n4.2 of the Agreement",
    "the sum of\n30. June was meant",
    # a label stays with what it labels
    "4.2. The Supplier pays.",
    "Section 5. The Buyer pays.",
    "ARTICLE V. TERM.",
    "(a) The Supplier pays.",
]


@pytest.mark.parametrize("text", ONE)
def test_one_sentence(text: str) -> None:
    assert sentences(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        # full stops; "|" marks where a sentence ends
        "It ended in 2014.| It began again.",
        "It ended in 2014.| 30 people came.",
        "There are 30 days.| 60 remain (see above).| 5 are gone.",
        "The answer is no.| The question is not.",
        "Acme Inc.| The Supplier shall pay.",
        "We met at 5 p.m.| The meeting was short.",
        "It was sold in the U.S.| It was made there.",
        "Is it so?| Yes!| It is.| No?!| Indeed.",
        'He said "Go."| Then he left.| (He was late.)| "So what?"| Nothing.',
        "«C'est fini.»| Oui.",
        "The end...| Or not?| Wait…| What?",
        "See note [1].| Next.[2]| Then.[3][4]| End.",
        "**Bold ends.**| Then not.",
        "First.|  Second.|\tThird.",
        "Version 2.0.| It works.",
        "Plan B.| The rest failed.",
        "The buyer (see Sec. 4).| The seller.",
        # other scripts
        "这是第一句。|这是第二句！|第三句？|「第四句。」|好吗?|好。",
        "日本語です。|「はい。」|と言った。",
        "هل هذا صحيح؟| نعم.| لا.",
        "यह पहला है।| यह दूसरा है॥",
        "Это первое.| Это второе!",
        "یہ پہلا ہے۔| یہ دوسرا ہے۔",
        # lines
        "First paragraph\n\n|second paragraph\n \n|third",
        "# One. Two\n|Text here.| More.",
        "Title Case Heading\n|The text begins.",
        "NOTICE PERIOD\n|The notice period is 30 days.",
        "Setext heading\n|=====\n|Text.",
        "1. First item\n|2. Second item\n|3. Third, which\n   wraps\n|10. Tenth",
        "- one\n|- two, which\n  wraps\n|* three\n|• four\n|+ five",
        "(a) foo; and\n|(b) bar; or\n|(c) baz.",
        "a. The first\n|b. The second",
        "i) one\n|ii) two\n|iii) three",
        "It follows:\n|1.1 Scope\n|1.2 Term\n|2.1 Price",
        "– eins\n|– zwei",
        "- It is long.| It has two sentences.\n|- Short",
        "Name: Acme Inc.\n|City: Berlin\n|Zip: 10115",
        "The buyer is\n|Name: Acme\n|City: Berlin",
        "a\tb\tc. D\n|1\t2\t3",
        "Text:\n|```python\n|x = 1. Y\n\n|# two. Three\n|```\n|After.| End.",
        "~~~\n|a. B\n|```\n|c\n|~~~\n|After",
        "```\n|never. Closed",
        "one\r\n\r\n|two\x0b\x0b|three\u2029\u2029|four",
    ],
)
def test_several_sentences(text: str) -> None:
    expected = [part.strip() for part in text.split("|")]
    assert sentences(text.replace("|", "")) == expected


@pytest.mark.parametrize(
    "rows", [["| a | b. C |", "|---|---|", "| 1 | 2. D |"], ["a | b | c. D", "1 | 2 | 3. E"]]
)
def test_a_row_of_a_table_is_a_sentence(rows: list[str]) -> None:
    assert sentences("\n".join(rows)) == rows


def test_an_item_after_a_reference_is_an_item_only_in_its_list() -> None:
    assert sentences("see item\n2.1 Foo") == ["see item\n2.1 Foo"]
    assert sentences("1. An item\n2. Foo") == ["1. An item", "2. Foo"]


# -- laws -----------------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [
            "a", "The", "Inc.", "e.g.", "No. 5", "U.S.", "3.14", ".", "!", "?", "...", "…", " ",
            "\n", "\n\n", "\t", '"', "”", ")", "(", "- ", "* ", "1. ", "(a) ", "# ", "| ", "```",
            "key: v", "。", "؟", "।", "[1]", "\u00a0", "\u3000", "\r\n", "\x00", "\ud800", "é",
            "\u2028", "\x1c",
        ]
    ),
    max_size=40,
)  # fmt: skip


@given(st.one_of(st.text(), PIECES.map("".join)))
@example("\x85a\x1c. B")
def test_sentences_are_ordered_stripped_and_cover_the_text(text: str) -> None:
    spans = split_sentences(text)
    covered = [False] * len(text)
    position = 0
    for start, end in spans:
        assert position <= start < end
        assert text[start:end] == text[start:end].strip()
        covered[start:end] = [True] * (end - start)
        position = end
    assert all(covered[at] or text[at].isspace() for at in range(len(text)))


@given(PIECES.map("".join))
def test_splitting_a_sentence_alone_is_stable_in_length(text: str) -> None:
    assert len(split_sentences(text)) <= max(1, len(text))


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u3000\t"])
def test_nothing_gives_nothing(text: str) -> None:
    assert split_sentences(text) == ()


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit",
    [".", ". ", '."', "\n", "a.", "A. ", "-\n", "1. ", "```\n", "k: v\n", "|", "\n ", "Ab\n", "(",
     "=", ": ", "1.", ".' ", "*_", " ", "[1].", "e.g. ", "。", "#", "- \n\n"],
)  # fmt: skip
def test_adversarial_texts_take_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    split_sentences(text)
    assert time.process_time() - started < 2


def test_a_megabyte_of_prose_takes_a_fraction_of_a_second() -> None:
    text = "The Supplier shall pay Acme Inc. within 30 days. It may not refuse to.\n" * 14_000
    started = time.process_time()
    assert len(split_sentences(text)) == 28_000
    assert time.process_time() - started < 2
