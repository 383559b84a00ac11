"""Deduplicate's own fields, and how it finds what to compare."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ctxguard.errors import PolicyError
from ctxguard.stages import Deduplicate
from ctxguard.types import Context
from tests.stages.helpers import by_action, context_of, ids
from tests.stages.pairs import AROUND, COPY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("near_duplicate", 0),
        ("near_duplicate", 1.5),
        ("near_duplicate", float("nan")),
        ("near_duplicate", "0.5"),
        ("near_duplicate", True),
        ("shingle", 0),
        ("shingle", 2.5),
        ("min_overlap", -1),
        ("min_overlap", None),
        ("share_boilerplate", 1),
        ("versions", "newest"),
        ("version_key", 3),
    ],
)
def test_a_field_that_cannot_be_used_is_named(field: str, value: object) -> None:
    fields: dict[str, Any] = {field: value}
    with pytest.raises(PolicyError, match=rf"^Deduplicate\.{field}: expected .*, got "):
        Deduplicate(**fields)


def test_it_is_frozen_data() -> None:
    stage = Deduplicate(near_duplicate=0.8)
    assert stage == Deduplicate(near_duplicate=0.8)
    assert hash(stage) == hash(Deduplicate(near_duplicate=0.8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.shingle = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_comes_of_nothing() -> None:
    assert Deduplicate()(Context()).context == Context()


def test_one_chunk_stays() -> None:
    result = Deduplicate()(context_of(COPY))
    assert ids(result) == ["0"]
    assert not result.decisions


def test_a_higher_threshold_finds_fewer_copies() -> None:
    half = COPY[: len(COPY) // 2]
    pair = f"{half} {AROUND[0]} {AROUND[1]}", f"{AROUND[1]} {half}"
    assert Deduplicate(near_duplicate=0.3)(context_of(*pair)).decisions == ()
    shorter = COPY.split(". ", 1)[1]
    for threshold in (0.1, 0.5, 1.0):
        result = Deduplicate(near_duplicate=threshold)(context_of(COPY, shorter))
        assert ids(result) == ["0"], "all shingles of a part are in the whole"


def test_the_score_is_the_containment() -> None:
    [drop] = Deduplicate()(context_of(COPY, COPY.upper())).decisions
    assert (drop.score, drop.threshold) == (1.0, 0.5)


@pytest.mark.parametrize("size", [1, 2, 5, 50])
def test_any_shingle_size_finds_copies(size: int) -> None:
    texts = [COPY, COPY.lower(), "Pay now.", "pay now", AROUND[0], AROUND[1]]
    result = Deduplicate(shingle=size)(context_of(*texts))
    assert ids(result) == ["0", "2", "4", "5"]


def test_copies_are_found_under_boilerplate_that_all_chunks_share() -> None:
    letterhead = " ".join(AROUND)
    texts = [f"{letterhead} Case {n} is about topic {n} of chapter {n}." for n in range(200)]
    copies = [text.replace(" ", "\n") for text in texts[100:]]
    result = Deduplicate()(context_of(*texts, *copies))
    assert ids(result) == [str(n) for n in range(200)]
    twins = {decision.subject: decision.twin for decision in by_action(result, "drop")}
    assert twins == {str(200 + n): str(100 + n) for n in range(100)}


def test_case_copies_are_found_under_boilerplate_that_all_chunks_share() -> None:
    letterhead = " ".join(AROUND)
    texts = [f"{letterhead} Case {n} is about topic {n} of chapter {n}." for n in range(60)]
    result = Deduplicate()(context_of(*texts, *map(str.upper, texts)))
    assert ids(result) == [str(n) for n in range(60)]


def test_the_sources_of_dropped_chunks_do_not_repeat() -> None:
    result = Deduplicate()(context_of(COPY, COPY, COPY.lower(), source="a.pdf"))
    assert result.context.chunks[0].also_in == ()
