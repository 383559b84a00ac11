"""Which units a budget pays for: the order is gone through once, and what fits is taken."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
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
    value: float = 0.0
    """What they are worth, at least."""
    following: float = math.inf
    """The next larger budget that may pay for something else."""


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
        self.taken = bytearray(len(units.tokens))
        self.open = bytearray(len(units.ids))
        self.sum = 0
        self.least: int | None = None
        """Tokens of the cheapest separator: the last chunk has none."""

    @property
    def tokens(self) -> int:
        return self.sum - (self.least or 0)

    def take(self, group: Sequence[int], budget: float) -> tuple[int, list[int]]:
        """Take units if all fit; what they would cost in all, and which were not there before."""
        units, taken, gap = self.units, self.taken, self.units.gap
        total, least = self.sum, self.least
        new: list[int] = []
        opened: list[int] = []
        for unit in group:
            if taken[unit]:
                continue
            chunk = units.chunk[unit]
            if not self.open[chunk]:
                joint = units.joints[chunk]
                total += units.around[chunk] + joint - gap
                least = joint if least is None else min(least, joint)
                self.open[chunk] = 1
                opened.append(chunk)
            beside = (unit > units.first[chunk] and taken[unit - 1]) + (
                unit + 1 < units.first[chunk + 1] and taken[unit + 1]
            )
            total += units.tokens[unit] + gap * (1 - beside)
            taken[unit] = 1
            new.append(unit)
        needed = total - (least or 0)
        if needed <= budget:
            self.sum, self.least = total, least
            return needed, new
        for unit in new:
            taken[unit] = 0
        for chunk in opened:
            self.open[chunk] = 0
        return needed, []

    def take_head(self, unit: int, budget: int) -> tuple[tuple[int, int] | None, float]:
        """Take as many first sentences of a chunk as fit; and the budget that one more asks for.

        Nothing else may be there.
        """
        chunk = self.units.chunk[unit]
        sizes = [size for _, size in self.units.heads[chunk]]
        fitting = bisect_right(sizes, budget)
        longer = sizes[fitting] if fitting < len(sizes) else math.inf
        if not fitting:
            return None, longer
        self.taken[unit] = self.open[chunk] = 1
        self.least = self.units.joints[chunk]
        self.sum = sizes[fitting - 1] + self.least
        return (chunk, fitting), longer


def scan(
    units: Units,
    order: Iterable[tuple[int, float]],
    budget: int,
    *,
    singles: Sequence[Single] = (),
    whole: bool = False,
) -> Scan:
    """Take every unit of the order that still fits, with what it brings along.

    Greedy choice by value per token alone can be arbitrarily bad (one large unit may be worth more
    than all small ones); the better of it and of the best single unit is worth at least
    (1 - 1/e) / 2 of the best choice (Leskovec et al. 2007; Lin and Bilmes 2010).

    Args:
        units: what can be chosen.
        order: units in the order of greedy_order, and what each adds; gone through twice where
            `singles` are given.
        budget: tokens.
        singles: by cost and value, ascending.
        whole: find `following` too, for which the order must be gone through to its end.
    """
    if budget >= units.full:
        return Scan(units=tuple(range(len(units.tokens))), tokens=units.full)
    found = _first_fit(units, order, budget, whole=whole)
    following = min(found.following, units.full)
    at = bisect_right(singles, budget, key=lambda single: single.cost)
    if at < len(singles):
        following = min(following, singles[at].cost)
    if at and singles[at - 1].value > found.value:
        start = units.together(singles[at - 1].unit)
        found = _first_fit(units, order, budget, start=start, whole=whole)
        following = min(following, found.following)
    return Scan(
        units=found.units,
        head=found.head,
        tokens=found.tokens,
        value=found.value,
        following=following,
    )


def _first_fit(
    units: Units,
    order: Iterable[tuple[int, float]],
    budget: int,
    *,
    start: Sequence[int] = (),
    whole: bool = False,
) -> Scan:
    """Units that fit, in their order, beside those of `start`, which must fit."""
    state = _State(units)
    chosen = state.take(start, budget)[1]
    head: tuple[int, int] | None = None
    following = math.inf
    smallest = min(units.tokens, default=0) - units.gap  # a unit that closes a gap saves it
    gains: dict[int, float] = {}
    for unit, gain in order:
        gains[unit] = gain
        if state.taken[unit]:
            continue
        group = units.groups[unit]
        if unit in units.rivals:
            # A group that no budget of this size could hold is not kept together.
            alone = units.price(units.rivals[unit])
            if alone <= budget:
                group = units.rivals[unit]
            else:
                following = min(following, alone)
        needed, new = state.take(group, budget)
        chosen.extend(new)
        if needed <= budget:
            continue
        following = min(following, needed)
        if not chosen and units.chunk[unit] in units.heads:
            head, longer = state.take_head(unit, budget)
            following = min(following, longer)
            chosen.extend([unit] if head else [])
        if not whole and (chosen or not units.heads) and budget - state.tokens < smallest:
            break
    return Scan(
        units=tuple(sorted(chosen)),
        head=head,
        tokens=state.tokens,
        value=sum(gains.get(unit, 0.0) for unit in chosen),
        following=following,
    )
