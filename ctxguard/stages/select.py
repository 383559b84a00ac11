"""Select: the chunks that fit the token budget, best-ranked first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from ctxguard.errors import PolicyError
from ctxguard.types import Action, Chunk, Context, Decision, JsonValue, StageResult

__all__ = ["Select"]

_TAIL = 32
"""Characters before a separator that decide how it is tokenised. Encodings split text into pieces
(a word, a number, a run of punctuation and line ends) before they merge bytes within a piece."""

_PIECE = re.compile(r"(?<=[a-z]) (?=[a-z])")
"""Every tiktoken encoding ends a piece between a letter and a single space before a letter."""

_HEAD = "A"
"""Stands for the start of whatever follows a separator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Keeps chunks in rank order while their joined text fits the budget.

    A chunk that does not fit is left out and the smaller ones after it are still tried: room that
    is already paid for is used, and the better-ranked chunk always had the first claim on it. When
    nothing has been kept yet, a chunk too large for the whole budget is cut to its first sentences
    rather than lost. What counts is the joined text, separators included, in the budget's
    tokenizer and in whatever order Layout puts the chunks: a separator costs a token more after
    some texts than after others, so the last place is given to the text where it would cost least.
    The joined text is counted once more as a whole at the end.
    """

    name: ClassVar[str] = "select"

    separator: str = "\n\n"
    """Stands between two chunks in the prompt; its tokens count."""

    def __post_init__(self) -> None:
        """Reject a separator that is no text."""
        if not isinstance(self.separator, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(f"Select.separator: expected a str, got {self.separator!r}")

    def __call__(self, context: Context, /) -> StageResult:
        """Keep what fits; one keep or drop Decision for every chunk."""
        limit = _evidence_limit(context)
        if limit is None:
            return StageResult(context=context, decisions=self._unlimited(context))
        selection = _Selection(self.separator, context, limit)
        for place, chunk in enumerate(context.chunks):
            selection.offer(place, chunk)
        selection.verify()
        return selection.result()

    def _unlimited(self, context: Context) -> tuple[Decision, ...]:
        total = 0
        decisions: list[Decision] = []
        for place, chunk in enumerate(context.chunks):
            tokens = context.analyzer.count(_shown(chunk))
            total += tokens
            decisions.append(
                _decision(
                    "keep",
                    chunk,
                    code="no-limit",
                    reason="no token limit is set or known for the evidence",
                    tokens=(tokens, tokens),
                    details={"rank": place + 1, "total": total},
                )
            )
        return tuple(decisions)


def _evidence_limit(context: Context) -> int | None:
    """Tokens that the evidence may use, None when nothing limits it.

    `Budget.context_tokens` is the limit when it is set, as far as instructions and question leave
    it in the window: they cannot give way, while history can. With the window alone, the evidence
    gets what instructions, question and history leave, at least `floors['evidence']`. In both
    cases at most `ceilings['evidence']`.
    """
    budget, count = context.budget, context.analyzer.count
    limits = [budget.context_tokens, budget.ceilings.get("evidence")]
    if budget.prompt_tokens is not None:
        room = budget.prompt_tokens - count(context.instructions) - count(context.question)
        if budget.context_tokens is None:
            history = sum(count(turn.text) + turn.extra_tokens for turn in context.history)
            room = max(room - history, min(budget.floors.get("evidence", 0), room))
        limits.append(max(0, room))
    return min((limit for limit in limits if limit is not None), default=None)


class _Selection:
    """The chunks kept so far and the token count of their joined text, in its dearest order."""

    def __init__(self, separator: str, context: Context, limit: int) -> None:
        self.separator = separator
        self.context = context
        self.limit = limit
        self.total = 0
        self._sum = 0
        """Tokens of the chunks, each with a separator after it."""
        self._least: int | None = None
        """Tokens of the cheapest of those separators: the last chunk has none."""
        self.kept: list[tuple[int, Chunk]] = []
        self.decided: dict[int, list[Decision]] = {}

    def offer(self, place: int, chunk: Chunk) -> None:
        """Keep the chunk if it fits, cut it if nothing else is there, else leave it out."""
        tokens = self._count(chunk)
        if not self.kept and tokens > self.limit:
            self._cut(place, chunk, tokens)
            return
        joint = self._joint(chunk)
        least = joint if self._least is None else min(self._least, joint)
        if self._sum + tokens + joint - least > self.limit:
            self._drop(place, chunk, tokens)
        else:
            self._keep(place, chunk, joint)

    def verify(self) -> None:
        """Count the joined text as a whole; leave out the last chunks until it fits.

        With tokenizers that split text into pieces first (all of tiktoken's) nothing is left to do
        here; others must not break the promise either.
        """
        while self.kept:
            joined = self.separator.join(_shown(chunk) for _, chunk in self.kept)
            excess = self.context.analyzer.count(joined) - self.limit
            if excess <= 0:
                return
            while excess > 0 and len(self.kept) > 1:
                place, chunk = self.kept.pop()
                tokens = self._count(chunk)
                excess -= max(1, tokens)
                self.decided[place] = []
                self._drop(place, chunk, tokens)

    def result(self) -> StageResult:
        """The context with the kept chunks, and the decisions in rank order."""
        return StageResult(
            context=replace(self.context, chunks=tuple(chunk for _, chunk in self.kept)),
            decisions=tuple(d for place in sorted(self.decided) for d in self.decided[place]),
        )

    def _keep(self, place: int, chunk: Chunk, joint: int) -> None:
        tokens = self._count(chunk)
        self._sum += tokens + joint
        self._least = joint if self._least is None else min(self._least, joint)
        self.total = total = self._sum - self._least
        self.kept.append((place, chunk))
        self._decide(
            place,
            _decision(
                "keep",
                chunk,
                code="fits",
                reason=(
                    f"rank {place + 1}, {tokens:,} tokens: fits, "
                    f"{total:,} of {self.limit:,} are used with it"
                ),
                tokens=(tokens, tokens),
                details={"rank": place + 1, "total": total, "limit": self.limit},
            ),
        )

    def _drop(self, place: int, chunk: Chunk, tokens: int, *, why: str = "") -> None:
        left = max(0, self.limit - self.total)
        why = why or f"{left:,} of {self.limit:,} are left for it, the separator included"
        self._decide(
            place,
            _decision(
                "drop",
                chunk,
                code="over-budget",
                reason=f"rank {place + 1} needs {tokens:,} tokens; {why}",
                tokens=(tokens, 0),
                details={"rank": place + 1, "limit": self.limit},
            ),
        )

    def _cut(self, place: int, chunk: Chunk, tokens: int) -> None:
        """Keep the first sentences of a chunk that is larger than the whole budget."""
        short = _first_sentences(chunk, self.limit, self.context)
        if short is None:
            why = f"the limit is {self.limit:,} and not even its first sentence fits"
            self._drop(place, chunk, tokens, why=why)
            return
        left = self._count(short)
        self._decide(
            place,
            _decision(
                "trim",
                chunk,
                code="over-budget",
                reason=(
                    f"rank {place + 1} alone needs {tokens:,} tokens, the limit is "
                    f"{self.limit:,}: only its first sentences were kept ({left:,} tokens)"
                ),
                tokens=(tokens, left),
                details={"removed": [[len(short.text), len(chunk.text)]]},
            ),
        )
        self._keep(place, short, self._joint(short))

    def _joint(self, chunk: Chunk) -> int:
        """Tokens that a separator after this chunk adds; less than its own where they merge."""
        tail = _tail(_shown(chunk))
        joined = self._encoded(tail + self.separator + _HEAD)
        return joined - self._encoded(tail) - self._encoded(_HEAD)

    def _encoded(self, text: str) -> int:
        # Not through the analyzer: its cache is for texts that will be seen again.
        return len(self.context.analyzer.tokenizer.encode(text))

    def _count(self, chunk: Chunk) -> int:
        return self.context.analyzer.count(_shown(chunk))

    def _decide(self, place: int, decision: Decision) -> None:
        self.decided.setdefault(place, []).append(decision)


# -- text ---------------------------------------------------------------------------------------


def _shown(chunk: Chunk) -> str:
    """What stands in the prompt for a chunk."""
    return chunk.rendered or chunk.text


def _tail(text: str) -> str:
    """The end of a text, cut where a tokenizer's piece ends when there is such a place."""
    start = max(0, len(text) - 2 * _TAIL)
    place = _PIECE.search(text, start, len(text) - _TAIL) if start else None
    return text[place.start() if place else start :]


def _first_sentences(chunk: Chunk, limit: int, context: Context) -> Chunk | None:
    """The chunk cut after as many of its first sentences as fit; None if not even one does."""
    text = chunk.text
    if not text or (chunk.rendered and text not in chunk.rendered):
        return None  # The framework's form does not hold the text: no way to cut both alike.
    before, _, after = chunk.rendered.partition(text)

    def cut(end: int) -> Chunk:
        shown = f"{before}{text[:end]}{after}" if chunk.rendered else ""
        return replace(chunk, text=text[:end], rendered=shown)

    encode = context.analyzer.tokenizer.encode
    room = limit - len(encode(before + after))
    ends = [end for _, end in context.analyzer.analyse(text).sentences[: max(0, room)]]
    # Counted one by one they come close; the whole is counted until it fits.
    used, fitting = 0, 0
    for start, end in pairwise([0, *ends]):
        used += len(encode(text[start:end]))
        if used > room:
            break
        fitting += 1
    for end in reversed(ends[: fitting + 1]):
        short = cut(end)
        if len(encode(_shown(short))) <= limit:
            return short
    return None


def _decision(
    action: Action,
    chunk: Chunk,
    *,
    code: str,
    reason: str,
    tokens: tuple[int, int],
    details: Mapping[str, JsonValue],
) -> Decision:
    return Decision(
        stage=Select.name,
        action=action,
        subject=chunk.id,
        code=code,
        reason=reason,
        tokens_before=tokens[0],
        tokens_after=tokens[1],
        details=details,
    )
