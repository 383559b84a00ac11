"""A chunk while copies are taken out: its text as it is now, and what was decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._view import TextView
from ctxguard.types import Chunk, Decision, Span

__all__ = ["GLUE", "Entry", "cut"]

GLUE = "\n[…]\n"
"""Stands where something was taken out of the middle of a text."""


@dataclass(slots=True, eq=False)
class Entry:
    """A chunk in the pool."""

    rank: int
    """Its place, 0 is best."""
    chunk: Chunk
    """As it is now."""
    view: TextView
    """Of the text as it is now."""
    came_in: str
    """Its text before anything was taken out."""
    origin: NDArray[np.int64] | None = None
    """For each character of the text its index in `came_in`, -1 for what was added; shape
    `(characters,)`. None: nothing was taken out."""
    dropped: Decision | None = None
    trims: list[Decision] = field(default_factory=list[Decision])

    def original(self, span: Span) -> Span:
        """A span of the text as a span of the text that came in."""
        runs = _runs(self.origin, span)
        return (runs[0][0], runs[-1][1]) if runs else (0, 0)


def cut(entry: Entry, kept: Sequence[Span], *, note: str = "") -> list[Span]:
    """Take everything out of an entry's text but some spans of it.

    Args:
        entry: changed in place.
        kept: ascending spans of its text.
        note: put before what remains.

    Returns:
        What was taken out, as spans of the text that came in.
    """
    text = entry.chunk.text
    edges = [0, *(edge for span in kept for edge in span), len(text)]
    gone = [
        run
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        for run in _runs(entry.origin, (start, end))
    ]
    origin = np.arange(len(text)) if entry.origin is None else entry.origin
    places: list[NDArray[np.int64]] = [np.full(len(note), -1)]
    for number, (start, end) in enumerate(kept):
        places += [np.full(len(GLUE), -1)] if number else []
        places.append(origin[start:end])
    new = note + GLUE.join(text[start:end] for start, end in kept)
    rendered = entry.chunk.rendered.replace(text, new, 1)
    entry.origin = np.concatenate(places)
    entry.chunk = replace(entry.chunk, text=new, rendered=rendered)
    entry.view = TextView(new, entry.view.shared)
    return gone


def _runs(origin: NDArray[np.int64] | None, span: Span) -> list[Span]:
    """A span of the text as the spans of the text that came in that it consists of."""
    if span[0] >= span[1]:
        return []
    if origin is None:
        return [span]
    places = origin[span[0] : span[1]]
    places = places[places >= 0]
    if not places.size:
        return []
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, breaks)]
