"""The order in which units are chosen: the most value per token first, whatever the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

from ctxguard.stages._scan import Single
from ctxguard.stages._units import Units

__all__ = ["Order", "best_singles", "greedy_order"]


_NEAR = 0.02
"""A value that has fallen by less is as good as the known one. A unit is worth at least its P, so
that it is looked at again a dozen times at most; without it, ten thousand equal units would all be
looked at for each that is chosen. The guarantee suffers by the same share."""


class Order:
    """The steps of greedy_order, computed as far as somebody has read them."""

    def __init__(self, steps: Iterator[tuple[int, float]]) -> None:
        self._steps = steps
        self._known: list[tuple[int, float]] = []

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """All steps from the first one, as often as asked for."""
        place = 0
        while True:
            if place == len(self._known):
                step = next(self._steps, None)
                if step is None:
                    return
                self._known.append(step)
            yield self._known[place]
            place += 1


def best_singles(units: Units, coverage: float) -> tuple[Single, ...]:
    """Units, each with what it needs, that are worth more than every one that costs less."""
    if not units.judged:
        return ()
    value = _Greedy(units, coverage).value
    groups = map(units.together, range(len(units.tokens)))
    offers = sorted((units.price(each), -value(each), unit) for unit, each in enumerate(groups))
    best: list[Single] = []
    for cost, less, unit in offers:
        if not best or -less > best[-1].value:
            best.append(Single(cost=cost, value=-less, unit=unit))
    return tuple(best)


def greedy_order(units: Units, coverage: float) -> Iterator[tuple[int, float]]:
    """Units in the order of the lazy greedy algorithm, each with the value that it adds.

    The value of a set is the sum of P(it helps) plus `coverage` times the share of the question's
    terms that it covers, where a term counts once: monotone and submodular. Marginal values only
    fall as the set grows, so an outdated one is an upper bound, and only the top of the heap is
    looked at again (Minoux 1978; with costs, CELF: Leskovec et al. 2007).

    A unit's value includes what it brings along; each of those follows it in the order, so that it
    can be had alone where both have no room. Without relevance, the order is that of the ranks.
    """
    if not units.judged:
        yield from ((unit, 1.0 / (unit + 1)) for unit in range(len(units.tokens)))
        return
    yield from _Greedy(units, coverage).run()


class _Greedy:
    """What has been chosen so far; mutable while it runs."""

    def __init__(self, units: Units, coverage: float) -> None:
        self.units = units
        self.taken = bytearray(len(units.tokens))
        self.open = bytearray(len(units.ids))
        weights = {term: weight for covers in units.covers for term, weight in covers}
        total = sum(weights.values()) or 1.0
        self.left = {term: coverage * weight / total for term, weight in weights.items()}
        """What covering each term would still add."""
        self.heap: list[tuple[float, int]] = []
        self.dependents: dict[int, list[int]] = {}
        self.needed = {
            member for unit, group in enumerate(units.groups) for member in group if member != unit
        }
        """What is worth nothing and needed by others (a heading) is there for them only."""

    def run(self) -> Iterator[tuple[int, float]]:
        units = self.units
        for unit in range(len(units.tokens)):
            group = units.together(unit)
            for member in group if len(group) > 1 else ():
                self.dependents.setdefault(member, []).append(unit)
            ratio = self._ratio(unit)
            if ratio > 0:
                self.heap.append((-ratio, unit))
        heapify(self.heap)
        while self.heap:
            known, unit = heappop(self.heap)
            if self.taken[unit]:
                continue
            ratio = self._ratio(unit)
            outdated = ratio < -known * (1.0 - _NEAR)
            if outdated and self.heap and (-ratio, unit) > self.heap[0]:
                heappush(self.heap, (-ratio, unit))
                continue
            yield from self._take(unit)
        for unit, there in enumerate(self.taken):
            if not there and (units.relevance[unit] or unit not in self.needed):
                yield unit, 0.0

    def _ratio(self, unit: int) -> float:
        """Value per token of a unit with all that it brings along and that is not there yet."""
        units, taken = self.units, self.taken
        gain, cost = 0.0, 0
        chunk = -1
        for member in units.together(unit):
            if taken[member]:
                continue
            gain += self._gain(member)
            cost += units.tokens[member]
            if units.chunk[member] != chunk:
                chunk = units.chunk[member]
                if not self.open[chunk]:
                    cost += units.around[chunk] + units.joints[chunk]
        return gain / max(1, cost)

    def _gain(self, unit: int) -> float:
        p = self.units.relevance[unit]
        if not p:
            return 0.0
        left = self.left
        return p + p * sum(left[term] for term, _ in self.units.covers[unit])

    def value(self, group: Sequence[int]) -> float:
        """What some units are worth when nothing is there."""
        missing: dict[str, float] = {}
        total = 0.0
        for member in group:
            p = self.units.relevance[member]
            total += p
            for term, _ in self.units.covers[member]:
                missing[term] = missing.get(term, 1.0) * (1.0 - p)
        return total + sum(self.left[term] * (1.0 - share) for term, share in missing.items())

    def _take(self, unit: int) -> Iterator[tuple[int, float]]:
        units = self.units
        new = [member for member in units.together(unit) if not self.taken[member]]
        # The one that was asked for first: alone, it may have no room for what it brings along.
        for member in sorted(new, key=lambda each: each != unit):
            gain = self._gain(member)
            self.taken[member] = 1
            p = units.relevance[member]
            for term, _ in units.covers[member]:
                self.left[term] *= 1.0 - p
            if p or member not in self.needed:
                yield member, gain
        self._cheaper(new)

    def _cheaper(self, new: Sequence[int]) -> None:
        """Look again at units whose cost has fallen: what they need is there, or their chunk is."""
        units = self.units
        again: set[int] = set()
        for member in new:
            again.update(self.dependents.pop(member, ()))
            chunk = units.chunk[member]
            if not self.open[chunk]:
                self.open[chunk] = 1
                if units.around[chunk] + units.joints[chunk]:
                    again.update(range(units.first[chunk], units.first[chunk + 1]))
        for unit in sorted(again):
            if not self.taken[unit]:
                ratio = self._ratio(unit)
                if ratio > 0:
                    heappush(self.heap, (-ratio, unit))
