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
    "ends_well",
    "flagged",
    "never",
    "outside",
    "stream_in_run",
]

T = TypeVar("T")
Enter = Callable[[], AbstractContextManager[object]]


def ends_well(error: BaseException) -> bool:
    """Whether this is LangGraph's control flow (an interrupt, a command): no error of the call."""
    bubble: Any = getattr(sys.modules.get("langgraph.errors"), "GraphBubbleUp", None)
    return bubble is not None and isinstance(error, bubble)


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
    run = handle.start(question, name)
    with (
        handle.finishing(run),
        closing(drive(lambda: make(run), lambda: activate(run))) as items,
    ):
        for item in items:
            if ends(item):
                handle.finish(run)
            yield item


async def astream_in_run(
    handle: Handle,
    question: str,
    name: str,
    make: Callable[[Run], AsyncIterator[T]],
    *,
    ends: Callable[[T], bool] = never,
) -> AsyncGenerator[T, None]:
    """As `stream_in_run`, for an async stream."""
    run = handle.start(question, name)
    with handle.finishing(run):
        async with aclosing(adrive(lambda: make(run), lambda: activate(run))) as items:
            async for item in items:
                if ends(item):
                    handle.finish(run)
                yield item


def outside(iterator: Iterator[T]) -> Iterator[T]:
    """An input of a stream: its steps are its maker's code, not the stream's."""
    run = current_run()
    return drive(lambda: iterator, lambda: activate(run))


def aoutside(iterator: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """As `outside`, for an async input."""
    run = current_run()
    return adrive(lambda: iterator, lambda: activate(run))
