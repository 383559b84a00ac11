"""What a question asks for by date, version or number, in the metadata of chunks."""

from __future__ import annotations

import pytest

from ctxguard.stages import Rank
from ctxguard.stages._constraints import constraints_met
from ctxguard.types import Chunk, Context, JsonValue

SAID = "Either party may end this agreement with {} days' notice in writing."


def chunk(id: str, source: str = "", **metadata: JsonValue) -> Chunk:  # noqa: A002 -- its field
    return Chunk(id=id, text=SAID.format(30), source=source, metadata=metadata)


@pytest.mark.parametrize(
    ("question", "has", "rival"),
    [
        ("the notice in the 2024 agreement", "agreement_2024.pdf", "agreement_2021.pdf"),
        ("the notice as of 1 March 2024", "2024-03-01", "2021-03-01"),
        ("the notice in version 2.0", "2.0", "1.0"),
        ("the notice in v1.10", "api-1.10", "api-1.1"),
    ],
)
def test_what_is_asked_for_counts_for_a_chunk_and_its_rival_against(
    question: str, has: str, rival: str
) -> None:
    chunks = [chunk("a", rival), chunk("b", has), chunk("c", "notes.txt"), chunk("d", "", when=has)]
    assert constraints_met(question, chunks).tolist() == [-1, 1, 0, 1]


@pytest.mark.parametrize(
    "question", ["", "the notice", "the notice in 1999", "the notice of Acme", "\ud800\x00"]
)
def test_what_no_chunk_has_tells_nothing_apart(question: str) -> None:
    chunks = [chunk("a", "agreement_2021.pdf"), chunk("b", "agreement_2024.pdf", of="Acme Ltd")]
    assert not constraints_met(question, chunks).any()
    assert not constraints_met(question, []).size


def test_a_section_is_asked_for_by_its_number() -> None:
    chunks = [chunk("a", section="Section 4.2"), chunk("b", section="Section 14.2"), chunk("c")]
    assert constraints_met("What does Section 4.2 say?", chunks).tolist() == [1, 0, 0]


def test_long_values_and_odd_metadata_are_no_labels() -> None:
    chunks = [chunk("a", note="2024 " * 100, list=[2024], none=None), chunk("b", year=2024)]
    assert constraints_met("in 2024", chunks).tolist() == [0, 1]


def test_rank_puts_the_version_first_that_is_asked_for() -> None:
    chunks = (
        Chunk(id="old", text=SAID.format(30), metadata={"date": "2021-03-01"}, conflicts=("new",)),
        Chunk(id="new", text=SAID.format(60), metadata={"date": "2024-03-01"}, conflicts=("old",)),
    )
    ranked = Rank()(Context(question="The notice period in 2024?", chunks=chunks)).context.chunks
    assert [each.id for each in ranked] == ["new", "old"]
    assert (ranked[0].relevance or 0) > 2 * (ranked[1].relevance or 0)
