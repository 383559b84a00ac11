"""The selection path: what every budget would keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._choice import Writer, choose
from ctxguard.stages._scan import Single
from ctxguard.stages._sweep import sweep
from ctxguard.stages._totals import Totals
from ctxguard.stages._units import Units
from ctxguard.types import JsonValue, Span

__all__ = ["Breakpoint", "Choice", "Kept", "SelectionPath"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a chunk."""

    id: str
    spans: tuple[Span, ...]
    """Characters of its text: its pieces, or all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a budget keeps."""

    tokens: int
    """Of what is kept, separators, gaps and templates included."""
    kept: tuple[Kept, ...]
    """Best-ranked chunk first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakpoint:
    """A budget at which the choice changes."""

    budget: int
    """From this many tokens on, up to the next breakpoint."""
    tokens: int
    """Of what is kept."""
    entered: tuple[Kept, ...]
    """What the budget just below did not keep."""
    left: tuple[Kept, ...]
    """What the budget just below kept: something better has room in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPath:
    """The order in which units are chosen, computed once; any budget is a scan of it."""

    units: Units
    order: tuple[int, ...]
    """Units by number, the one that is chosen first."""
    singles: tuple[Single, ...]
    writer: Writer = field(repr=False, compare=False)

    def at(self, budget: int) -> Choice:
        """What Select keeps with this budget: it is the same function that says so."""
        found, used = choose(
            self.units, self.order, max(0, budget), self.writer, singles=lambda: self.singles
        )
        chosen = np.zeros(len(self.units.tokens), dtype=np.bool_)
        chosen[list(found.units)] = True
        return Choice(tokens=used, kept=self._kept(self._spans(chosen, found.head)))

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """Every budget at which the choice changes, ascending; the choice below the first is empty.

        Exact against `at`, and found for all budgets in one pass.
        """
        return tuple(self._breakpoints())

    def to_json(self) -> dict[str, JsonValue]:
        """The breakpoints as plain data: `{"full": tokens, "breakpoints": [...]}`."""

        def plain(kept: Sequence[Kept]) -> list[JsonValue]:
            return [{"id": each.id, "spans": [list(span) for span in each.spans]} for each in kept]

        return {
            "full": self.units.full,
            "breakpoints": [
                {
                    "budget": point.budget,
                    "tokens": point.tokens,
                    "entered": plain(point.entered),
                    "left": plain(point.left),
                }
                for point in self.breakpoints
            ],
        }

    def _breakpoints(self) -> Iterator[Breakpoint]:
        found = sweep(self.units, self.order, self.singles)
        totals = Totals(found, self.writer)
        rows = np.vstack([found.units, np.zeros_like(found.units[:1])])
        last = -1
        for budget, find in totals.choices():
            if find == last:
                continue
            entered, left = rows[find] & ~rows[last], rows[last] & ~rows[find]
            heads = found.heads.get(find), found.heads.get(last)
            now, before = self._spans(entered), self._spans(left)
            if heads != (None, None):
                now, before = (
                    self._spans(rows[each], head)
                    for each, head in zip((find, last), heads, strict=True)
                )
                now, before = now - before, before - now
            last = find
            if now or before:
                yield Breakpoint(
                    budget=budget,
                    tokens=int(totals.used[find]),
                    entered=self._kept(now),
                    left=self._kept(before),
                )

    def _spans(
        self, chosen: NDArray[np.bool_], head: tuple[int, int] | None = None
    ) -> set[tuple[int, Span]]:
        """What is kept, as positions of chunks and characters of their text."""
        units = self.units
        spans = {(units.chunk[n], units.spans[n]) for n in np.flatnonzero(chosen).tolist()}
        if head is None:
            return spans
        chunk, sentences = head
        short = (chunk, (0, units.heads[chunk][sentences - 1][0]))
        return {short if place == chunk else (place, span) for place, span in spans}

    def _kept(self, spans: Set[tuple[int, Span]]) -> tuple[Kept, ...]:
        by_chunk: dict[int, list[Span]] = {}
        for place, span in sorted(spans):
            by_chunk.setdefault(place, []).append(span)
        return tuple(
            Kept(id=self.units.ids[place], spans=tuple(each)) for place, each in by_chunk.items()
        )
