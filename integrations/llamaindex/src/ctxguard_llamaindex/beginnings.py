"""The beginning of a stream, waited for: until then another engine may answer in its place.

A response brings its sources along. So it is given only once its first words are there: those of
another engine would come with other sources.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from threading import Thread
from typing import Any, TypeAlias, cast

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from workflows.handler import WorkflowHandler

__all__ = ["abegun", "begun", "is_open"]

Result: TypeAlias = Any
"""Whatever an engine gives."""
_OPEN = (
    StreamingResponse,
    AsyncStreamingResponse,
    StreamingAgentChatResponse,
    WorkflowHandler,
)
_LOOK_AGAIN = 0.1
"""Seconds between looks whether a writer that says nothing is still there."""


def is_open(result: Result) -> bool:
    """Whether there is more to come of what an engine gave."""
    return isinstance(result, _OPEN)


def begun(result: Result) -> Result:
    """What an engine gave, once its first words are there.

    Raises:
        Exception: what its model raised before.
    """
    if isinstance(result, StreamingResponse):
        result.response_gen = _begin(cast("Generator[Any, None, None]", result.response_gen))
    elif isinstance(result, StreamingAgentChatResponse):
        writer = result.write_response_to_history_thread
        if writer is not None:
            _wait(result, writer)
        elif result.chat_stream is not None:
            result.chat_stream = _begin(result.chat_stream)
    return result


async def abegun(result: Result) -> Result:
    """As `begun`."""
    if isinstance(result, AsyncStreamingResponse):
        result.response_gen = await _abegin(cast("AsyncGenerator[Any, None]", result.response_gen))
    elif isinstance(result, StreamingAgentChatResponse) and result.achat_stream is not None:
        writer = cast("asyncio.Task[None] | None", result.awrite_response_to_history_task)  # pyright: ignore[reportUnknownMemberType] -- a bare asyncio.Task there
        if writer is not None:
            await _await(result, writer)
        else:
            stream = cast("AsyncGenerator[Any, None]", result.achat_stream)
            result.achat_stream = await _abegin(stream)
    else:
        begun(result)  # a synchronous stream that an async method gave
    return result


def _wait(response: StreamingAgentChatResponse, writer: Thread) -> None:
    """Wait for a word, for the end, or for an error; the writer sets one event for all three."""
    word = response.is_function_not_none_thread_event
    while not word.wait(_LOOK_AGAIN) and writer.is_alive():
        pass
    if response.exception is not None:
        writer.join()
        raise response.exception


async def _await(response: StreamingAgentChatResponse, writer: asyncio.Task[None]) -> None:
    response._ensure_async_setup()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- as its readers do
    event = cast("asyncio.Event", response.new_item_event)
    word = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({writer, word}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        word.cancel()
    if response.exception is not None:
        await asyncio.wait({writer})
        writer.exception()  # else asyncio complains that nobody asked for it
        raise response.exception


def _begin(stream: Generator[Any, None, None]) -> Generator[Any, None, None]:
    for first in stream:
        return _again(first, stream)
    return stream


def _again(first: object, rest: Generator[Any, None, None]) -> Generator[Any, None, None]:
    try:
        yield first
        yield from rest
    finally:
        rest.close()


async def _abegin(stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async for first in stream:
        return _aagain(first, stream)
    return stream


async def _aagain(first: object, rest: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    try:
        yield first
        async for item in rest:
            yield item
    finally:
        await rest.aclose()
