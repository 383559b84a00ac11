"""A run around a call, a coroutine or a stream.

A generator runs in its consumer's context, so nothing may stay set while it is suspended: every
step sets what it needs and takes it back before the item is handed over. Two interleaved streams
never see each other, and a consumer's own context variables are seen inside, as without a guard.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import (
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    closing,
    contextmanager,
)
from contextvars import ContextVar
from typing import Any, TypeVar

from ctxguard.handle import Handle
from ctxguard.run import Run, activate, current_run

__all__ = [
    "adrive",
    "aoutside",
    "astream_in_run",
    "closed",
    "drive",
    "flagged",
    "in_run",
    "never",
    "noted",
    "outside",
    "stream_in_run",
]

T = TypeVar("T")
Enter = Callable[[], AbstractContextManager[object]]


def noted(error: BaseException | None) -> BaseException | None:
    """The error if it is one: a closed stream and LangGraph's control flow end a call well."""
    if error is None or isinstance(error, GeneratorExit):
        return None
    bubble: Any = getattr(sys.modules.get("langgraph.errors"), "GraphBubbleUp", None)
    return None if bubble is not None and isinstance(error, bubble) else error


@contextmanager
def in_run(handle: Handle, question: str, name: str) -> Generator[Run]:
    """A new run of this handle that ends with the block; not for generators."""
    run = handle.start(question, name)
    error: BaseException | None = None
    try:
        with activate(run):
            yield run
    except BaseException as caught:
        error = caught
        raise
    finally:
        handle.finish(run, noted(error))


@contextmanager
def flagged(flag: ContextVar[T], value: T, run: Run | None) -> Generator[None]:
    """The flag set and the run active, for one step."""
    token = flag.set(value)
    try:
        with activate(run):
            yield
    finally:
        flag.reset(token)


def drive(make: Callable[[], Iterator[T]], enter: Enter) -> Generator[T]:
    """The items of an iterator, each step of which runs inside `enter()`."""
    with enter():
        iterator = iter(make())
    try:
        while True:
            with enter():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            with enter():
                close()


async def adrive(make: Callable[[], AsyncIterator[T]], enter: Enter) -> AsyncGenerator[T, None]:
    """The items of an async iterator, each step of which runs inside `enter()`.

    A step may be suspended, but only while its own task waits for it: no code of the consumer runs
    in that context meanwhile.
    """
    with enter():
        iterator = aiter(make())
    try:
        while True:
            with enter():
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            with enter():
                await close()


@asynccontextmanager
async def closed(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """An async iterator that is closed at the end, as far as it can be."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def never(_item: object) -> bool:
    """A stream ends when its iterator does."""
    return False


class _Stream:
    """The run of one stream, which ends once: with its last item, an error or its iterator."""

    def __init__(self, handle: Handle, question: str, name: str) -> None:
        self._handle = handle
        self._open = True
        self.run = handle.start(question, name)

    def end(self, error: BaseException | None = None) -> None:
        if self._open:
            self._open = False
            self._handle.finish(self.run, noted(error))


def stream_in_run(
    handle: Handle,
    question: str,
    name: str,
    make: Callable[[Run], Iterator[T]],
    *,
    ends: Callable[[T], bool] = never,
) -> Iterator[T]:
    """A stream that is a run of its own, active during its steps; it starts at the first step.

    Args:
        handle: whose run it is.
        question: what is asked.
        name: what runs.
        make: makes the stream's iterator.
        ends: whether an item is the last one, after which nobody asks for the end.
    """
    stream = _Stream(handle, question, name)
    error: BaseException | None = None
    try:
        with closing(drive(lambda: make(stream.run), lambda: activate(stream.run))) as items:
            for item in items:
                if ends(item):
                    stream.end()
                yield item
    except BaseException as caught:
        error = caught
        raise
    finally:
        stream.end(error)


async def astream_in_run(
    handle: Handle,
    question: str,
    name: str,
    make: Callable[[Run], AsyncIterator[T]],
    *,
    ends: Callable[[T], bool] = never,
) -> AsyncGenerator[T, None]:
    """As `stream_in_run`, for an async stream."""
    stream = _Stream(handle, question, name)
    error: BaseException | None = None
    try:
        steps = adrive(lambda: make(stream.run), lambda: activate(stream.run))
        async with aclosing(steps) as items:
            async for item in items:
                if ends(item):
                    stream.end()
                yield item
    except BaseException as caught:
        error = caught
        raise
    finally:
        stream.end(error)


def outside(iterator: Iterator[T]) -> Iterator[T]:
    """An input of a stream: its steps are its maker's code, not the stream's."""
    run = current_run()
    return drive(lambda: iterator, lambda: activate(run))


def aoutside(iterator: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """As `outside`, for an async input."""
    run = current_run()
    return adrive(lambda: iterator, lambda: activate(run))
