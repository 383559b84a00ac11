"""Select: the pieces and chunks that are worth most within the token budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from ctxguard.errors import PolicyError
from ctxguard.stages._cut import cut_chunk
from ctxguard.stages._evidence import Counter, evidence_limit
from ctxguard.stages._greedy import Order, best_singles, greedy_order
from ctxguard.stages._path import Breakpoint, Choice, Kept, SelectionPath
from ctxguard.stages._scan import Scan, Single, scan
from ctxguard.stages._units import Units, units_of
from ctxguard.types import Action, Chunk, Context, Decision, JsonValue, Span, StageResult

__all__ = ["Breakpoint", "Choice", "Kept", "Select", "SelectionPath"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Keeps the pieces that are worth most for their tokens, while their joined text fits.

    What is chosen is a piece of a chunk where Compress has divided it, else a chunk. The worth of a
    choice is the sum of P(it helps) and of how much of the question it covers, where a term that is
    covered adds nothing again; its cost is its tokens, with all that it needs to be understood, and
    what is written around its chunk. Choosing the best per token first and trying what is left as
    long as anything fits comes within (1 - 1/e) / 2 of the best choice, and in practice nearer.
    Versions that contradict each other are kept together or left out together.

    Without relevance the rank decides: better-ranked chunks have the first claim, smaller ones
    after one that does not fit are still tried, and when nothing has been kept yet, a chunk that is
    too large is cut to its first sentences rather than lost.

    What counts is the joined text, separators and template included, in the budget's tokenizer and
    in whatever order Layout puts the chunks; it is counted once more as a whole at the end.
    """

    name: ClassVar[str] = "select"

    separator: str = "\n\n"
    """Stands between two chunks in the prompt; its tokens count. A template's own replaces it."""
    gap: str = "…"
    """Marks in a text where pieces were left out between others; one token in most encodings."""
    coverage: float = 0.3
    """What covering every term of the question is worth, in pieces that certainly help. Recall at a
    quarter of the tokens hardly depends on it (HotpotQA, MuSiQue and contracts: within .01 from 0
    to 1), and falls above."""

    def __post_init__(self) -> None:
        """Check every field; the message names the field and the way out."""
        for name in ("separator", "gap"):
            if not isinstance(getattr(self, name), str):
                raise PolicyError(f"Select.{name}: expected a str, got {getattr(self, name)!r}")
        worth = self.coverage
        if isinstance(worth, bool) or not isinstance(worth, int | float):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(f"Select.coverage: expected a number, got {worth!r}")
        if not 0 <= worth < math.inf:
            raise PolicyError(f"Select.coverage: expected a number from 0, got {worth!r}")

    def __call__(self, context: Context, /) -> StageResult:
        """Keep what fits; one keep or drop Decision for every chunk, a trim for every cut one."""
        limit = evidence_limit(context)
        if limit is None or not context.chunks:
            return StageResult(context=context, decisions=tuple(self._unlimited(context)))
        counter = self._counter(context)
        units = units_of(context, counter, self.gap, limit=limit)
        order = Order(greedy_order(units, self.coverage))
        singles = cache(lambda: best_singles(units, self.coverage))
        budget = limit
        while True:
            found = self._found(units, order, budget, singles)
            made = _Made(context, units, found, gap=self.gap)
            used = made.count(counter)
            excess = used - limit
            if excess <= 0:
                return made.result(counter, used=used, limit=limit)
            # Tokens that the sum of the parts did not know of: with tiktoken's encodings a few
            # where text was cut, with others any number.
            budget = min(budget, found.tokens) - excess

    def path(self, context: Context) -> SelectionPath:
        """What every budget would keep of these chunks; the context's own budget does not matter.

        Divide the chunks with `Compress(always=True)` before, for a path by piece.
        """
        units = units_of(context, self._counter(context), self.gap)
        order = tuple(greedy_order(units, self.coverage))
        singles = best_singles(units, self.coverage)
        return SelectionPath(units=units, order=order, singles=singles)

    def _found(
        self, units: Units, order: Order, budget: int, singles: Callable[[], Sequence[Single]]
    ) -> Scan:
        found = scan(units, order, budget)
        # No group of m units is worth more than m + coverage: most often that settles it.
        largest = max(map(len, (*units.groups, *units.rivals.values())))
        most = largest * max(units.relevance) + self.coverage
        if budget >= units.full or not units.judged or found.value >= most:
            return found
        return scan(units, order, budget, singles=singles())

    def _counter(self, context: Context) -> Counter:
        template = context.template
        return Counter(context, self.separator if template is None else template.separator)

    def _unlimited(self, context: Context) -> Iterator[Decision]:
        counter = self._counter(context)
        total = 0
        for place, chunk in enumerate(context.chunks):
            tokens = counter.count(chunk)
            total += tokens
            yield _decision(
                "keep",
                chunk,
                code="no-limit",
                reason="no token limit is set or known for the evidence",
                tokens=(tokens, tokens),
                details={"rank": place + 1, "total": total},
            )


