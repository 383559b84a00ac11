"""Where two versions of a text differ: sentences that are equal cancel, words of the rest align."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import TypeVar

from ctxguard.stages._case import cased
from ctxguard.stages._facts import facts_near, paired, reach, touching
from ctxguard.stages._view import TextView
from ctxguard.text.facts import Fact, FactDifference
from ctxguard.types import Span

__all__ = ["Difference", "Differences", "differences_of"]

T = TypeVar("T")

_VERSION = 0.5
"""Share of words that two sentences have in common when one is a version of the other."""
_CELL = 6
"""Words of a list item or a cell: too few to tell a version by the words that are the same."""
_EXCHANGE = 6
"""Neighbouring differences of a sentence in which words may have changed places."""
_READING = 16
"""Words of a statement whose two readings are set against each other as a whole."""
_MANY = 400
"""Sentences per text that are aligned; beyond, what differs is one piece."""
_CELLS = 250_000
"""Word pairs of two sentences that are aligned; beyond, what differs is one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two versions of a sentence differ."""

    worse: Span
    """Characters of the worse-ranked text; empty where only the other has words."""
    better: Span
    facts: tuple[FactDifference, ...]
    """The facts that differ here, left the worse-ranked text's; spans are of the whole texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What keeps two texts from being copies."""

    places: tuple[Difference, ...]
    shared: tuple[Span, ...]
    """Characters of sentences of the worse-ranked text that the other has too, in runs that start
    and end where the text may be cut."""
    extra_worse: tuple[Span, ...]
    """Sentences that only the worse-ranked text has, between some that both have."""
    extra_better: tuple[Span, ...]
    reordered: bool
    """Whether they have the same sentences in another order."""

    @property
    def conflict(self) -> bool:
        """Whether a fact differs."""
        return any(place.facts for place in self.places)

    @property
    def in_place(self) -> bool:
        """Whether all that differs is sentences that stand for each other at the same place."""
        return bool(self.places) and not (self.reordered or self.extra_worse or self.extra_better)

    @property
    def versions(self) -> bool:
        """Whether the texts are two versions of one, and not two texts with words in common."""
        one_sided = bool(self.extra_worse) != bool(self.extra_better)
        return bool(self.places) or self.reordered or one_sided


def differences_of(worse: TextView, better: TextView, *, share: bool) -> Differences:
    """How two texts with sentences in common differ.

    Args:
        worse: the worse-ranked text.
        better: the better-ranked text.
        share: whether `shared` is wanted, which takes a sixth of the time.
    """
    worse, better = worse.against(better), better.against(worse)
    worse, better = worse.split_like(better), better.split_like(worse)
    places: list[Difference] = []
    said: list[int] = []  # sentences of the worse text that the better one has too
    inner: tuple[list[Span], list[Span]] = ([], [])
    reordered = Counter(worse.range_keys) == Counter(better.range_keys)
    blocks = list(_blocks(worse.range_keys, better.range_keys))
    in_order = all(block.equal for block in blocks)
    for number, block in enumerate(blocks):
        ours, theirs = range(*block.worse), range(*block.better)
        if block.equal:
            for i, j in zip(ours, theirs, strict=True):
                cased = list(_cased(worse, i, better, j))
                places += cased
                said += [] if cased else [i]
            continue
        framed = 0 < number < len(blocks) - 1
        pairs = [] if reordered else _versions(worse, ours, better, theirs, framed=framed)
        for i, j in pairs:
            found = list(_aligned(worse, i, better, j))
            places += found
            if not found and _is_beginning(worse, i, better, j):
                said.append(i)
        if framed:
            inner[0].extend(_alone(worse, ours, {i for i, _ in pairs}))
            inner[1].extend(_alone(better, theirs, {j for _, j in pairs}))
    return Differences(
        places=tuple(places),
        shared=tuple(
            span for run in (_runs(said) if share else ()) for span in _cuttable(worse, *run)
        ),
        extra_worse=tuple(inner[0]),
        extra_better=tuple(inner[1]),
        reordered=reordered and not in_order,
    )


# -- sentences ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """A run of sentences that is equal in both texts, or that differs."""

    equal: bool
    worse: Span
    better: Span


