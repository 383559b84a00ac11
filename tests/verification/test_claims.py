"""Answers as claims: exact places, kinds, and what is not judged."""

# ruff: noqa: RUF001 -- answers in other scripts are what is tested

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from ctxguard.types import Claim
from ctxguard.verification import split_claims

MARKDOWN = """\
Sure! Here is the summary:

# Terms
The fee is $500, and the term is three years; it renews automatically each year.
- **Notice:** 30 days
1. The Supplier pays the freight.

| Item | Price |
| --- | ---: |
| Bolt | $5 |
| Nut | $7 |

```python
fee = 500  # per month
```
\\[ E = mc^2 \\]
I don't know who signed it. Do you need more? Perhaps it was the board.
I hope this helps!
"""


def kinds(answer: str) -> list[tuple[str, str]]:
    """Kind and text of each claim."""
    return [(claim.kind, claim.text) for claim in split_claims(answer)]


def test_each_part_of_an_answer_has_its_kind() -> None:
    assert kinds(MARKDOWN) == [
        ("chat", "Sure!"),
        ("heading", "Here is the summary:"),
        ("heading", "# Terms"),
        ("statement", "The fee is $500,"),
        ("statement", "and the term is three years;"),
        ("statement", "it renews automatically each year."),
        ("statement", "- **Notice:** 30 days"),
        ("statement", "1. The Supplier pays the freight."),
        ("heading", "| Item | Price |"),
        ("heading", "| --- | ---: |"),
        ("row", "| Bolt | $5 |"),
        ("row", "| Nut | $7 |"),
        ("code", "```python\nfee = 500  # per month\n```"),
        ("math", "\\[ E = mc^2 \\]"),
        ("refusal", "I don't know who signed it."),
        ("question", "Do you need more?"),
        ("hedge", "Perhaps it was the board."),
        ("chat", "I hope this helps!"),
    ]


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("What is the fee?", "question"),
        ("料金はいくらですか？", "question"),
        ("The documents do not mention a fee.", "refusal"),
        ("The fee is not specified in the provided context.", "refusal"),
        ("There is no information about the fee.", "refusal"),
        ("I\u2019m not sure what the fee is.", "refusal"),
        ("I think the fee is $5.", "hedge"),
        ("It seems that the fee is $5.", "hedge"),
        ("Let me know if you have questions.", "chat"),
        ("You're welcome!", "chat"),
        ("The agreement may be terminated by either party.", "statement"),
        ("The supplier does not provide insurance.", "statement"),
        ("No fee is due.", "statement"),
        ("The Company cannot assign the lease.", "statement"),
        ("Sure Footing Ltd. sold 40 boots.", "statement"),
        ("This means that the fee is $5.", "statement"),
    ],
)
def test_what_claims_nothing_is_recognised_and_what_claims_something_is_kept(
    sentence: str, kind: str
) -> None:
    assert kinds(sentence) == [(kind, sentence)]


def test_a_sentence_is_divided_where_a_new_statement_begins_and_not_inside_marks() -> None:
    assert [
        text for _, text in kinds("The fee is due in May, but the buyer may pay it later.")
    ] == [
        "The fee is due in May,",
        "but the buyer may pay it later.",
    ]
    whole = 'She wrote "the fee is due now; the rest is due later" to the buyer of the house.'
    assert [text for _, text in kinds(whole)] == [whole]
    listed = "The buyer pays freight, duty, and the cost of storage."
    assert [text for _, text in kinds(listed)] == [listed]


def test_a_block_that_is_not_closed_goes_on_to_the_end() -> None:
    assert kinds("It is so.\n```\nx = 5\nThe fee is $5.\n") == [
        ("statement", "It is so."),
        ("code", "```\nx = 5\nThe fee is $5."),
    ]
    assert [kind for kind, _ in kinds("The cost is $$ and no more.")] == ["statement"]


def test_only_statements_and_rows_are_checkable() -> None:
    checkable = [claim.kind for claim in split_claims(MARKDOWN) if claim.is_checkable]
    assert set(checkable) == {"statement", "row"}


def assert_exact(answer: str, claims: tuple[Claim, ...]) -> None:
    """Spans are exact, in order, and leave out whitespace only."""
    position = 0
    for claim in claims:
        start, end = claim.span
        assert answer[start:end] == claim.text != ""
        assert not answer[position:start].strip()
        position = end
    assert not answer[position:].strip()


@given(st.text(max_size=300))
def test_spans_are_exact_for_any_text(answer: str) -> None:
    assert_exact(answer, split_claims(answer))


PIECES = (
    *(
        "```",
        "~~~",
        "$$",
        "\\[",
        "\\]",
        "\\begin{x}",
        "\\end{x}",
        "\n",
        "\n\n",
        "| a | b |",
        "|---|",
    ),
    *(
        "\t",
        "# T",
        "; ",
        ", and the ",
        "- ",
        "1. ",
        '"',
        "(",
        ")",
        "Fee is 5. ",
        "? ",
        "🙂",
        "料金は5円。",
    ),
)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_spans_are_exact_for_markdown(answer: str) -> None:
    assert_exact(answer, split_claims(answer))


@pytest.mark.parametrize(
    "piece",
    ["```", "$$", "\\[", "\\begin{x}", "; and the a b ", "| a ", "a, but ", "(", '"', "\n# ", "? "],
)
def test_time_is_linear(piece: str) -> None:
    def seconds(size: int) -> float:
        answer = piece * (size // len(piece))
        start = time.process_time()
        split_claims(answer)
        return time.process_time() - start

    small, large = (min(seconds(size) for _ in range(3)) for size in (6_000, 96_000))
    assert large < 64 * small + 0.1  # 16 times the text; 256 times the time if it were quadratic
