"""What every budget keeps in the end: of what it pays for, what fits as it is written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._choice import Writer
from ctxguard.stages._scan import Scan
from ctxguard.stages._sweep import Sweep

__all__ = ["Totals"]

_BITS = 62
"""Pieces of a chunk whose choice is one whole number."""
_NONE = 1 << 40
"""Stands for the cheapest separator where there is no chunk."""


class Totals:
    """Counts each find of a sweep as `choose` does, and retries where a whole is too large."""

    def __init__(self, found: Sweep, writer: Writer) -> None:
        self.found = found
        self.writer = writer
        self.used = self._count()
        """By find: tokens of the joined text; the last entry is the choice of nothing."""

    def choices(self) -> Iterator[tuple[int, int]]:
        """Budgets, ascending, and what each keeps, by find; -1 is nothing."""
        budgets, used = self.found.budgets.tolist(), self.used.tolist()
        ends = [*budgets[1:], max(used) + 1]
        for find, (start, end) in enumerate(zip(budgets, ends, strict=True)):
            for budget in range(start, min(end, used[find])):
                yield budget, self._retried(find, budget)
            if used[find] < end:
                yield max(start, used[find]), find

    def _retried(self, find: int, limit: int) -> int:
        """What is kept where a find has more tokens than the limit; as `choose` goes on."""
        budget, used = limit, self.used
        while used[find] > limit:
            budget = min(budget, int(self.found.tokens[find])) - (int(used[find]) - limit)
            if budget < 0:
                return -1
            find = int(self.found.budgets.searchsorted(budget, side="right")) - 1
        return find

    def _count(self) -> NDArray[np.int64]:
        chosen, writer = self.found.units, self.writer
        total = np.zeros(len(chosen) + 1, dtype=np.int64)
        least = np.full(len(chosen), _NONE, dtype=np.int64)
        is_exact = np.ones(len(chosen), dtype=np.bool_)
        first = writer.units.first
        for place in range(len(writer.chunks)):
            pieces = chosen[:, first[place] : first[place + 1]]
            kinds, kind = _kinds(pieces)
            shorts = [
                writer.short(place, np.flatnonzero(row).tolist()) if row.any() else None
                for row in pieces[kinds]
            ]
            sizes = [short.tokens + short.joint if short else 0 for short in shorts]
            total[:-1] += np.array(sizes, dtype=np.int64)[kind]
            joints = np.array([short.joint if short else _NONE for short in shorts])[kind]
            np.minimum(least, joints, out=least)
            is_exact &= np.array([short is None or short.is_exact for short in shorts])[kind]
        total[:-1] -= np.where(least == _NONE, 0, least)
        is_exact[list(self.found.heads)] = False
        for find in np.flatnonzero(~is_exact).tolist():
            units = tuple(np.flatnonzero(chosen[find]).tolist())
            scan = Scan(units=units, head=self.found.heads.get(find))
            total[find] = writer.count(writer.written(scan).values())
        return total


def _kinds(rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the distinct rows, and which of them each row is."""
    if rows.shape[1] <= _BITS:
        codes = rows @ (1 << np.arange(rows.shape[1], dtype=np.int64))
        _, kinds, kind = np.unique(codes, return_index=True, return_inverse=True)
    else:
        packed = np.packbits(rows, axis=1)
        _, kinds, kind = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return kinds, kind.reshape(-1)
