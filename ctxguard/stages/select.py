"""Select: the pieces and chunks that are worth most within the token budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from ctxguard.errors import PolicyError
from ctxguard.stages._choice import Short, Writer, choose
from ctxguard.stages._evidence import Counter, evidence_limit
from ctxguard.stages._greedy import Order, best_singles, greedy_order
from ctxguard.stages._path import Breakpoint, Choice, Kept, SelectionPath
from ctxguard.stages._units import Units, units_of
from ctxguard.types import Action, Chunk, Context, Decision, JsonValue, StageResult

__all__ = ["Breakpoint", "Choice", "Kept", "Select", "SelectionPath"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Keeps the pieces that are worth most for their tokens, while their joined text fits.

    What is chosen is a piece of a chunk where Compress has divided it, else a chunk. The worth of a
    choice is the sum of P(it helps) and of how much of the question it covers, where a term that is
    covered adds nothing again; its cost is its tokens, with all that it needs to be understood, and
    what is written around its chunk. The best per token is chosen first, and what is left is tried
    as long as anything fits; or the best single one, where it is worth more than all those. For
    chunks that are not divided and contradict nobody that comes within (1 - 1/e) / 2 of the best
    choice, but for the separators' tokens; where pieces need or share others nothing is proven.

    Kept together or left out together, as far as a budget of the size can hold both: versions that
    contradict each other, and a trimmed chunk with the best part of the one that holds the rest.

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
        units = units_of(context, counter, self.gap, self.coverage, limit=limit)
        order = Order(greedy_order(units))
        writer = Writer(context.chunks, units, counter, gap=self.gap, seen_again=True)
        singles = cache(lambda: best_singles(units))
        found, used = choose(units, order, limit, writer, singles=singles)
        return _Made(context, units, writer.written(found), gap=self.gap).result(used, limit)

    def path(self, context: Context) -> SelectionPath:
        """What every budget would keep of these chunks; the context's own budget does not matter.

        Divide the chunks with `Compress(always=True)` before, for a path by piece.
        """
        counter = self._counter(context)
        units = units_of(context, counter, self.gap, self.coverage)
        return SelectionPath(
            units=units,
            order=tuple(greedy_order(units)),
            singles=best_singles(units),
            writer=Writer(context.chunks, units, counter, gap=self.gap),
        )

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
                details={"rank": place + 1, "total": total, **_covered(chunk)},
            )


class _Made:
    """Why a choice was made."""

    def __init__(
        self, context: Context, units: Units, kept: Mapping[int, Short], *, gap: str
    ) -> None:
        self.context = context
        self.units = units
        self.kept = kept
        """By position, in rank order."""
        self.gap = gap

    def result(self, used: int, limit: int) -> StageResult:
        """The context with the kept chunks, and the decisions in rank order."""
        decisions: list[Decision] = []
        total, least = 0, math.inf
        for place, chunk in enumerate(self.context.chunks):
            short = self.kept.get(place)
            if short is None:
                decisions.append(self._drop(place, chunk, left=limit - used, limit=limit))
                continue
            total, least = total + short.tokens + short.joint, min(least, short.joint)
            if short.removed:
                decisions.append(self._trim(place, chunk, short, limit))
            decisions.append(self._keep(place, short, int(total - least), limit))
        decisions.extend(self._alone())
        return StageResult(
            context=replace(self.context, chunks=tuple(s.chunk for s in self.kept.values())),
            decisions=tuple(decisions),
        )

    def _keep(self, place: int, short: Short, total: int, limit: int) -> Decision:
        return _decision(
            "keep",
            short.chunk,
            code="fits",
            reason=(
                f"rank {place + 1}{_judged(short.chunk)}, {short.tokens:,} tokens: fits, "
                f"{total:,} of {limit:,} are used with it"
            ),
            tokens=(short.tokens, short.tokens),
            details={"rank": place + 1, "total": total, "limit": limit, **_covered(short.chunk)},
        )

    def _drop(self, place: int, chunk: Chunk, *, left: int, limit: int) -> Decision:
        tokens = self.units.sizes[place]
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

    def _trim(self, place: int, chunk: Chunk, short: Short, limit: int) -> Decision:
        tokens = (self.units.sizes[place], short.tokens)
        removed: list[JsonValue] = [list(span) for span in short.removed]
        details: dict[str, JsonValue] = {"removed": removed}
        if not chunk.pieces:
            reason = (
                f"rank {place + 1} alone needs {tokens[0]:,} tokens, the limit is {limit:,}: only "
                f"its first sentences were kept ({tokens[1]:,} tokens)"
            )
        else:
            terms = _terms(short.chunk)
            about = f", among them what mentions {', '.join(terms)}" if terms else ""
            reason = (
                f"rank {place + 1}{_judged(chunk)}: of {len(chunk.pieces)} pieces the "
                f"{len(short.chunk.pieces)} that help most per token were kept "
                f"({tokens[1]:,} of {tokens[0]:,} tokens){about}"
            )
            details |= {"gap": self.gap, "terms": list(terms)}
        return _decision(
            "trim", chunk, code="over-budget", reason=reason, tokens=tokens, details=details
        )

    def _alone(self) -> Iterator[Decision]:
        """A flag for each kept chunk whose other version had no room."""
        known = {chunk.id for chunk in self.context.chunks}
        kept = {short.chunk.id for short in self.kept.values()}
        for chunk in [short.chunk for short in self.kept.values()]:
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


def _p(chunk: Chunk) -> float | None:
    """P(the chunk helps): as Rank judged it, else its best piece."""
    if chunk.relevance is not None:
        return chunk.relevance
    known = [piece.relevance for piece in chunk.pieces if piece.relevance is not None]
    return max(known, default=None)


def _judged(chunk: Chunk) -> str:
    p = _p(chunk)
    return "" if p is None else f" (helps with P {p:.2f})"


def _terms(chunk: Chunk) -> tuple[str, ...]:
    """The terms of the question that a chunk mentions, the ones that count most first."""
    weights = chunk.covers
    return tuple(sorted(weights, key=lambda term: (-weights[term], term))[:5])


def _covered(chunk: Chunk) -> dict[str, JsonValue]:
    """What a kept chunk has of the question, for whoever reads the ledger; routing does."""
    covers = chunk.covers
    return {"covers": covers} if covers else {}


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
