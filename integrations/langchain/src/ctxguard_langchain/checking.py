"""The replies of one call of a model, verified: what core's Answering says, done to LangChain's.

The replies are read and written by `replies` and `reading`; here they are settled, what that asks
for is asked, and whoever listens is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import run_in_executor

from ctxguard.answering import Answering, Form, Settled, answering, reads_quickly
from ctxguard.attempts import verification_of
from ctxguard.handle import Handle
from ctxguard.verification import adrive, drive
from ctxguard_langchain.apply import safely
from ctxguard_langchain.asking import Asking
from ctxguard_langchain.calls import MARKS, current_call
from ctxguard_langchain.convert import results_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.quiet import Notices, manager_in
from ctxguard_langchain.reading import Chunks, Events, Reader, Streamed
from ctxguard_langchain.replies import (
    calls_tools,
    fields_of,
    replies_of,
    text_of,
    with_answer,
    with_replies,
)
from ctxguard_langchain.schemas import known_schemas, schemas_of
from ctxguard_langchain.stepping import closed, ends_well
from ctxguard_langchain.telling import Telling

__all__ = ["Checking"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
_TOOLS = ("tools", "functions")
_FORMATS = ("response_format", *MARKS)


class Checking:
    """Verifies what one call of a model returns or streams.

    It runs inside the choke point's flag, so that what a repair asks is not guarded again.
    """

    def __init__(self, handle: Handle, model: Dynamic, args: Args, kwargs: Kwargs) -> None:
        """Look at what the call brings.

        Args:
            handle: whose policy applies; it asks for verification.
            model: the one that is called.
            args: by position, fitted.
            kwargs: by name, fitted.
        """
        settings, call = verification_of(handle.policy), current_call()
        self._handle, self._model = handle, model
        self._gated = settings is not None and settings.mode == "gate"
        self._calls = any(kwargs.get(name) for name in _TOOLS)
        self._structured = call.structured or any(kwargs.get(name) for name in _FORMATS)
        self._schemas = schemas_of(handle, kwargs)
        asked: object = args[0] if args else next(iter(kwargs.values()), None)
        messages = cast("list[object]", asked) if isinstance(asked, list) else ()
        self._results = results_of(messages, known_schemas(handle))
        self._telling = Telling(model, call.callbacks, manager_in(args, kwargs))
        heavy = settings.heavy if settings else None
        self._asking = Asking(handle, model, heavy, kwargs, self._telling.config)
        gated = self._gated and not self._structured
        self._notices = Notices(args, kwargs) if gated else None
        self._call = self._notices.call if self._notices else (args, kwargs)

    def _answering(self, *, form: Form = "text", streamed: bool = False) -> Answering | None:
        return answering(
            self._handle.guard,
            streamed=streamed,
            form=form,
            calls=self._calls,
            results=self._results,
        )

    # -- whole replies ----------------------------------------------------------------------------

    def call(self, base: Callable[..., Any]) -> Dynamic:
        """What the method returns, with the answers that stand in the end."""
        args, kwargs = self._call
        result = base(self._model, *args, **kwargs)
        return with_replies(result, [self._checked(reply) for reply in replies_of(result)])

    async def acall(self, base: Callable[..., Awaitable[Any]]) -> Dynamic:
        """As `call`."""
        args, kwargs = self._call
        result = await base(self._model, *args, **kwargs)
        return with_replies(result, [await self._achecked(one) for one in replies_of(result)])

    def _checked(self, reply: Dynamic) -> Dynamic:
        begun = self._whole(reply)
        if begun is not None:
            settled = drive(begun.settle(ends_well), ask=self._asking.ask, retrieve=begun.retrieve)
            self._telling.tell(settled.corrections, settled)
            reply = self._settled(reply, settled)
        if self._notices:
            self._notices.tell(reply)
        return reply

    async def _achecked(self, reply: Dynamic) -> Dynamic:
        begun = self._whole(reply)
        if begun is not None:
            settled = await adrive(
                begun.settle(ends_well), ask=self._asking.aask, retrieve=begun.aretrieve
            )
            await self._telling.atell(settled.corrections, settled)
            reply = self._settled(reply, settled)
        if self._notices:
            await self._notices.atell(reply)
        return reply

    def _whole(self, reply: Dynamic) -> Answering | None:
        """What follows a whole reply; None for one that is no answer."""

        def work() -> Answering | None:
            fields = self._structured or calls_tools(reply)
            names = None if self._structured else self._schemas
            text = fields_of(reply, names) if fields else "".join(text_of(reply))
            begun = self._answering(form="fields" if fields else "text") if text else None
            if begun is not None:
                begun.push(text)
            return begun

        return self._safely(work, otherwise=None)

    def _settled(self, reply: Dynamic, settled: Settled) -> Dynamic:
        if self._structured or calls_tools(reply):
            return reply
        return self._safely(lambda: with_answer(reply, settled.answer), otherwise=reply)

    # -- streams ----------------------------------------------------------------------------------

    def stream(self, base: Callable[..., Iterator[Any]]) -> Iterator[Any]:
        """What the method yields, as far as it may be shown."""
        args, kwargs = self._call
        items = base(self._model, *args, **kwargs)
        reader: Reader | None = None
        try:
            for item in items:
                reader = reader or self._reader(item)
                yield from self._noticed(self._take(reader, item))
                self._telling.tell(reader.streamed.known())
            if reader is None:
                return
            begun = reader.streamed.concluded(reader.whole)
            settled = drive(begun.settle(ends_well), ask=self._asking.ask, retrieve=begun.retrieve)
            yield from self._noticed(reader.finish(settled))
            self._telling.tell(settled.corrections, settled)
            yield from reader.last()
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    async def astream(self, base: Callable[..., AsyncIterator[Any]]) -> AsyncIterator[Any]:
        """As `stream`."""
        args, kwargs = self._call
        reader: Reader | None = None
        async with closed(base(self._model, *args, **kwargs)) as items:
            async for item in items:
                reader = reader or self._reader(item)
                for given in await self._atake(reader, item):
                    await self._anotice(given)
                    yield given
                await self._telling.atell(reader.streamed.known())
            if reader is None:
                return
            begun = reader.streamed.concluded(reader.whole)
            settled = await adrive(
                begun.settle(ends_well), ask=self._asking.aask, retrieve=begun.aretrieve
            )
            for given in reader.finish(settled):
                await self._anotice(given)
                yield given
            await self._telling.atell(settled.corrections, settled)
            for given in reader.last():
                yield given

    def _reader(self, first: Dynamic) -> Reader:
        text = self._answering(streamed=True)
        assert text is not None  # noqa: S101 -- the policy asks for verification, and a run is active
        streamed = Streamed(
            text,
            gated=self._gated,
            structured=self._structured,
            schemas=self._schemas,
            fields=lambda: self._answering(form="fields", streamed=True),
        )
        return Events(streamed) if isinstance(first, Mapping) else Chunks(streamed)

    def _take(self, reader: Reader, item: Dynamic) -> Sequence[Any]:
        return self._safely(lambda: reader.take(item), otherwise=(item,))

    async def _atake(self, reader: Reader, item: Dynamic) -> Sequence[Any]:
        """As `_take`; a scorer that is not quick runs in a thread."""
        if reads_quickly(self._handle.policy):
            return self._take(reader, item)
        return await run_in_executor(None, self._take, reader, item)

    def _noticed(self, given: Sequence[Any]) -> Iterator[Any]:
        for item in given:
            if self._notices:
                self._notices.tell(item)
            yield item

    async def _anotice(self, item: Dynamic) -> None:
        if self._notices:
            await self._notices.atell(item)

    def _safely(self, work: Callable[[], Any], *, otherwise: Dynamic) -> Dynamic:
        name = class_of(self._model).__name__
        return safely(self._handle, "model", name, work, otherwise=otherwise)
