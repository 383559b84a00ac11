"""The check of one reply, driven by code that calls or by code that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from ctxguard.answering import Answering, Form, answering, reads_quickly
from ctxguard.attempts import Attempt, activate_attempt, current_attempt
from ctxguard.handle import Handle
from ctxguard.types import Chunk
from ctxguard.verification import Asks, Retrieve, Verify, adrive, drive
from ctxguard_llamaindex.asking import Asking
from ctxguard_llamaindex.events import tell
from ctxguard_llamaindex.reading import Given, Reader, read_fields, read_whole
from ctxguard_llamaindex.replies import is_spoken

__all__ = ["Checking"]

Result: TypeAlias = Any
"""Whatever a model's method, or a synthesizer's, returns."""


class Checking:
    """Holds one reply against the evidence of its run, and tells what came of it."""

    def __init__(
        self,
        handle: Handle,
        model: object,
        *,
        attempts: Sequence[Attempt] = (),
        results: Sequence[Chunk] = (),
        calls: bool = False,
    ) -> None:
        """Set up, without reading anything.

        Args:
            handle: whose policy applies.
            model: what a repair asks.
            attempts: those that gave the reply together, where it is checked after the last one.
            results: evidence that no retriever of the run brought.
            calls: whether the reply may call tools.
        """
        self._guard = handle.guard
        self._attempts = attempts
        self._results = results
        self._calls = calls
        settings = handle.policy.verification or Verify()
        self._flows = settings.mode != "gate"
        self._asking = Asking(handle, model, settings.heavy)
        self._answering: Answering | None = None

    @contextmanager
    def _attempting(self) -> Generator[None]:
        """The attempt that gave the reply is the one of this context, as where it is made."""
        made = self._attempts if current_attempt() is None else ()
        if not made:
            yield
            return
        made[-1].cost = max(made[-1].cost, sum(attempt.cost for attempt in made))
        with activate_attempt(made[-1]):
            yield

    def _follow(self, form: Form, *, streamed: bool = False) -> Answering | None:
        self._answering = answering(
            self._guard,
            streamed=streamed,
            form=form,
            calls=self._calls,
            results=self._results,
        )
        return self._answering

    def _follow_stream(self, form: Form) -> Answering | None:
        return self._follow(form, streamed=True)

    def _retrieve(self, request: Retrieve) -> list[Chunk] | None:
        with activate_attempt(None):  # what a retriever asks a model is a call of its own
            return None if self._answering is None else self._answering.retrieve(request)

    async def _aretrieve(self, request: Retrieve) -> list[Chunk] | None:
        with activate_attempt(None):
            return None if self._answering is None else await self._answering.aretrieve(request)

    def _drive(self, asks: Asks[Result]) -> Result:
        with self._attempting():
            return drive(asks, ask=self._asking.ask, retrieve=self._retrieve)

    async def _adrive(self, asks: Asks[Result]) -> Result:
        with self._attempting():
            return await adrive(asks, ask=self._asking.aask, retrieve=self._aretrieve)

    # -- whole replies ----------------------------------------------------------------------------

    def whole(self, reply: Result) -> Result:
        """The reply, put right as far as the policy goes."""
        reply, settled = self._drive(self._read(reply))
        tell((), settled)
        return reply

    async def awhole(self, reply: Result) -> Result:
        """As `whole`."""
        reply, settled = await self._adrive(self._read(reply))
        tell((), settled)
        return reply

    def _read(self, reply: Result) -> Asks[tuple[Result, Any]]:
        if is_spoken(reply):
            return (yield from read_whole(reply, self._follow))
        return reply, (yield from read_fields(reply, self._follow))

    # -- streams ----------------------------------------------------------------------------------

    def stream(self, parts: Generator[Result, None, None]) -> Generator[Result, None, None]:
        """What may be shown of the parts, as they come."""
        reader = Reader(self._follow_stream, flows=self._flows)
        try:
            for part in parts:
                with self._attempting():
                    given = reader.take(part)
                yield from given.parts
                tell(given.corrections)
            given = self._drive(reader.end())
            yield from given.parts
            tell(given.corrections, given.settled)
        finally:
            parts.close()

    async def astream(self, parts: AsyncGenerator[Result, None]) -> AsyncGenerator[Result, None]:
        """As `stream`."""
        reader = Reader(self._follow_stream, flows=self._flows)
        try:
            async for part in parts:
                given = await self._atake(reader, part)
                for shown in given.parts:
                    yield shown
                tell(given.corrections)
            given = await self._adrive(reader.end())
            for shown in given.parts:
                yield shown
            tell(given.corrections, given.settled)
        finally:
            await parts.aclose()

    async def _atake(self, reader: Reader, part: Result) -> Given:
        """What may be shown of a part; a scorer that is not quick runs in a thread."""
        with self._attempting():
            if reads_quickly(self._guard.policy):
                return reader.take(part)
            return await asyncio.to_thread(reader.take, part)
