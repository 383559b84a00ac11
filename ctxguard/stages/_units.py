"""What Select can choose: pieces, and chunks that are not divided, with what each of them costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ctxguard.stages._evidence import Counter, is_divisible
from ctxguard.stages._rivals import find_rests, find_rivals
from ctxguard.types import Chunk, Context, Piece, Span

__all__ = ["Heads", "Units", "units_of"]

_CUT_TRIED = 8
"""Best-ranked chunks that are cut to their first sentences when nothing else fits."""
_MAX_NEEDS = 16
"""Pieces that a piece brings along to be understood."""
_MAX_GROUP = 64
"""Units that one brings along; a larger group (a hundred versions of one clause) is not kept
together."""


class Heads:
    """Chunks that can be cut to their first sentences, as far as somebody asks for them."""

    def __init__(self, context: Context, counter: Counter, limit: int | None) -> None:
        """The best chunks, as far as they are not divided.

        Args:
            context: the chunks.
            counter: counts them as they are written.
            limit: sentences beyond it are not counted; None: all are.
        """
        self._context = context
        self._counter = counter
        self._limit = limit
        self._places = {
            place
            for place, chunk in enumerate(context.chunks[:_CUT_TRIED])
            if not chunk.pieces and is_divisible(chunk)
        }
        self._known: dict[int, tuple[tuple[int, int], ...]] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._places)

    def __contains__(self, place: int) -> bool:
        """Whether the chunk at this position can be cut."""
        return place in self._places

    def __getitem__(self, place: int) -> tuple[tuple[int, int], ...]:
        """Where each sentence of a chunk ends, and the tokens up to it."""
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._count(self._context.chunks[place])
        return known

    def _count(self, chunk: Chunk) -> tuple[tuple[int, int], ...]:
        used = self._counter.around(chunk)
        ends: list[tuple[int, int]] = []
        at = 0
        for _, end in self._context.analyzer.analyse(chunk.text).sentences:
            used += self._counter.tokens(chunk.text[at:end])
            at = end
            ends.append((end, used))
            if self._limit is not None and used > self._limit:
                break
        return tuple(ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Units by number, best-ranked chunk first and in the order of its text; chunks by position.

    A unit costs its tokens. The first unit of a chunk also pays what is written around the chunk
    and the separator after it, and each stretch of neighbours but the first a gap.
    """

    ids: tuple[str, ...]
    """Of the chunks."""
    first: tuple[int, ...]
    """By chunk: its first unit; one more entry at the end."""
    around: tuple[int, ...]
    joints: tuple[int, ...]
    sizes: tuple[int, ...]
    """Tokens of each chunk undivided, as it is written."""
    chunk: tuple[int, ...]
    """By unit: the position of its chunk."""
    spans: tuple[Span, ...]
    tokens: tuple[int, ...]
    relevance: tuple[float, ...]
    covers: tuple[tuple[int, ...], ...]
    """By unit: the terms of the question that it covers, by number."""
    weights: tuple[float, ...]
    """By term: what covering it for certain is worth."""
    groups: tuple[tuple[int, ...], ...]
    """By unit: itself, and all that it needs to be understood."""
    rivals: dict[int, tuple[int, ...]]
    """Units that are kept together with some of other chunks, their group and those included:
    other versions, and what holds what was trimmed from theirs."""
    heads: Heads
    gap: int
    """Tokens of the mark between two stretches."""
    full: int
    """Tokens of all chunks undivided."""
    most: float
    """No unit with all that it brings along is worth more."""
    judged: bool
    """Whether relevance is known; else the rank alone decides."""

    def together(self, unit: int) -> tuple[int, ...]:
        """A unit with all that it should not be kept without."""
        return self.rivals.get(unit) or self.groups[unit]

    def worth(self, group: Iterable[int]) -> float:
        """The sum of P(it helps) of some units, and of what their terms are worth.

        A term counts by P(one of the units that cover it helps), however many these are.
        """
        total = 0.0
        missing: dict[int, float] = {}
        for unit in group:
            p = self.relevance[unit]
            total += p
            for term in self.covers[unit]:
                missing[term] = missing.get(term, 1.0) * (1.0 - p)
        weights = self.weights
        return total + sum(weights[term] * (1.0 - share) for term, share in missing.items())

    def price(self, group: Sequence[int]) -> int:
        """Tokens of some units, ascending, when nothing else is there."""
        total, last = 0, -1
        joints: list[int] = []
        for unit in group:
            chunk = self.chunk[unit]
            if last < 0 or self.chunk[last] != chunk:
                joints.append(self.joints[chunk])
                total += self.around[chunk] + self.joints[chunk]
            elif unit != last + 1:
                total += self.gap
            total += self.tokens[unit]
            last = unit
        return total - min(joints, default=0)