class _Made:
    """A choice made real: the chunks as they are kept, and why."""

    def __init__(self, context: Context, units: Units, found: Scan, *, gap: str) -> None:
        self.context = context
        self.gap = gap
        self.kept: dict[int, Chunk] = {}
        """By position, in rank order."""
        self.removed: dict[int, tuple[Span, ...]] = {}
        """Of the kept ones that were cut: what was taken out of the text."""
        chosen: dict[int, list[int]] = {}
        for unit in found.units:
            chosen.setdefault(units.chunk[unit], []).append(unit - units.first[units.chunk[unit]])
        for place, indexes in chosen.items():
            chunk = context.chunks[place]
            if found.head is not None and found.head[0] == place:
                end = units.heads[place][found.head[1] - 1][0]
                self.kept[place] = _head(chunk, end)
                self.removed[place] = ((end, len(chunk.text)),)
            elif chunk.pieces and len(indexes) < len(chunk.pieces):
                self.kept[place], self.removed[place] = cut_chunk(chunk, indexes, gap=gap)
            else:
                self.kept[place] = chunk

    def count(self, counter: Counter) -> int:
        """Tokens of the joined text: as it is joined now, and in its dearest order."""
        chunks = list(self.kept.values())
        joints = [counter.joint(counter.written(chunk)) for chunk in chunks]
        parts = sum(map(counter.count, chunks)) + sum(joints) - min(joints, default=0)
        return max(parts, counter.joined(chunks)) if chunks else 0

    def result(self, counter: Counter, *, used: int, limit: int) -> StageResult:
        """The context with the kept chunks, and the decisions in rank order."""
        decisions: list[Decision] = []
        total, least = 0, math.inf
        for place, chunk in enumerate(self.context.chunks):
            short = self.kept.get(place)
            if short is None:
                decisions.append(self._drop(place, chunk, counter, left=limit - used, limit=limit))
                continue
            joint = counter.joint(counter.written(short))
            total, least = total + counter.count(short) + joint, min(least, joint)
            if place in self.removed:
                decisions.append(self._trim(place, chunk, counter, limit))
            decisions.append(self._keep(place, short, counter, int(total - least), limit))
        decisions.extend(self._alone())
        return StageResult(
            context=replace(self.context, chunks=tuple(self.kept.values())),
            decisions=tuple(decisions),
        )

    def _keep(self, place: int, chunk: Chunk, counter: Counter, total: int, limit: int) -> Decision:
        tokens = counter.count(chunk)
        return _decision(
            "keep",
            chunk,
            code="fits",
            reason=(
                f"rank {place + 1}{_judged(chunk)}, {tokens:,} tokens: fits, "
                f"{total:,} of {limit:,} are used with it"
            ),
            tokens=(tokens, tokens),
            details={"rank": place + 1, "total": total, "limit": limit},
        )

    def _drop(
        self, place: int, chunk: Chunk, counter: Counter, *, left: int, limit: int
    ) -> Decision:
        tokens = counter.count(chunk)
        if not chunk.pieces and tokens > limit and min(self.kept, default=place) >= place:
            why = f"the limit is {limit:,} and not even its first sentence fits"
        elif chunk.pieces:
            why = f"what is kept helps more per token, and {left:,} of {limit:,} are left"
        else:
            why = f"{left:,} of {limit:,} are left for it, the separator included"
        return _decision(
            "drop",
            chunk,
            code="over-budget",
            reason=f"rank {place + 1}{_judged(chunk)} needs {tokens:,} tokens; {why}",
            tokens=(tokens, 0),
            details={"rank": place + 1, "limit": limit},
        )

    def _trim(self, place: int, chunk: Chunk, counter: Counter, limit: int) -> Decision:
        short = self.kept[place]
        tokens = (counter.count(chunk), counter.count(short))
        removed: list[JsonValue] = [list(span) for span in self.removed[place]]
        details: dict[str, JsonValue] = {"removed": removed}
        if not chunk.pieces:
            reason = (
                f"rank {place + 1} alone needs {tokens[0]:,} tokens, the limit is {limit:,}: only "
                f"its first sentences were kept ({tokens[1]:,} tokens)"
            )
        else:
            terms = _terms(short)
            about = f", among them what mentions {', '.join(terms)}" if terms else ""
            reason = (
                f"rank {place + 1}{_judged(chunk)}: of {len(chunk.pieces)} pieces the "
                f"{len(short.pieces)} that help most per token were kept "
                f"({tokens[1]:,} of {tokens[0]:,} tokens){about}"
            )
            details |= {"gap": self.gap, "terms": list(terms)}
        return _decision(
            "trim", chunk, code="over-budget", reason=reason, tokens=tokens, details=details
        )

    def _alone(self) -> Iterator[Decision]:
        """A flag for each kept chunk whose other version had no room."""
        known = {chunk.id for chunk in self.context.chunks}
        kept = {chunk.id for chunk in self.kept.values()}
        for chunk in self.kept.values():
            missing = [name for name in chunk.conflicts if name in known and name not in kept]
            if missing:
                yield _decision(
                    "flag",
                    chunk,
                    code="rival-left-out",
                    reason=(
                        f"{', '.join(missing)} says otherwise, and there was no room for both: "
                        "what is kept is one version of several"
                    ),
                    tokens=None,
                    details={"rivals": list(missing)},
                )


