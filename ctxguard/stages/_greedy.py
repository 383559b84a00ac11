"""The order in which units are chosen: the most value per token first, whatever the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

from ctxguard.stages._scan import Single
from ctxguard.stages._units import Units

__all__ = ["Order", "best_singles", "greedy_order"]


_NEAR = 0.02
"""Of units that bring others of worth along, a value that has fallen by less is as good as the
known one. A unit is worth at least its P, so that it is looked at again a dozen times at most;
without it, ten thousand alike would all be looked at for each that is chosen."""


class Order:
    """The steps of greedy_order, computed as far as somebody has read them."""

    def __init__(self, steps: Iterator[int]) -> None:
        self._steps = steps
        self._known: list[int] = []

    def __iter__(self) -> Iterator[int]:
        """All steps from the first one, as often as asked for."""
        yield from self._known
        place = len(self._known)
        while True:
            if place == len(self._known):
                step = next(self._steps, None)
                if step is None:
                    return
                self._known.append(step)
            yield self._known[place]
            place += 1


def best_singles(units: Units) -> tuple[Single, ...]:
    """Units, each with what it needs, that are worth more than every one that costs less."""
    if not units.judged:
        return ()
    groups = map(units.together, range(len(units.tokens)))
    offers = sorted((units.price(each), -units.worth(each), n) for n, each in enumerate(groups))
    best: list[Single] = []
    for cost, less, unit in offers:
        if not best or -less > best[-1].value:
            best.append(Single(cost=cost, value=-less, unit=unit))
    return tuple(best)


def greedy_order(units: Units) -> Iterator[int]:
    """Units in the order of the lazy greedy algorithm.

    The value of a set is `Units.worth`: monotone and submodular. Marginal values only fall as the
    set grows, so an outdated one is an upper bound, and only the top of the heap is looked at again
    (Minoux 1978; with costs, CELF: Leskovec et al. 2007). Units that cover the same terms gain by
    the same factor: which of them is next does not depend on what is there, so that they are one
    entry of the heap together, and ten thousand alike take n log n steps.

    The order is exact for units that bring along nothing of worth of their own. Where one does (a
    sentence that needs another one, a version), the worth of both is divided by the cost of both,
    and may be outdated by two percent; what is brought along follows it in the order, so that each
    can be had alone where both have no room. Without relevance, the order is that of the ranks.
    """
    if not units.judged:
        return iter(range(len(units.tokens)))
    return _Greedy(units).run()


class _Alike:
    """Units that cover the same terms and bring along nothing of worth, by P per token."""

    __slots__ = ("heap", "offer", "terms")

    def __init__(self, terms: Sequence[int]) -> None:
        self.terms = terms
        self.heap: list[tuple[float, int]] = []
        self.offer: tuple[float, int] | None = None
        """What stands for them in the heap of all."""


class _Greedy:
    """What has been chosen so far; mutable while it runs."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.taken = bytearray(len(units.tokens))
        self.open = bytearray(len(units.ids))
        self.over = [max(0, sum(two)) for two in zip(units.around, units.joints, strict=True)]
        """By chunk: what its first unit pays for all."""
        self.left = list(units.weights)
        """What covering each term would still add."""
        self.heap: list[tuple[float, int]] = []
        self.alike: list[_Alike | None] = [None] * len(self.taken)
        """By unit: those like it; None: it is looked at by itself."""
        self.dependents: dict[int, list[int]] = {}
        self.needed = {
            member
            for unit, group in enumerate(units.groups)
            if len(group) > 1
            for member in group
            if member != unit
        }
        """What is worth nothing and needed by others (a heading) is there for them only."""

    def run(self) -> Iterator[int]:
        self._begin()
        heap, taken = self.heap, self.taken
        while heap:
            offer = heappop(heap)
            unit = offer[1]
            alike = self.alike[unit]
            if alike is not None:
                if offer != alike.offer:
                    continue
                alike.offer = now = self._best(alike)
                if now is None:
                    continue
                if now > offer and heap and now > heap[0]:
                    heappush(heap, now)
                    continue
                alike.offer = None
                yield from self._take(now[1])
                self._offer(alike)
            elif not taken[unit]:
                ratio = self._ratio(unit)
                outdated = ratio < -offer[0] * (1.0 - _NEAR)
                if outdated and heap and (-ratio, unit) > heap[0]:
                    heappush(heap, (-ratio, unit))
                    continue
                yield from self._take(unit)
        relevance = self.units.relevance
        for unit, there in enumerate(taken):
            if not there and (relevance[unit] or unit not in self.needed):
                yield unit

    def _begin(self) -> None:
        """Put every unit where it is looked at."""
        units, relevance = self.units, self.units.relevance
        tokens, over, chunk_of = units.tokens, self.over, units.chunk
        classes: dict[tuple[int, ...], _Alike] = {}
        for unit, p in enumerate(relevance):
            group = units.together(unit) if units.rivals else units.groups[unit]
            if len(group) > 1 and self._brings_worth(unit, group):
                self.heap.append((-self._ratio(unit), unit))
            elif p > 0:
                terms = units.covers[unit]
                alike = classes.get(terms)
                if alike is None:
                    alike = classes[terms] = _Alike(terms)
                self.alike[unit] = alike
                # As `_cost` has it, without the call.
                alone = len(group) == 1
                cost = max(1, tokens[unit] + over[chunk_of[unit]]) if alone else self._cost(unit)
                alike.heap.append((-p / cost, unit))
        for alike in classes.values():
            if len(alike.heap) > 1:
                heapify(alike.heap)
            density, unit = alike.heap[0]
            alike.offer = (density * self._share(alike.terms), unit)
            self.heap.append(alike.offer)
        heapify(self.heap)

    def _brings_worth(self, unit: int, group: Sequence[int]) -> bool:
        """Whether a unit brings others of worth along; notes whose coming makes it cheaper."""
        relevance = self.units.relevance
        for member in group:
            self.dependents.setdefault(member, []).append(unit)
        return any(relevance[member] for member in group if member != unit)

    def _best(self, alike: _Alike) -> tuple[float, int] | None:
        """The best unit of a class as it stands now; None if all are taken."""
        heap = alike.heap
        while heap and self.taken[heap[0][1]]:
            heappop(heap)
        if not heap:
            return None
        density, unit = heap[0]
        return density * self._share(alike.terms), unit

    def _share(self, terms: Sequence[int]) -> float:
        """What a unit of P 1 adds that covers these terms."""
        share, left = 1.0, self.left
        for term in terms:
            share += left[term]
        return share

    def _cost(self, unit: int) -> int:
        """Tokens of a unit with all that it brings along and that is not there yet, at least 1."""
        units, taken = self.units, self.taken
        group = units.together(unit)
        chunk = units.chunk[unit]
        if len(group) == 1:
            cost = units.tokens[unit]
            return max(1, cost if self.open[chunk] else cost + self.over[chunk])
        cost, last = 0, -1
        for member in group:
            if taken[member]:
                continue
            cost += units.tokens[member]
            if units.chunk[member] != last:
                last = units.chunk[member]
                if not self.open[last]:
                    cost += self.over[last]
        return max(1, cost)

    def _ratio(self, unit: int) -> float:
        """Value per token of a unit with all that it brings along and that is not there yet."""
        units = self.units
        gain = sum(
            units.relevance[member] * self._share(units.covers[member])
            for member in units.together(unit)
            if not self.taken[member]
        )
        return gain / self._cost(unit)

    def _take(self, unit: int) -> Iterator[int]:
        """The unit, then what it brings along: alone, it may have no room for that."""
        units, taken = self.units, self.taken
        group = units.together(unit)
        new = [member for member in group if not taken[member]] if len(group) > 1 else group
        for member in new:
            taken[member] = 1
            p = units.relevance[member]
            if p:
                for term in units.covers[member]:
                    self.left[term] *= 1.0 - p
        yield unit
        if len(group) > 1:
            for member in new:
                if member != unit and (units.relevance[member] or member not in self.needed):
                    yield member
        self._cheaper(new)

    def _cheaper(self, new: Sequence[int]) -> None:
        """Look again at units whose cost has fallen: what they need is there, or their chunk is."""
        units = self.units
        again: list[int] = []
        for member in new:
            again += self.dependents.pop(member, ())
            chunk = units.chunk[member]
            if not self.open[chunk]:
                self.open[chunk] = 1
                if self.over[chunk] > 0:
                    again += range(units.first[chunk], units.first[chunk + 1])
        for unit in again:
            if self.taken[unit]:
                continue
            alike = self.alike[unit]
            if alike is not None:
                heappush(alike.heap, (-units.relevance[unit] / self._cost(unit), unit))
                if alike.heap[0][1] == unit:
                    self._offer(alike)
            elif (ratio := self._ratio(unit)) > 0:
                heappush(self.heap, (-ratio, unit))

    def _offer(self, alike: _Alike) -> None:
        """Put the best of a class into the heap of all, in place of what stood for it."""
        alike.offer = self._best(alike)
        if alike.offer is not None:
            heappush(self.heap, alike.offer)