def _blocks(left: Sequence[bytes], right: Sequence[bytes]) -> Iterator[_Block]:
    """Runs of sentences that cover both texts in order."""
    head = _common(left, right)
    tail = min(_common(left[::-1], right[::-1]), len(left) - head, len(right) - head)
    ends = len(left) - tail, len(right) - tail
    if head:
        yield _Block(equal=True, worse=(0, head), better=(0, head))
    middle = left[head : ends[0]], right[head : ends[1]]
    if all(middle) and 1 < max(map(len, middle)) <= _MANY:
        matcher = SequenceMatcher(None, *middle, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            yield _Block(
                equal=tag == "equal", worse=(head + i1, head + i2), better=(head + j1, head + j2)
            )
    elif any(middle):
        yield _Block(equal=False, worse=(head, ends[0]), better=(head, ends[1]))
    if tail:
        yield _Block(equal=True, worse=(ends[0], len(left)), better=(ends[1], len(right)))


def _alone(view: TextView, indexes: range, paired: set[int]) -> Iterator[Span]:
    """Characters of the sentences that no sentence of the other text is a version of."""
    return (_characters(view, index, index + 1) for index in indexes if index not in paired)


def _common(left: Sequence[T], right: Sequence[T]) -> int:
    """How many elements from the start on are equal."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))


def _versions(
    worse: TextView,
    ours: Sequence[int],
    better: TextView,
    theirs: Sequence[int],
    *,
    framed: bool,
) -> list[tuple[int, int]]:
    """Which sentence of a gap is a version of which sentence of the other's, best match first.

    Args:
        worse: one of the texts.
        ours: its sentences in the gap.
        better: the other text.
        theirs: its sentences in the gap.
        framed: the texts have the same sentences before and after the gap.
    """
    if len(ours) * len(theirs) > _MANY:
        return []
    bags = [
        {index: Counter(view.words.keys[slice(*view.ranges[index])]) for index in indexes}
        for view, indexes in ((worse, ours), (better, theirs))
    ]
    scored = [
        (2 * (one & other).total() / max(1, one.total() + other.total()), -i, -j)
        for i, one in bags[0].items()
        for j, other in bags[1].items()
    ]
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs: list[tuple[int, int]] = []
    for score, i, j in sorted(scored, reverse=True):
        if score >= _VERSION and -i not in taken[0] and -j not in taken[1]:
            taken[0].add(-i)
            taken[1].add(-j)
            pairs.append((-i, -j))
    left = [[i for i in bag if i not in used] for bag, used in zip(bags, taken, strict=True)]
    if [len(rest) for rest in left] == [1, 1]:
        i, j = left[0][0], left[1][0]
        if framed or max(bags[0][i].total(), bags[1][j].total()) <= _CELL:
            pairs.append((i, j))  # One item, cell, holder of an office in the place of another.
    return sorted(pairs)


def _runs(indexes: Sequence[int]) -> Iterator[Span]:
    """Ascending indexes as ranges of neighbours: `(first, past the last)`."""
    for _, run in groupby(enumerate(indexes), key=lambda pair: pair[1] - pair[0]):
        found = [index for _, index in run]
        yield found[0], found[-1] + 1


def _is_beginning(worse: TextView, i: int, better: TextView, j: int) -> bool:
    """Whether a sentence of the worse text, cut off at its end, goes on in the better one."""
    if i != len(worse.ranges) - 1 or not worse.is_cut_after:
        return False
    ours = worse.words.keys[slice(*worse.ranges[i])]
    theirs = better.words.keys[slice(*better.ranges[j])]
    same = _common(ours, theirs)
    last = ours[same:]
    return not last or (len(last) == 1 and same < len(theirs) and theirs[same].startswith(last[0]))


def _cuttable(view: TextView, start: int, end: int) -> Iterator[Span]:
    """Characters of the part of a run of sentences that the text can do without."""
    if start >= end:
        return
    first, past = view.mark_at(view.ranges[start][0]), view.mark_at(view.ranges[end - 1][1])
    cuts = [cut for cut in (0, *view.cuts, len(view.text)) if first <= cut <= past]
    if len(cuts) > 1:
        yield cuts[0], len(view.text[: cuts[-1]].rstrip())


def _characters(view: TextView, start: int, end: int) -> Span:
    """Characters from sentence `start` to before sentence `end`, without the space around."""
    first, past = view.ranges[start][0], view.ranges[end - 1][1]
    return view.mark_at(first), len(view.text[: view.mark_at(past)].rstrip())


# -- words --------------------------------------------------------------------------------------


def _aligned(worse: TextView, i: int, better: TextView, j: int) -> Iterator[Difference]:
    """The places where two versions of a sentence differ, word by word."""
    ours, theirs = worse.ranges[i], better.ranges[j]
    left = worse.words.keys[slice(*ours)]
    right = better.words.keys[slice(*theirs)]
    segments = list(_segments(left, right))
    exchanged = _exchanged(left, right, segments)
    if exchanged is not None:
        (first, last), reading = exchanged
        segments[first : last + 1] = [reading]
    elif len(segments) > 1 and 2 * _size(segments) > max(len(left), len(right)):
        segments = [((0, len(left)), (0, len(right)))]  # Too little in common for places.
    for segment in segments:
        (i1, i2), (j1, j2) = segment
        words = (ours[0] + i1, ours[0] + i2), (theirs[0] + j1, theirs[0] + j2)
        if exchanged is not None and segment is exchanged[1]:
            yield _roles(worse, words[0], better, words[1])
        elif not _is_cut(worse, words[0]) and not _is_cut(better, words[1]):
            yield _difference(worse, words[0], better, words[1])


def _exchanged(
    left: Sequence[str], right: Sequence[str], segments: Sequence[tuple[Span, Span]]
) -> tuple[Span, tuple[Span, Span]] | None:
    """The first segments between which the same words changed places.

    Returns:
        The indexes of the first and the last of them, and all words from the one to the other.
    """
    said = [(left[slice(*ours)], right[slice(*theirs)]) for ours, theirs in segments]
    for first in range(len(said)):
        gone, come = Counter(said[first][0]), Counter(said[first][1])
        for last in range(first + 1, min(len(said), first + _EXCHANGE)):
            gone.update(said[last][0])
            come.update(said[last][1])
            words = tuple(
                (one[0], other[1])
                for one, other in zip(segments[first], segments[last], strict=True)
            )
            if gone == come and max(end - start for start, end in words) <= _READING:
                return (first, last), (words[0], words[1])
    return None


def _roles(worse: TextView, ours: Span, better: TextView, theirs: Span) -> Difference:
    """Two readings of one statement: who pays whom, which number stands where."""
    sides = [(view, view.words.span(*words)) for view, words in ((worse, ours), (better, theirs))]
    one, other = (
        Fact("role", " ".join(view.words.keys[slice(*words)]), view.text[slice(*span)], span)
        for (view, span), words in zip(sides, (ours, theirs), strict=True)
    )
    return Difference(
        worse=sides[0][1], better=sides[1][1], facts=(FactDifference("role", one, other),)
    )


def _difference(worse: TextView, ours: Span, better: TextView, theirs: Span) -> Difference:
    """The difference of two ranges of words, with the facts that they are part of."""
    sides = (worse, ours, facts_near(worse, ours)), (better, theirs, facts_near(better, theirs))
    facts = [touching(*side) for side in sides]
    # "$450" against "450": what a fact reaches over on one side is read on the other too.
    beyond = [
        reach(view, words, found) for (view, words, _), found in zip(sides, facts, strict=True)
    ]
    before, after = (max(pair) for pair in zip(*beyond, strict=True))
    if before or after:
        facts = [
            touching(
                view,
                (max(0, start - before), min(len(view.words), end + after)),
                facts_near(view, (start, end), beyond=after) if after else near,
            )
            for view, (start, end), near in sides
        ]
    return Difference(
        worse=_place(worse, ours), better=_place(better, theirs), facts=paired(*facts)
    )


def _place(view: TextView, words: Span) -> Span:
    """Characters of a range of words; none, at the end of the word before, if it is empty."""
    start, end = view.words.span(*words)
    return (start, end) if words[0] < words[1] else (start, start)


def _is_cut(view: TextView, words: Span) -> bool:
    """Whether words differ only because the text is cut there: none, or one that was cut in two."""
    start, end = words
    if end - start > 1:
        return False
    at_start = start == 0 and view.is_cut_before
    return at_start or (end == len(view.words) and view.is_cut_after)


def _segments(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[Span, Span]]:
    """Ranges of words that differ, in the left and in the right sentence."""
    head = _common(left, right)
    tail = min(_common(left[::-1], right[::-1]), len(left) - head, len(right) - head)
    left, right = left[head : len(left) - tail], right[head : len(right) - tail]
    if not left and not right:
        return
    segments = [((0, len(left)), (0, len(right)))]
    if 1 < len(left) * len(right) <= _CELLS:
        codes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
        segments = [((i1, i2), (j1, j2)) for tag, i1, i2, j1, j2 in codes if tag != "equal"]
        in_place = _in_place(left, right)
        if in_place and _size(in_place) <= _size(segments):
            segments = in_place  # "Acme owes Beta", "Beta owes Acme": two words, not a move.
    for (i1, i2), (j1, j2) in segments:
        yield (head + i1, head + i2), (head + j1, head + j2)


def _in_place(left: Sequence[str], right: Sequence[str]) -> list[tuple[Span, Span]]:
    """The words that differ when each stands against the one at its own place."""
    if len(left) != len(right):
        return []
    differs = [
        place for place, pair in enumerate(zip(left, right, strict=True)) if len({*pair}) > 1
    ]
    return [((place, place + 1), (place, place + 1)) for place in differs]


def _size(segments: Sequence[tuple[Span, Span]]) -> int:
    return sum(max(end - start for start, end in segment) for segment in segments)


def _cased(worse: TextView, i: int, better: TextView, j: int) -> Iterator[Difference]:
    """The words of two otherwise equal sentences whose case says different things."""
    ours, theirs = worse.ranges[i], better.ranges[j]
    if (
        worse.text[slice(*worse.words.span(*ours))]
        == better.text[slice(*better.words.span(*theirs))]
    ):
        return
    words = worse.words, ours[0], better.words, theirs[0], ours[1] - ours[0]
    for offset, differs in enumerate(cased(*words)):
        if differs:
            one, other = ours[0] + offset, theirs[0] + offset
            yield _difference(worse, (one, one + 1), better, (other, other + 1))
