"""What every budget pays for, all budgets at once: the order is gone through once for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._scan import Single, scan
from ctxguard.stages._units import Units

__all__ = ["Sweep", "sweep"]

_NONE = 1 << 40
"""Stands for the cheapest separator where there is no chunk yet."""
_CELLS = 1 << 24
"""Units times budgets that are looked at together: bytes of memory, a small multiple in all."""
_LEAST = 1024
"""Budgets that are looked at together whatever the number of units."""
_MARGIN = 1e-9
"""By which sums of floats in another order may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What `scan` finds for each budget from 0 up; budgets in a row that find the same are one.

    Where two blocks of budgets meet, they may be two.
    """

    budgets: NDArray[np.int64]
    """By find: the smallest budget, ascending; the first is 0."""
    units: NDArray[np.bool_]
    """Which units each find holds; shape `(finds, units)`."""
    tokens: NDArray[np.int64]
    heads: dict[int, tuple[int, int]]
    """Finds that hold a chunk cut to its first sentences."""


def sweep(units: Units, order: Sequence[int], singles: Sequence[Single]) -> Sweep:
    """Go through the order once, with a column for each budget up to that of all chunks.

    Takes some 50 µs per unit for 10,000 budgets. Budgets of which a single unit decides, or a chunk
    that is cut to its first sentences, are scanned by themselves: these are small.
    """
    count = units.full + 1
    step = max(_LEAST, _CELLS // len(units.tokens)) if units.tokens else count
    parts = [
        _swept(units, order, singles, range(start, min(start + step, count)))
        for start in range(0, count, step)
    ]
    budgets = np.concatenate([part.budgets for part in parts])
    places = {budget: find for find, budget in enumerate(budgets.tolist())}
    return Sweep(
        budgets=budgets,
        units=np.concatenate([part.units for part in parts]),
        tokens=np.concatenate([part.tokens for part in parts]),
        heads={
            places[int(part.budgets[find])]: head
            for part in parts
            for find, head in part.heads.items()
        },
    )


def _swept(units: Units, order: Sequence[int], singles: Sequence[Single], part: range) -> Sweep:
    """What `scan` finds for some budgets in a row."""
    every = _Every(units, part)
    for unit in order:
        every.take(unit)
    rows = every.rows()
    heads: dict[int, tuple[int, int]] = {}
    for column in np.flatnonzero(every.doubtful(singles)).tolist():
        found = scan(units, order, part[column], singles=lambda: singles)
        rows[:, column] = False
        rows[list(found.units), column] = True
        every.tokens[column] = found.tokens
        if found.head is not None:
            heads[column] = found.head
    new = np.ones(len(part), dtype=np.bool_)
    new[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    for column in {column + more for column in heads for more in (0, 1)} & set(range(len(part))):
        new[column] |= heads.get(column) != heads.get(column - 1)
    starts = np.flatnonzero(new)
    return Sweep(
        budgets=every.budgets[starts],
        units=rows[:, starts].T,
        tokens=every.tokens[starts],
        heads={n: heads[column] for n, column in enumerate(starts.tolist()) if column in heads},
    )


class _Every:
    """As the state of a scan, by budget: its columns are budgets, ascending."""

    def __init__(self, units: Units, part: range) -> None:
        self.units = units
        self.budgets = np.arange(part.start, part.stop, dtype=np.int64)
        count = self.budgets.size
        self.taken = np.zeros((len(units.tokens) + len(units.ids) + 1, count), dtype=np.bool_)
        """By unit and the number of its chunk, so that two chunks are no neighbours."""
        self.open = np.zeros((len(units.ids), count), dtype=np.bool_)
        self.sum = np.zeros(count, dtype=np.int64)
        self.least = np.full(count, _NONE, dtype=np.int64)
        self.p = np.zeros(count)
        self.cut = np.zeros(count, dtype=np.bool_)
        """Where a chunk may be cut to its first sentences."""
        self.tokens = self.sum

    def rows(self) -> NDArray[np.bool_]:
        """Which units are taken; shape `(units, budgets)`."""
        self.tokens = self.sum - np.where(self.least == _NONE, 0, self.least)
        chunk = np.asarray(self.units.chunk, dtype=np.int64)
        return self.taken[np.arange(chunk.size) + chunk]

    def take(self, unit: int) -> None:
        """Take a unit with what it brings along wherever that fits."""
        units = self.units
        rivals = units.rivals.get(unit)
        if rivals is None:
            self._take(unit, units.groups[unit], slice(None))
            return
        enough = int(self.budgets.searchsorted(units.price(rivals)))
        self._take(unit, units.groups[unit], slice(enough))
        self._take(unit, rivals, slice(enough, None))

    def _take(self, unit: int, group: Sequence[int], part: slice) -> None:
        units, gap = self.units, self.units.gap
        taken, is_open, chunk_of = self.taken[:, part], self.open[:, part], units.chunk
        asked = ~taken[unit + chunk_of[unit]]
        total, least = self.sum[part].copy(), self.least[part].copy()
        p = np.zeros(total.size)
        new: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
        for member in group:
            chunk = chunk_of[member]
            at = member + chunk
            here = asked & ~taken[at]
            cost = np.full(total.size, units.tokens[member] + gap, dtype=np.int64)
            cost -= gap * (taken[at - 1].astype(np.int64) + taken[at + 1])
            opened = here & ~is_open[chunk]
            joint = units.joints[chunk]
            cost += opened * (units.around[chunk] + joint - gap)
            np.minimum(least, joint, out=least, where=opened)
            total += here * cost
            p += here * units.relevance[member]
            taken[at] |= here
            is_open[chunk] |= opened
            new += [(taken[at], here), (is_open[chunk], opened)]
        fits = asked & (total - np.where(least == _NONE, 0, least) <= self.budgets[part])
        fails = asked & ~fits
        for row, added in new:
            np.copyto(row, row & ~fails, where=added)
        if chunk_of[unit] in units.heads:
            self.cut[part] |= fails & (self.least[part] == _NONE)
        np.copyto(self.sum[part], total, where=fits)
        np.copyto(self.least[part], least, where=fits)
        self.p[part] += p * fits

    def doubtful(self, singles: Sequence[Single]) -> NDArray[np.bool_]:
        """Budgets that may not simply take what fits in the order."""
        found = self.cut.copy()
        starts = self.budgets.searchsorted([single.cost for single in singles]).tolist()
        ends = [*starts[1:], self.budgets.size]
        for single, start, end in zip(singles, starts, ends, strict=False):
            found[start:end] |= self.p[start:end] < min(single.value, self.units.most) + _MARGIN
        # There is room for everything: `scan` says so.
        return found | (self.budgets >= self.units.full)
