"""What a step of ours needs from outside: a model's answer, more evidence, a scorer's numbers.

Logic that needs them is a generator that yields what it asks for and is sent the reply, so that it
exists once, and is driven by code that calls or by code that awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from ctxguard.types import Chunk, Message
from ctxguard.verification.scorer import AsyncScorer, Scorer, Support

__all__ = [
    "Ask",
    "Asks",
    "Found",
    "Reply",
    "Request",
    "Retrieve",
    "Scoring",
    "Tier",
    "adrive",
    "drive",
]

T = TypeVar("T")
Tier: TypeAlias = Literal["light", "heavy"]
"""Which model: the one that answers, or the heavier one behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question to a model."""

    messages: tuple[Message, ...]
    route: Tier = "light"
    max_tokens: int | None = None
    """Of the reply, as far as what may be spent goes; None: no limit."""
    seconds: float | None = None
    """Left for it; whoever answers hands it to the client as its timeout. None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieve:
    """A search for more evidence."""

    queries: tuple[str, ...]
    """One for each thing that is looked for."""
    seconds: float | None = None
    """Left for it; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model answered."""

    text: str
    tokens: int | None = None
    """Of prompt and answer, as the provider counted them; None: they are counted here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """A question to a scorer, which knows itself how it is answered."""

    scorer: Scorer
    claims: tuple[str, ...]
    passages: Sequence[str]

    def answer(self) -> Sequence[Support]:
        """What the scorer says."""
        return self.scorer.score(self.claims, self.passages)

    async def aanswer(self) -> Sequence[Support]:
        """The same, awaited; a scorer that cannot be, and is not quick, runs in a thread."""
        scorer = self.scorer
        if isinstance(scorer, AsyncScorer):
            return await scorer.ascore(self.claims, self.passages)
        if getattr(scorer, "quick", False):
            return self.answer()
        return await asyncio.to_thread(self.answer)


Request: TypeAlias = Ask | Retrieve | Scoring
Found: TypeAlias = Iterable[str | Mapping[str, Any] | Chunk]
"""Evidence, as `Guard.prepare` takes it."""
Asks: TypeAlias = Generator[Request, Any, T]
"""Yields requests, is sent a Reply, chunks (None: nobody can do that) or Supports; has a result."""


def _nobody(_: Ask) -> None:
    """There is no model."""


async def _anobody(_: Ask) -> None:
    """There is no model."""


def drive(
    asks: Asks[T],
    *,
    ask: Callable[[Ask], Reply | str | None] = _nobody,
    retrieve: Callable[[Retrieve], Found | None] | None = None,
) -> T:
    """The result of a generator of requests, each answered by a call.

    Args:
        asks: what `repair`, `draft` or `Guard.repair` gives.
        ask: asks the model of `Ask.route`, and gives None if there is none; by default there is
            none.
        retrieve: searches; None: there is no retriever.

    Raises:
        BaseException: what the calls raise and the generator does not handle: whatever is no
            `Exception`, and what it was told is a framework's control flow.
    """
    step: Callable[[], Request] = partial(next, asks)
    while True:
        try:
            request = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            if isinstance(request, Ask):
                reply = ask(request)
            elif isinstance(request, Scoring):
                reply = request.answer()
            else:
                reply = None if retrieve is None else retrieve(request)
        except BaseException as error:
            step = partial(asks.throw, error)
        else:
            step = partial(asks.send, reply)


async def adrive(
    asks: Asks[T],
    *,
    ask: Callable[[Ask], Awaitable[Reply | str | None]] = _anobody,
    retrieve: Callable[[Retrieve], Awaitable[Found | None]] | None = None,
) -> T:
    """As `drive`, with calls that are awaited; what a scorer computes does not stall the loop."""
    step: Callable[[], Request] = partial(next, asks)
    while True:
        try:
            request = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            if isinstance(request, Ask):
                reply = await ask(request)
            elif isinstance(request, Scoring):
                reply = await request.aanswer()
            else:
                reply = None if retrieve is None else await retrieve(request)
        except BaseException as error:
            step = partial(asks.throw, error)
        else:
            step = partial(asks.send, reply)
