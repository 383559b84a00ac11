"""Which units a budget pays for: the order is gone through once, and what fits is taken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ctxguard.stages._units import Units

__all__ = ["Scan", "Single", "scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a budget pays for."""

    units: tuple[int, ...] = ()
    """Ascending."""
    head: tuple[int, int] | None = None
    """Position of a chunk that is cut to its first sentences, because nothing else had been taken
    when it did not fit, and how many these are."""
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """A unit with its group that is worth more than every one that costs less."""

    cost: int
    value: float
    unit: int


class _State:
    """Units that are taken, and what they cost together."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.taken = bytearray(len(units.tokens) + len(units.ids) + 1)
        """By unit and the number of its chunk, so that two chunks are no neighbours."""
        self.open = bytearray(len(units.ids))
        self.sum = 0
        self.least: int | None = None
        """Tokens of the cheapest separator: the last chunk has none."""

    @property
    def tokens(self) -> int:
        return self.sum - (self.least or 0)

    def take(self, group: Sequence[int], budget: float) -> list[int]:
        """Take units if all of them fit; which were not there before."""
        units, taken = self.units, self.taken
        gap = units.gap
        total, least = self.sum, self.least
        new: list[int] = []
        opened: list[int] = []
        for unit in group:
            chunk = units.chunk[unit]
            at = unit + chunk
            if taken[at]:
                continue
            total += units.tokens[unit] + gap * (1 - taken[at - 1] - taken[at + 1])
            if not self.open[chunk]:
                joint = units.joints[chunk]
                total += units.around[chunk] + joint - gap
                least = joint if least is None else min(least, joint)
                self.open[chunk] = 1
                opened.append(chunk)
            taken[at] = 1
            new.append(unit)
        if total - (least or 0) <= budget:
            self.sum, self.least = total, least
            return new
        for unit in new:
            taken[unit + units.chunk[unit]] = 0
        for chunk in opened:
            self.open[chunk] = 0
        return []

    def take_head(self, unit: int, budget: int) -> tuple[int, int] | None:
        """Take as many first sentences of a chunk as fit, when nothing else is there."""
        chunk = self.units.chunk[unit]
        sizes = [size for _, size in self.units.heads[chunk]]
        fitting = bisect_right(sizes, budget)
        if not fitting:
            return None
        self.taken[unit + chunk] = self.open[chunk] = 1
        self.least = self.units.joints[chunk]
        self.sum = sizes[fitting - 1] + self.least
        return chunk, fitting


def scan(
    units: Units,
    order: Iterable[int],
    budget: int,
    *,
    singles: Callable[[], Sequence[Single]],
) -> Scan:
    """Take every unit of the order that still fits, with what it brings along.

    Greedy choice by value per token alone can be arbitrarily bad: one large unit may be worth more
    than all small ones. Where the best single unit is, it is taken first, and what fits beside it.
    The better of the two is worth at least (1 - 1/e) / 2 of the best choice (Leskovec et al. 2007;
    Lin and Bilmes 2010) for units that need nothing and have no versions, in chunks of their own:
    their costs add up. With needs, versions and separators, which units share, nothing is proven.

    Args:
        units: what can be chosen.
        order: units in the order of greedy_order, from the first one as often as it is gone
            through, at most twice.
        budget: tokens.
        singles: gives the single units that matter, by cost and value, ascending.
    """
    if budget >= units.full:
        return Scan(units=tuple(range(len(units.tokens))), tokens=units.full)
    found = _first_fit(units, order, budget)
    if not units.judged or sum([units.relevance[unit] for unit in found.units]) >= units.most:
        return found
    offers = singles()
    at = bisect_right(offers, budget, key=lambda single: single.cost)
    if at and offers[at - 1].value > units.worth(found.units):
        return _first_fit(units, order, budget, start=units.together(offers[at - 1].unit))
    return found


def _first_fit(
    units: Units, order: Iterable[int], budget: int, *, start: Sequence[int] = ()
) -> Scan:
    """Units that fit, in their order, beside those of `start`, which must fit."""
    state = _State(units)
    chosen = state.take(start, budget)
    head: tuple[int, int] | None = None
    taken, rivals, chunk_of = state.taken, units.rivals, units.chunk
    unseen = _Unseen(units)
    for unit in order:
        if taken[unit + chunk_of[unit]]:
            continue
        group = units.groups[unit]
        # A group that no budget of this size could hold is not kept together.
        if unit in rivals and units.price(rivals[unit]) <= budget:
            group = rivals[unit]
        new = state.take(group, budget)
        if new:
            chosen += new
            continue
        unseen.discard(unit)
        if not chosen and chunk_of[unit] in units.heads:
            head = state.take_head(unit, budget)
            chosen += [unit] if head else []
        if (chosen or not units.heads) and not unseen.fits(budget - state.tokens, state):
            break
    chosen.sort()
    return Scan(units=tuple(chosen), head=head, tokens=state.tokens)


class _Unseen:
    """Units that have not been tried, the smallest first."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.tried = bytearray(len(units.tokens))
        self.by_size = sorted(range(len(units.tokens)), key=units.tokens.__getitem__)
        self.place = 0
        self.is_known = min(units.tokens) >= units.gap and min(units.joints) >= 0
        """Whether a unit costs its tokens at least, but for a gap that it closes: else, what it
        brings along might make it cheaper."""

    def discard(self, unit: int) -> None:
        self.tried[unit] = 1

    def fits(self, room: int, state: _State) -> bool:
        """Whether any of them may fit."""
        by_size, tried, units = self.by_size, self.tried, self.units
        if not self.is_known:
            return True
        while self.place < len(by_size):
            unit = by_size[self.place]
            if not (tried[unit] or state.taken[unit + units.chunk[unit]]):
                return units.tokens[unit] - units.gap <= room
            self.place += 1
        return False
