"""A choice as it is written: the chunks that are cut to it, and what these cost together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ctxguard.stages._cut import cut_chunk
from ctxguard.stages._evidence import Counter
from ctxguard.stages._scan import Scan, Single, scan
from ctxguard.stages._units import Units
from ctxguard.types import Chunk, Span

__all__ = ["Short", "Writer", "choose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """What is kept of a chunk."""

    chunk: Chunk
    removed: tuple[Span, ...]
    """Of the text as it came in."""
    tokens: int
    """As it is written."""
    joint: int
    """Tokens that the separator after it adds."""
    written: str
    begins: bool
    ends: bool
    """Whether its tokens begin and, with its joint, end where it does, whatever is beside it."""

    @property
    def is_exact(self) -> bool:
        """Whether it costs its tokens and its joint beside others of which that is true."""
        return self.begins and self.ends


class Writer:
    """Cuts chunks to what was chosen of them, and counts what comes out."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        units: Units,
        counter: Counter,
        *,
        gap: str,
        seen_again: bool = False,
    ) -> None:
        """Set up.

        Args:
            chunks: those of the units.
            units: what can be chosen.
            counter: counts chunks as they are written.
            gap: marks a place where pieces are left out.
            seen_again: what is cut will be counted by others too.
        """
        self.chunks = chunks
        self.units = units
        self.counter = counter
        self.gap = gap
        self._tokens = counter.context.analyzer.count if seen_again else counter.tokens
        self._known: dict[tuple[int, tuple[int, ...], int], Short] = {}
        self._blocks: dict[tuple[str, ...], int] = {}

    def short(self, place: int, chosen: Sequence[int], head: int = 0) -> Short:
        """What is kept of a chunk.

        Args:
            place: its position.
            chosen: its pieces that are kept, by index, ascending; what is not divided is one.
            head: how many of its first sentences are kept; 0: all.
        """
        key = (place, tuple(chosen), head)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._cut(place, chosen, head)
        return known

    def _cut(self, place: int, chosen: Sequence[int], head: int) -> Short:
        chunk, units, counter = self.chunks[place], self.units, self.counter
        removed: tuple[Span, ...] = ()
        if head:
            end = units.heads[place][head - 1][0]
            removed = ((end, len(chunk.text)),)
            chunk = _head(chunk, end)
        elif len(chosen) < len(chunk.pieces):
            chunk, removed = cut_chunk(chunk, chosen, gap=self.gap)
        written = counter.written(chunk)
        joint, begins, ends = counter.edges(written)
        return Short(
            chunk=chunk,
            removed=removed,
            tokens=self._tokens(written) if removed else units.sizes[place],
            joint=joint,
            written=written,
            begins=begins,
            ends=ends,
        )

    def written(self, found: Scan) -> dict[int, Short]:
        """What is kept of each chunk, by position."""
        units = self.units
        chosen: dict[int, list[int]] = {}
        for unit in found.units:
            place = units.chunk[unit]
            chosen.setdefault(place, []).append(unit - units.first[place])
        cut, head = found.head or (-1, 0)
        return {
            place: self.short(place, indexes, head if place == cut else 0)
            for place, indexes in chosen.items()
        }

    def count(self, shorts: Iterable[Short]) -> int:
        """Tokens of the joined text in its dearest order.

        Where the parts are not known to add up to the whole, the whole is counted too, as it is
        joined now.
        """
        shorts = list(shorts)
        joints = [short.joint for short in shorts]
        parts = sum([short.tokens for short in shorts]) + sum(joints) - min(joints, default=0)
        if all(short.is_exact for short in shorts):
            return parts
        return max(parts, self._joined(shorts))

    def _joined(self, shorts: Sequence[Short]) -> int:
        """Tokens of the joined text in this order, counted together where tokens may meet."""
        total = 0
        block: list[Short] = []
        for short in shorts:
            if block and block[-1].ends and short.begins:
                total += self._together(block) + block[-1].joint
                block = []
            block.append(short)
        return total + self._together(block)

    def _together(self, block: Sequence[Short]) -> int:
        if len(block) == 1:
            return block[0].tokens
        texts = tuple([short.written for short in block])
        known = self._blocks.get(texts)
        if known is None:
            known = self.counter.tokens(self.counter.separator.join(texts))
            self._blocks[texts] = known
        return known


def choose(
    units: Units,
    order: Iterable[int],
    limit: int,
    writer: Writer,
    *,
    singles: Callable[[], Sequence[Single]],
) -> tuple[Scan, int]:
    """What is kept under a limit, and the tokens that it has when it is written."""
    budget = limit
    while True:
        found = scan(units, order, budget, singles=singles) if budget >= 0 else Scan()
        used = writer.count(writer.written(found).values())
        if used <= limit:
            return found, used
        # Where text is cut, and with some tokenizers anywhere, a whole has more tokens than the
        # parts of which it was reckoned.
        budget = min(budget, found.tokens) - (used - limit)


def _head(chunk: Chunk, end: int) -> Chunk:
    """The chunk cut behind a sentence."""
    text = chunk.text[:end]
    rendered = chunk.rendered.replace(chunk.text, text, 1) if chunk.rendered else ""
    return replace(chunk, text=text, rendered=rendered)
