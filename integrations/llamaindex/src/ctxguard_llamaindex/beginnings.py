"""The beginning of a stream, waited for: until then another engine may answer in its place.

A response brings its sources along. So it is given only once its first words are there: those of
another engine would come with other sources.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
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
        if result.write_response_to_history_thread is not None:
            result.is_function_not_none_thread_event.wait()  # set by a word, an end, and an error
            _raise(result)
        elif result.chat_stream is not None:
            result.chat_stream = _begin(result.chat_stream)
    return result


async def abegun(result: Result) -> Result:
    """As `begun`."""
    if isinstance(result, AsyncStreamingResponse):
        result.response_gen = await _abegin(cast("AsyncGenerator[Any, None]", result.response_gen))
    elif isinstance(result, StreamingAgentChatResponse):
        if result.awrite_response_to_history_task is not None:  # pyright: ignore[reportUnknownMemberType] -- a bare asyncio.Task there
            result._ensure_async_setup()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- as its readers do
            if result.new_item_event is not None:
                await result.new_item_event.wait()
            _raise(result)
        elif result.achat_stream is not None:
            result.achat_stream = await _abegin(
                cast("AsyncGenerator[Any, None]", result.achat_stream)
            )
    else:
        begun(result)  # a synchronous stream that an async method gave
    return result


def _raise(response: StreamingAgentChatResponse) -> None:
    if response.exception is not None:
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