def units_of(
    context: Context, counter: Counter, gap: str, coverage: float, *, limit: int | None = None
) -> Units:
    """The units of a context.

    Args:
        context: the chunks, best-ranked first.
        counter: counts them as they are written.
        gap: what marks a place where pieces are left out.
        coverage: what covering every term of the question is worth.
        limit: no budget will be larger; None: any may come.
    """
    chunks = context.chunks
    first = [0]
    chunk_of: list[int] = []
    spans: list[Span] = []
    tokens: list[int] = []
    relevance: list[float | None] = []
    terms: list[tuple[tuple[str, float], ...]] = []
    sizes = [counter.count(chunk) for chunk in chunks]
    for place, chunk in enumerate(chunks):
        pieces = chunk.pieces or (_whole(chunk, sizes[place]),)
        chunk_of += [place] * len(pieces)
        spans += [piece.span for piece in pieces]
        tokens += [piece.tokens for piece in pieces]
        relevance += [piece.relevance for piece in pieces]
        terms += [piece.covers for piece in pieces]
        first.append(len(spans))
    joints = [counter.joint(counter.written(chunk)) for chunk in chunks]
    groups = _groups(chunks, first)
    known = [value or 0.0 for value in relevance]
    rivals = find_rivals(chunks, first)
    if any(chunk.leans_on for chunk in chunks):
        for unit, rest in find_rests(chunks, first, known).items():
            rivals[unit] = [*rivals.get(unit, ()), *rest]
    joint = _with_rivals(groups, rivals)
    covers, weights = _terms(terms, coverage)
    return Units(
        ids=tuple(chunk.id for chunk in chunks),
        first=tuple(first),
        around=tuple(counter.around(chunk) if chunk.pieces else 0 for chunk in chunks),
        joints=tuple(joints),
        sizes=tuple(sizes),
        chunk=tuple(chunk_of),
        spans=tuple(spans),
        tokens=tuple(tokens),
        relevance=tuple(known),
        covers=covers,
        weights=weights,
        groups=groups,
        rivals=joint,
        heads=Heads(context, counter, limit),
        gap=counter.tokens(gap),
        full=sum(sizes) + sum(joints) - min(joints, default=0),
        most=sum(weights) + _most((*groups, *joint.values()), known),
        judged=any(value is not None for value in relevance),
    )


def _whole(chunk: Chunk, size: int) -> Piece:
    """A chunk that is not divided as its only piece."""
    return Piece(span=(0, len(chunk.text)), tokens=size, relevance=chunk.relevance)


def _most(groups: Sequence[tuple[int, ...]], relevance: Sequence[float]) -> float:
    """The largest sum of a group."""
    large = (sum([relevance[unit] for unit in group]) for group in groups if len(group) > 1)
    return max(max(relevance, default=0.0), max(large, default=0.0))


def _terms(
    covers: Sequence[tuple[tuple[str, float], ...]], coverage: float
) -> tuple[tuple[tuple[int, ...], ...], tuple[float, ...]]:
    """Terms by number, and what each is worth."""
    numbers: dict[str, int] = {}
    counts: list[float] = []
    rows: list[tuple[int, ...]] = []
    for each in covers:
        row: list[int] = []
        for term, count in each:
            number = numbers.get(term)
            if number is None:
                number = numbers[term] = len(counts)
                counts.append(count)
            row.append(number)
        rows.append(tuple(row))
    total = sum(counts) or 1.0
    return tuple(rows), tuple([coverage * count / total for count in counts])


def _groups(chunks: Sequence[Chunk], first: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    groups: list[tuple[int, ...]] = []
    for chunk, start in zip(chunks, first, strict=False):
        if not chunk.pieces:
            groups.append((start,))
            continue
        needs = [piece.needs for piece in chunk.pieces]
        for index, each in enumerate(needs):
            if not each:
                groups.append((start + index,))
                continue
            # Beyond the limit (a page of sentences that all begin with "this") the next ones do.
            inner = _closure((index,), needs, _MAX_NEEDS)
            inner = inner or tuple(sorted({index, *each[-_MAX_NEEDS:]}))
            groups.append(tuple([start + i for i in inner]))
    return tuple(groups)


def _closure(
    begin: Sequence[int], needs: Sequence[Sequence[int]], most: int | None = None
) -> tuple[int, ...]:
    """All that is needed, directly or not, ascending; empty if it is more than `most`."""
    found = set(begin)
    open_ = list(begin)
    while open_:
        for need in needs[open_.pop()]:
            if need not in found and need < len(needs):
                found.add(need)
                open_.append(need)
        if most is not None and len(found) > most:
            return ()
    return tuple(sorted(found))


def _with_rivals(
    groups: Sequence[tuple[int, ...]], rivals: dict[int, list[int]]
) -> dict[int, tuple[int, ...]]:
    """Groups that reach over chunks: a unit with its versions and rests, and what those need."""
    if not rivals:
        return {}
    needs = [(*group, *rivals.get(unit, ())) for unit, group in enumerate(groups)]
    joint: dict[int, tuple[int, ...]] = {}
    for unit, group in enumerate(groups):
        if any(member in rivals for member in group):
            closure = _closure(group, needs, _MAX_GROUP)
            if closure:
                joint[unit] = closure
    return joint
