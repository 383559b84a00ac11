"""The selection path: what every budget would keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ctxguard.stages._choice import Writer, choose
from ctxguard.stages._scan import Scan, Single
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
        return Choice(tokens=used, kept=self._kept(self._spans(found)))

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """Every budget at which the choice changes, ascending; the choice below the first is empty.

        Takes one scan per change: milliseconds for fifty chunks.
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
        budget: float = 0
        before: set[tuple[int, Span]] = set()
        while budget < math.inf:
            found = scan(self.units, self.order, int(budget), singles=self.singles, whole=True)
            now = set(self._spans(found))
            if now != before:
                yield Breakpoint(
                    budget=int(budget),
                    tokens=found.tokens,
                    entered=self._kept(now - before),
                    left=self._kept(before - now),
                )
            before, budget = now, found.following

    def _choice(self, found: Scan) -> Choice:
        return Choice(tokens=found.tokens, kept=self._kept(self._spans(found)))

    def _spans(self, found: Scan) -> list[tuple[int, Span]]:
        """What is kept, as positions of chunks and characters of their text."""
        units = self.units
        spans = [(units.chunk[unit], units.spans[unit]) for unit in found.units]
        if found.head is None:
            return spans
        chunk, sentences = found.head
        short = (chunk, (0, units.heads[chunk][sentences - 1][0]))
        return [short if place == chunk else (place, span) for place, span in spans]

    def _kept(self, spans: Sequence[tuple[int, Span]] | set[tuple[int, Span]]) -> tuple[Kept, ...]:
        by_chunk: dict[int, list[Span]] = {}
        for place, span in sorted(spans):
            by_chunk.setdefault(place, []).append(span)
        return tuple(
            Kept(id=self.units.ids[place], spans=tuple(each)) for place, each in by_chunk.items()
        )
