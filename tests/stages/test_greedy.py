"""The greedy order and what a scan of it takes, against the plain definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappop

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.stages import _greedy
from ctxguard.stages._evidence import Counter
from ctxguard.stages._greedy import Order, best_singles, greedy_order
from ctxguard.stages._units import Units, units_of
from ctxguard.types import Chunk, Context, Piece

TERMS = (("notice", 2.0), ("tenant", 1.0), ("days", 0.5))


@st.composite
def chunks(draw: st.DrawFn, *, needs: bool = False, most: int = 4) -> tuple[Chunk, ...]:
    """Chunks of up to four pieces, with few values, so that many are equal."""
    made: list[Chunk] = []
    for number in range(draw(st.integers(1, most))):
        size = draw(st.integers(1, 4))
        pieces = tuple(
            Piece(
                span=(at * 5, at * 5 + 4),
                tokens=draw(st.sampled_from([1, 2, 5])),
                relevance=draw(st.sampled_from([0.0, 0.1, 0.5, 0.5, 1.0])),
                covers=tuple(draw(st.lists(st.sampled_from(TERMS), unique=True, max_size=2))),
                needs=draw(st.sampled_from([(), (at - 1,)])) if needs and at else (),
            )
            for at in range(size)
        )
        made.append(Chunk(id=str(number), text="word " * size, pieces=pieces))
    return tuple(made)


def units(some: Sequence[Chunk], coverage: float = 1.0) -> Units:
    context = Context(chunks=tuple(some))
    return units_of(context, Counter(context, "\n\n"), "…", coverage)


@settings(max_examples=200, deadline=None)
@given(some=chunks())
def test_each_step_takes_what_adds_most_per_token(some: tuple[Chunk, ...]) -> None:
    given_ = units(some)
    taken: list[int] = []
    for step in greedy_order(given_):
        ratios = {unit: ratio(given_, taken, unit) for unit in range(len(given_.tokens))}
        assert ratios[step] >= max(ratios[unit] for unit in ratios if unit not in taken) - 1e-12
        taken.append(step)
    assert sorted(taken) == list(range(len(given_.tokens)))


def ratio(given_: Units, taken: Sequence[int], unit: int) -> float:
    """What a unit without needs adds to some others, per token."""
    gain = given_.worth([*taken, unit]) - given_.worth(taken)
    chunk = given_.chunk[unit]
    is_open = any(given_.chunk[each] == chunk for each in taken)
    over = 0 if is_open else max(0, given_.around[chunk] + given_.joints[chunk])
    return gain / max(1, given_.tokens[unit] + over)


@given(some=chunks(needs=True))
def test_every_unit_that_can_be_had_is_in_the_order_once(some: tuple[Chunk, ...]) -> None:
    given_ = units(some)
    order = list(greedy_order(given_))
    assert len(set(order)) == len(order)
    assert {n for n, p in enumerate(given_.relevance) if p} <= set(order)
    assert list(Order(iter(order))) == order


@given(some=chunks(needs=True))
def test_no_single_unit_is_better_than_its_bound(some: tuple[Chunk, ...]) -> None:
    given_ = units(some)
    singles = best_singles(given_)
    assert [s.cost for s in singles] == sorted({s.cost for s in singles})
    for unit in range(len(given_.tokens)):
        group = given_.together(unit)
        value, cost = given_.worth(group), given_.price(group)
        assert value <= given_.most + 1e-9
        assert not value or max(s.value for s in singles if s.cost <= cost) >= value


def test_an_order_is_read_as_far_as_it_is_asked_for_and_again() -> None:
    read: list[int] = []

    def steps() -> Iterator[int]:
        for step in range(3):
            read.append(step)
            yield step

    order = Order(steps())
    assert next(iter(order)) == 0
    assert read == [0]
    assert list(order) == list(order) == [0, 1, 2]
    assert read == [0, 1, 2]


def test_without_terms_a_set_is_worth_the_sum_of_its_parts() -> None:
    some = (Chunk(id="a", text="x", relevance=0.5), Chunk(id="b", text="y", relevance=0.25))
    given_ = units(some)
    assert given_.worth([0, 1]) == given_.worth([0]) + given_.worth([1]) == 0.75


@pytest.mark.parametrize("needs", [(), (0,)])
def test_pieces_that_are_alike_are_not_all_looked_at_for_each(
    monkeypatch: pytest.MonkeyPatch, needs: tuple[int, ...]
) -> None:
    popped: list[object] = []

    def pop(heap: list[tuple[float, int]]) -> tuple[float, int]:
        popped.append(heap[0])
        return heappop(heap)

    monkeypatch.setattr(_greedy, "heappop", pop)
    piece = Piece(span=(0, 1), tokens=3, relevance=0.3, covers=(("notice", 1.0),))
    pieces = (piece, replace(piece, needs=needs))
    given_ = units([Chunk(id=str(n), text="x", pieces=pieces) for n in range(500)])
    assert len(list(greedy_order(given_))) == 1000
    assert len(popped) < 20_000, "250,000 if each step looked at all that is left"
