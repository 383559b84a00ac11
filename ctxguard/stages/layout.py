"""Layout: the order in which the evidence stands in the prompt, and how it is written there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias, get_args

from ctxguard.errors import PolicyError
from ctxguard.stages._index import name_of
from ctxguard.text.template import Template
from ctxguard.types import Chunk, Context, Decision, StageResult

__all__ = ["Layout", "Order", "write_chunks"]

Order: TypeAlias = Literal["edges", "rank", "source", "stable", "cache-stable"]

_PAGES = ("page", "page_number")
_OFFSETS = ("start_index", "start_char_idx", "position", "chunk_index")
"""Metadata keys: LangChain's splitters and loaders, LlamaIndex's nodes, what people write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Arranges the chunks; nothing is left out and no text is touched.

    Idempotent although position means rank: Layout writes the rank that a chunk had into
    `Chunk.rank`. Chunks that already lie exactly as their ranks ask for stay; in any other order
    (somebody reranked them since) the position decides again.
    """

    name: ClassVar[str] = "layout"

    order: Order = "edges"
    """How to arrange:

    - 'edges' (default): the best first, the second best last, and so on inwards, because models
      use the middle of a long context least (Liu et al. 2023, "Lost in the Middle"). The first
      chunk stays the best one, so code that reads only the first is not surprised.
    - 'rank': as ranked.
    - 'source': chunks of one source together, in the order in which they stand in it; sources in
      the order of their best chunk.
    - 'stable': by a hash of the content, so that the same set of chunks gives the same bytes
      whatever the ranks (for prompt caching).
    - 'cache-stable': what stood in the prompt before (`Context.previous`) stays where it was, what
      is new follows, by source, place in it and id, whatever the question. The prompt then begins
      with the same bytes turn after turn, as far as the same chunks come back uncut: without
      `Compress`, which cuts them for each question in another way.
    """

    def __post_init__(self) -> None:
        """Reject an order that does not exist."""
        if self.order not in get_args(Order):
            raise PolicyError(
                f"Layout.order: expected one of {', '.join(get_args(Order))}, got {self.order!r}"
            )

    def __call__(self, context: Context, /) -> StageResult:
        """Arrange the chunks of the context."""
        chunks = context.chunks
        if self.order == "rank" or len(chunks) < 2:
            return StageResult(context=context)
        if self.order == "edges":
            return self._edges(context)
        if self.order == "cache-stable":
            return self._moved(context, chunks, _by_place(chunks, context.previous))
        arrange = _by_source if self.order == "source" else _by_content
        return self._moved(context, chunks, arrange(chunks))

    def _edges(self, context: Context) -> StageResult:
        chunks = context.chunks
        inwards = _inwards(len(chunks))
        if [chunk.rank for chunk in chunks] == inwards:
            return StageResult(context=context)
        ranked = tuple(replace(chunk, rank=place) for place, chunk in enumerate(chunks))
        return self._moved(context, ranked, inwards)

    def _moved(
        self, context: Context, chunks: Sequence[Chunk], sequence: Sequence[int]
    ) -> StageResult:
        """The chunks in this sequence of their positions, a Decision for each that moved."""
        return StageResult(
            context=replace(context, chunks=tuple(chunks[place] for place in sequence)),
            decisions=tuple(self._decisions(chunks, sequence)),
        )

    def _decisions(self, chunks: Sequence[Chunk], sequence: Sequence[int]) -> Iterator[Decision]:
        for new, old in enumerate(sequence):
            if new != old:
                yield Decision(
                    stage=self.name,
                    action="move",
                    subject=chunks[old].id,
                    code=self.order,
                    reason=_REASONS[self.order](chunks[old], old, new, len(chunks)),
                    details={"from": old, "to": new},
                )


# -- orders: the old positions in their new sequence --------------------------------------------


def _inwards(count: int) -> list[int]:
    """Ranks from the edges inwards: 0, 2, 4, …, 5, 3, 1; right for even and odd counts."""
    return [*range(0, count, 2), *reversed(range(1, count, 2))]


def _by_source(chunks: Sequence[Chunk]) -> list[int]:
    groups: dict[tuple[str, str], list[int]] = {}
    for place, chunk in enumerate(chunks):
        # Two chunks without a source cannot be said to come from the same one.
        owner = ("source", chunk.source) if chunk.source else ("chunk", chunk.id)
        groups.setdefault(owner, []).append(place)
    return [place for group in groups.values() for place in _by_position(chunks, group)]


def _by_position(chunks: Sequence[Chunk], group: Sequence[int]) -> list[int]:
    """One source's chunks by page and offset, as far as all of them have it; else as ranked."""
    metadata = [chunks[place].metadata for place in group]
    columns = [
        next((values for key in keys if (values := _column(metadata, key)) is not None), None)
        for keys in (_PAGES, _OFFSETS)
    ]
    known = [column for column in columns if column is not None]
    order = sorted(range(len(group)), key=lambda row: [column[row] for column in known])
    return [group[row] for row in order]


