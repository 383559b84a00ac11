"""Streams: what is shown, when, and that the pieces of the text do not matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.types import Claim, Verdict
from ctxguard.verification import Answer, Evidence, Verifier
from ctxguard.verification.streaming import Annotator, Correction, Gate, Release

EVIDENCE = [
    "The fee is $500 per month. It is due on the first working day of each month.",
    "Either party may end the contract with thirty (30) days' notice.",
    "Dr. Smith of Acme Inc. signed the contract on May 8, 2014 in Berlin.",
    "The rate is 3.5 % above the base rate. Interest is paid on Jan. 3 of every year.",
    "| Item | Price |\n|---|---|\n| Paper | $20 |\n| Ink | $35 |",
]
RIGHT = "The fee is $500 per month."
WRONG = "The fee is $600 per month."
WHOLE = """The fee is $500 per month. It is due on the first working day.

Here are the details:

- Either party may end the contract with 30 days' notice.
- The rate is 3.5 % above the base rate. Interest is paid on Jan. 3 of every year.
1. Dr. Smith of Acme Inc. signed the contract on May 8, 2014.
2. The fee is $900 per month.

| Item | Price |
|------|-------|
| Paper | $20 |
| Ink | $36 |

```python
fee = 600  # not judged. At all.

print(fee)
```
Is that what you wanted? The fee is
$500 per month!"""


def pieces(text: str, cuts: Sequence[int]) -> Iterator[str]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return (text[a:b] for a, b in pairwise(edges))


def gated(parts: Iterator[str], *, closes: bool = True) -> tuple[list[Release], Gate]:
    gate = Gate(Verifier(), READ, closes=closes)
    releases = [release for part in parts for release in gate.push(part)]
    return [*releases, *gate.finish()], gate


READ = Evidence(Verifier().session(EVIDENCE).evidence.chunks)


@pytest.mark.parametrize("closes", [True, False])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_the_pieces_of_a_text_change_nothing(closes: bool, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(WHOLE)), max_size=60))
    whole, one = gated(iter([WHOLE]), closes=closes)
    cut, other = gated(pieces(WHOLE, cuts), closes=closes)
    assert cut == whole
    assert other.verification == one.verification


SIGNS = [
    "\n",
    "\n\n",
    "- ",
    "| a | b |",
    "|--|",
    "```",
    "~~~",
    "$$",
    "\\[",
    "\\]",
    "  ",
    "\t",
    "[1]",
]
WORDS = ["Dr.", "3.5", "The", "fee", "ends.", "a.", "“Yes.”", "Why?", "2.", "e.g.", "U.S.", "…"]
TOKENS = [*SIGNS, *WORDS, "\u3002", "\u540d\u3002"]


@given(
    st.lists(st.sampled_from(TOKENS), max_size=40),
    st.lists(st.integers(0, 400), max_size=40),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_text_in_any_pieces(tokens: list[str], cuts: list[int], spaced: bool) -> None:
    text = (" " if spaced else "").join(tokens)
    gate = Gate(Verifier(), [text or "x"])
    letters = Gate(Verifier(), [text or "x"])
    cut = [release for part in pieces(text, cuts) for release in gate.push(part)]
    cut += gate.finish()
    slow = [release for character in text for release in letters.push(character)]
    slow += letters.finish()
    assert cut == slow
    assert gate.verification == letters.verification
    if not gate.failed:
        assert gate.released == text
    for release in cut:
        assert text[slice(*release.span)] == release.text
    for verdict in gate.verification.claims:
        assert text[slice(*verdict.claim.span)] == verdict.claim.text


def test_the_verdicts_are_those_of_the_whole_answer() -> None:
    _, gate = gated(iter(WHOLE))
    whole = Verifier()(WHOLE, EVIDENCE)
    streamed = [(v.claim, v.label, v.code) for v in gate.verification.claims]
    assert streamed == [(v.claim, v.label, v.code) for v in whole.claims]
    assert gate.verification.answer == WHOLE


def test_a_gate_closes_at_the_first_sentence_that_failed() -> None:
    releases, gate = gated(iter(WHOLE))
    assert WHOLE.startswith(gate.released)
    assert gate.released.endswith("May 8, 2014.")
    assert gate.closed
    assert "".join(release.text for release in releases) == gate.released


def test_a_gate_that_goes_on_withholds_what_failed() -> None:
    _, gate = gated(iter(WHOLE), closes=False)
    assert gate.released == WHOLE.replace("\n2. The fee is $900 per month.", "").replace(
        "\n| Ink | $36 |", ""
    )
    assert [verdict.claim.text for verdict in gate.failed] == [
        "2. The fee is $900 per month.",
        "| Ink | $36 |",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{RIGHT} It is", RIGHT),
        (f"{RIGHT} It ", RIGHT),
        (f"{RIGHT} It", ""),
        ("The rate is 3.", ""),
        ("The rate is 3.5 % above", ""),
        ("Dr. Smith of Acme Inc. signed ", ""),
        (f"{RIGHT}\n\n", RIGHT),
        ("- The fee is $500 per month\n- It ", "- The fee is $500 per month"),
        ("# Fees\nThe ", "# Fees"),
        ("| Item | Price |\n", ""),
        ("| Item | Price |\n|---|---", ""),
        ("| Item | Price |\n|---|---|\n", "| Item | Price |\n|---|---|"),
        ("```\ncode. More\nand", "```\ncode. More\n"),
        ("```\ncode\n```\n", "```\ncode\n```"),
        ("\u8cbb\u7528\u3002\u6b21", "\u8cbb\u7528\u3002"),
    ],
)
def test_a_part_is_shown_as_soon_as_the_next_one_begins(text: str, shown: str) -> None:
    gate = Gate(evidence=[text])
    for character in text:
        gate.push(character)
    assert gate.released == shown


def test_math_stays_in_one_piece() -> None:
    text = "We have $$\nx = 1. Then\ny = 2.\n$$ and so on. Next we see."
    gate = Gate(evidence=[text])
    for character in text:
        gate.push(character)
    gate.finish()
    assert "$$\nx = 1. Then\ny = 2.\n$$" in [v.claim.text for v in gate.verification.claims]


def test_corrections_follow_the_text() -> None:
    annotator = Annotator(Verifier(), READ)
    events: list[tuple[int, Correction]] = []
    for place, character in enumerate(WHOLE, start=1):
        events += [(place, correction) for correction in annotator.push(character)]
    events += [(len(WHOLE), correction) for correction in annotator.finish()]
    assert [c.claim.text for _, c in events] == ["2. The fee is $900 per month.", "| Ink | $36 |"]
    for place, correction in events:
        assert correction.offset <= place
        assert WHOLE[: correction.offset].endswith(correction.claim.text)
        assert correction.verdict.evidence
    assert annotator.draft == WHOLE
    assert annotator.finish() == annotator.push("more") == ()


def test_checks_of_ones_own_read_the_whole_answer_at_the_end() -> None:
    def short(answer: Answer, evidence: Evidence) -> list[Verdict]:
        claim = Claim(text=answer.text, span=(0, len(answer.text)))
        return [Verdict(claim=claim, label="not_found", score=0, code="long", reason="too long")]

    annotator = Annotator(Verifier(checks=[short]), READ)
    assert annotator.push(RIGHT) == ()
    (correction,) = annotator.finish()
    assert correction.verdict.code == "long"
    assert correction.offset == len(RIGHT)
    gate = Gate(Verifier(checks=[short]), READ, question="What is the fee?")
    gate.push(RIGHT)
    assert [release.text for release in gate.finish()] == [RIGHT]
    assert gate.verification.grounded is False
    assert gate.verification.question == "What is the fee?"
    assert gate.finish() == gate.push(RIGHT) == ()


def test_an_empty_answer_claims_nothing() -> None:
    gate = Gate(evidence=EVIDENCE)
    assert gate.push("") == gate.finish() == ()
    assert gate.verification.grounded is True


LONG: dict[str, Callable[[int], str]] = {
    "sentences": lambda size: f"{RIGHT} " * (size // 27),
    "abbreviations": lambda size: "e.g. i.e. " * (size // 10),
    "one word": lambda size: "x" * size,
    "dots": lambda size: "." * size,
    "lines": lambda size: "a\n" * (size // 2),
    "blank lines": lambda size: "\n" * size,
    "spaces": lambda size: " " * size,
    "no stop": lambda size: "word " * (size // 5),
    "rows": lambda size: "| a | b |\n" * (size // 10),
    "math": lambda size: "$$ x. Y " * (size // 8),
    "code": lambda size: "```\n" + "x = 1\n" * (size // 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LONG)
def test_the_parts_of_a_long_text_take_linear_time(kind: str) -> None:
    def seconds(size: int) -> float:
        gate = Gate(Verifier(), ["x"], closes=False)
        text = LONG[kind](size)
        started = time.process_time()
        for start in range(0, len(text), 20):
            gate.push(text[start : start + 20])
        gate.finish()
        return time.process_time() - started

    small = min(seconds(4_000) for _ in range(3))
    assert seconds(32_000) < 24 * max(small, 0.01)


def test_words_wait_for_their_own_sentence_and_one_word_more() -> None:
    sentences = [
        "The fee is $500 per month.",
        "Notice is thirty days, in writing, to the other party.",
        "Mr. Smith of Acme Inc. signs for the landlord.",
        "The deposit is $1,500.50 in cash.",
    ]
    answer = " ".join(sentences)
    ends = [answer.index(one) + len(one) for one in sentences]
    gate = Gate(Verifier(), [answer])
    for number in range(1, len(answer) + 1):
        gate.push(answer[number - 1])
        written = answer[:number]
        # Of a sentence that has ended, nothing is held once the next word has ended, too.
        ended = max((end for end in ends if len(written[end:].split()) >= 2), default=0)
        assert len(gate.released.rstrip()) >= ended
    gate.finish()
    assert gate.released == answer
