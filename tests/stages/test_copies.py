"""A text that says nothing new goes, and the better-ranked one remembers where it stood."""

from __future__ import annotations

import pytest

from ctxguard.stages import Deduplicate
from ctxguard.types import Chunk, Context
from tests.stages.helpers import by_action, context_of, ids
from tests.stages.pairs import AROUND, COPIES, COPY, COPY_PAIRS


@pytest.mark.parametrize("name", COPIES)
def test_of_a_copy_and_its_original_the_better_ranked_stays(name: str) -> None:
    copy = COPIES[name]
    for pair in ((COPY, copy), (copy, COPY)):
        result = Deduplicate()(context_of(*pair))
        assert ids(result) == ["0"]
        assert result.context.chunks[0].text == pair[0]
        [drop] = result.decisions
        assert (drop.action, drop.subject, drop.twin) == ("drop", "1", "0")
        assert drop.code in ("exact-duplicate", "near-duplicate", "subset")
        assert drop.tokens_after == 0
        assert drop.tokens_before


@pytest.mark.parametrize("name", COPY_PAIRS)
def test_of_two_spellings_the_better_ranked_stays(name: str) -> None:
    left, right = COPY_PAIRS[name]
    for pair in ((left, right), (right, left)):
        result = Deduplicate()(context_of(*(f"{AROUND[1]}\n\n{text}" for text in pair)))
        assert ids(result) == ["0"]
        [drop] = result.decisions
        assert (drop.action, drop.subject, drop.twin) == ("drop", "1", "0")


@pytest.mark.parametrize(
    "part",
    [
        COPY[: COPY.index(" in any year")],  # cut between two words
        COPY[: COPY.index("Exhibit") + 4],  # cut inside a word
        COPY.split(". ", 1)[1],  # without its first sentence
        COPY[COPY.index("terminate this") :],  # starts inside a sentence
        COPY.split(". ")[1] + ".",  # one sentence
        COPY[: COPY.index(" in any year")] + "...",
    ],
)
def test_a_cutting_goes(part: str) -> None:
    result = Deduplicate()(context_of(COPY, part))
    assert ids(result) == ["0"]
    [drop] = result.decisions
    assert drop.code == "subset"
    assert drop.reason == "all of it stands in s0.pdf (0), word for word"


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        ("The fee is due if it was invoiced.", "The fee is due."),
        ("Provided the insurer agrees, the tenant may sublet.", "The tenant may sublet."),
        ("It is not true that the buyer agreed.", "The buyer agreed."),
        ("The cover includes:\n- fire\n- flood\n- theft", "The cover includes:\n- fire\n- flood"),
        ("plan,price\ngold,30\nsilver,20\n", "plan,price\ngold,30\n"),
        ("Gold\n\n5 euros.\n\nSilver\n\n6 euros.", "Gold\n\n6 euros."),
        ("The price is 1,500 euros for the whole of the machine and parts", "The price is 1"),
    ],
)
def test_what_only_looks_like_a_cutting_stays(whole: str, part: str) -> None:
    for around in ("", AROUND[1]):
        result = Deduplicate()(context_of(f"{around} {whole}", f"{around} {part}"))
        assert ids(result) == ["0", "1"]
        assert not by_action(result, "drop", "trim")


def test_a_short_line_is_no_cutting_of_a_longer_one() -> None:
    result = Deduplicate()(context_of("Notice: 30 days for tenants of flats", "Notice: 30 days"))
    assert ids(result) == ["0", "1"]


def test_a_smaller_window_of_the_same_document_goes() -> None:
    text = " ".join(AROUND)
    result = Deduplicate()(context_of(text, text[20:200], source="a.pdf"))
    assert ids(result) == ["0"]


def test_the_survivor_remembers_the_sources_of_its_copies() -> None:
    chunks = (
        Chunk(id="1", text=COPY, source="a.pdf", also_in=("z.pdf",)),
        Chunk(id="2", text=COPY, source="b.pdf"),
        Chunk(id="3", text=COPY.upper(), source="a.pdf", also_in=("c.pdf", "b.pdf")),
        Chunk(id="4", text=COPY, source=""),
    )
    result = Deduplicate()(Context(chunks=chunks))
    [kept] = result.context.chunks
    assert kept.also_in == ("z.pdf", "b.pdf", "4", "c.pdf")


def test_a_chain_of_copies_ends_at_the_best_ranked() -> None:
    texts = [COPY, COPY[:250], COPY[:150], COPY.lower(), COPY.replace(" ", "\n")]
    result = Deduplicate()(context_of(*texts))
    assert ids(result) == ["0"]
    assert {d.twin for d in result.decisions} == {"0"}


def test_the_same_text_is_an_exact_duplicate() -> None:
    [drop] = Deduplicate()(context_of(COPY, COPY.replace(" ", "\n"))).decisions
    assert (drop.code, drop.score) == ("exact-duplicate", 1.0)
    assert drop.reason == "the same text as s0.pdf (0)"


@pytest.mark.parametrize("blank", ["", " ", "\n\t\n", "\u00a0"])
def test_a_blank_chunk_goes(blank: str) -> None:
    result = Deduplicate()(context_of(blank, COPY))
    assert ids(result) == ["1"]
    [drop] = result.decisions
    assert (drop.code, drop.twin) == ("empty", None)


def test_the_reason_says_that_a_page_number_went() -> None:
    [drop] = Deduplicate()(context_of(COPY, f"{COPY}\n\nPage 3 of 12")).decisions
    assert drop.reason == (
        "word for word s0.pdf (0); only case, spacing, punctuation or markup differ "
        "(but for numbers of lists or pages)"
    )


def test_a_hundred_copies_of_each_of_two_versions() -> None:
    other = COPY.replace("thirty (30)", "sixty (60)")
    texts = [text.replace(" ", " " * (1 + n % 3)) for n in range(100) for text in (COPY, other)]
    result = Deduplicate()(context_of(*texts))
    assert ids(result) == ["0", "1"]
    assert len(by_action(result, "drop")) == 198


def test_the_reason_says_that_figures_were_read_by_value() -> None:
    [drop] = Deduplicate()(context_of(COPY, COPIES["digits"])).decisions
    assert drop.reason.endswith("markup differ (but for how figures are written)")