def _column(metadata: Sequence[Mapping[str, object]], key: str) -> list[float] | None:
    """The numbers under a key; None unless every chunk has one, for some alone give no order."""
    numbers: list[float] = []
    for entry in metadata:
        value = entry.get(key)
        if isinstance(value, str) and value.isdecimal() and len(value) < 16:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return None
        numbers.append(value)
    return numbers


def _by_place(chunks: Sequence[Chunk], previous: Sequence[str]) -> list[int]:
    """What was there before in its old order, then by source, page, offset and id."""
    before = {name: place for place, name in enumerate(previous)}
    metadata = [chunk.metadata for chunk in chunks]

    def key(place: int) -> tuple[int, str, list[float], str]:
        chunk = chunks[place]
        if chunk.id in before:
            return before[chunk.id], "", [], chunk.id
        numbers = [
            next((n[0] for key in keys if (n := _column([metadata[place]], key))), math.inf)
            for keys in (_PAGES, _OFFSETS)
        ]
        return len(before), chunk.source or chunk.id, numbers, chunk.id

    return sorted(range(len(chunks)), key=key)


def _by_content(chunks: Sequence[Chunk]) -> list[int]:
    def key(place: int) -> tuple[bytes, str]:
        text = chunks[place].rendered or chunks[place].text
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), chunks[place].id

    return sorted(range(len(chunks)), key=key)


# -- reasons ------------------------------------------------------------------------------------


def _edge_reason(_: Chunk, old: int, new: int, count: int) -> str:
    side = "start" if new <= (count - 1) // 2 else "end"
    return (
        f"rank {old + 1} of {count} stands at place {new + 1}: the better a chunk, the nearer to "
        f"an edge of the evidence (here the {side}), where models read best"
    )


def _source_reason(chunk: Chunk, old: int, new: int, _: int) -> str:
    whose = f"the chunks of {chunk.source}" if chunk.source else "the chunks of one source"
    return f"from place {old + 1} to {new + 1}: {whose} stand together, in the order of the source"


def _stable_reason(_: Chunk, old: int, new: int, __: int) -> str:
    return (
        f"from place {old + 1} to {new + 1}: ordered by content, so that the same chunks give "
        "the same prompt whatever their ranks"
    )


def _cache_reason(_: Chunk, old: int, new: int, __: int) -> str:
    return (
        f"from place {old + 1} to {new + 1}: what stood in the prompt before stays in front, so "
        "that its beginning is the same and can be read from the provider's cache"
    )


_REASONS: Mapping[Order, Callable[[Chunk, int, int, int], str]] = {
    "edges": _edge_reason,
    "source": _source_reason,
    "stable": _stable_reason,
    "cache-stable": _cache_reason,
}


# -- writing --------------------------------------------------------------------------------------


def write_chunks(chunks: Sequence[Chunk], template: Template | None = None) -> tuple[str, ...]:
    """Each chunk as it is written into the prompt, numbered from 1 in this order.

    Args:
        chunks: in the order of the prompt.
        template: None: each is its text.
    """
    if template is None:
        return tuple(chunk.text for chunk in chunks)
    numbers = {chunk.id: place for place, chunk in enumerate(chunks, start=1)}
    return tuple(
        template.write(
            text=chunk.text,
            number=number,
            id=chunk.id,
            source=chunk.source,
            title=name_of(chunk),
            also_in=chunk.also_in,
            rivals=tuple(str(numbers[name]) for name in chunk.conflicts if name in numbers),
        )
        for number, chunk in enumerate(chunks, start=1)
    )