# -- text ---------------------------------------------------------------------------------------


def _head(chunk: Chunk, end: int) -> Chunk:
    """The chunk cut behind a sentence."""
    text = chunk.text[:end]
    rendered = chunk.rendered.replace(chunk.text, text, 1) if chunk.rendered else ""
    return replace(chunk, text=text, rendered=rendered)


def _p(chunk: Chunk) -> float | None:
    """P(the chunk helps): as Rank judged it, else its best piece."""
    known = [piece.relevance for piece in chunk.pieces if piece.relevance is not None]
    return chunk.relevance if chunk.relevance is not None else max(known, default=None)


def _judged(chunk: Chunk) -> str:
    p = _p(chunk)
    return "" if p is None else f" (helps with P {p:.2f})"


def _terms(chunk: Chunk) -> tuple[str, ...]:
    """The terms of the question that a chunk mentions, the ones that count most first."""
    weights = {term: weight for piece in chunk.pieces for term, weight in piece.covers}
    return tuple(sorted(weights, key=lambda term: (-weights[term], term))[:5])


def _decision(
    action: Action,
    chunk: Chunk,
    *,
    code: str,
    reason: str,
    tokens: tuple[int, int] | None,
    details: Mapping[str, JsonValue],
) -> Decision:
    before, after = tokens or (None, None)
    return Decision(
        stage=Select.name,
        action=action,
        subject=chunk.id,
        code=code,
        reason=reason,
        score=_p(chunk),
        tokens_before=before,
        tokens_after=after,
        details=details,
    )
