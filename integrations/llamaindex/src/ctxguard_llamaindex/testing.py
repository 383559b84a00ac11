"""Deterministic models for tests of code that uses ctxguard with LlamaIndex: no network needed."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import callbacks
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool
from pydantic import Field, PrivateAttr

__all__ = ["HashEmbedding", "ScriptedLLM", "call_tool", "checksum"]

Reply: TypeAlias = "str | ChatMessage"
Method = TypeVar("Method")
Script: TypeAlias = Callable[[Sequence[ChatMessage]], Reply]

_WORD = re.compile(r"\w+")


class _Decorator(Protocol):
    """Leaves the type of what it decorates as it is; LlamaIndex only says `Callable`."""

    def __call__(self, function: Method, /) -> Method: ...


# They report LlamaIndex's events, as every real model does.
_chat_reported = cast("_Decorator", callbacks.llm_chat_callback())  # pyright: ignore[reportUnknownMemberType] -- see above
_completion_reported = cast("_Decorator", callbacks.llm_completion_callback())  # pyright: ignore[reportUnknownMemberType] -- see above


def checksum(messages: Sequence[ChatMessage]) -> str:
    """An answer that differs as soon as the prompt does."""
    written = "\n".join(f"{message.role.value}: {message.content}" for message in messages)
    return f"answer {zlib.crc32(written.encode('utf-8', 'surrogatepass')):08x}"


def call_tool(name: str, call_id: str = "call-1", **arguments: str) -> ChatMessage:
    """The reply of a model that wants a tool to be called."""
    block = ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=dict(arguments))
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


class ScriptedLLM(FunctionCallingLLM):
    """A function-calling chat model that answers what its script says, and keeps every prompt.

    It streams its answer in words, and tool calls with the last of them. Copies of it keep their
    prompts in the same list.
    """

    script: Script = Field(default=checksum, exclude=True)
    context_window: int = 8192
    num_output: int = 256
    model: str = "unknown"
    is_chat_model: bool = True
    _prompts: list[list[ChatMessage]] = PrivateAttr(
        default_factory=lambda: cast("list[list[ChatMessage]]", [])
    )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "ScriptedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks of every model."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=self.is_chat_model,
            is_function_calling_model=True,
            model_name=self.model,
        )

    @property
    def prompts(self) -> list[list[ChatMessage]]:
        """The messages of every call so far, oldest first."""
        return self._prompts

    def _reply(self, messages: Sequence[ChatMessage]) -> ChatMessage:
        self._prompts.append(list(messages))
        reply = self.script(messages)
        if isinstance(reply, ChatMessage):
            return reply
        return ChatMessage(role=MessageRole.ASSISTANT, content=reply)

    # -- whole answers --------------------------------------------------------------------------

    @_chat_reported
    def chat(self, messages: Sequence[ChatMessage], **_kwargs: Any) -> ChatResponse:
        """The answer to the messages."""
        return ChatResponse(message=self._reply(messages))

    @_chat_reported
    async def achat(self, messages: Sequence[ChatMessage], **_kwargs: Any) -> ChatResponse:
        """The answer to the messages."""
        await asyncio.sleep(0)
        return ChatResponse(message=self._reply(messages))

    @_completion_reported
    def complete(self, prompt: str, *_args: Any, **_kwargs: Any) -> CompletionResponse:
        """The answer to a prompt, kept as the one message of a user."""
        return CompletionResponse(text=self._reply([ChatMessage(content=prompt)]).content or "")

    @_completion_reported
    async def acomplete(
        self,
        prompt: str,
        *_args: Any,
        **_kwargs: Any,
    ) -> CompletionResponse:
        """The answer to a prompt, kept as the one message of a user."""
        await asyncio.sleep(0)
        return CompletionResponse(text=self._reply([ChatMessage(content=prompt)]).content or "")

    # -- streams --------------------------------------------------------------------------------

    @_chat_reported
    def stream_chat(
        self, messages: Sequence[ChatMessage], **_kwargs: Any
    ) -> Generator[ChatResponse, None, None]:
        """The answer, word by word."""
        return _spoken(self._reply(messages))

    @_chat_reported
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **_kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        """The answer, word by word."""
        return _aspoken(self._reply(messages))

    @_completion_reported
    def stream_complete(
        self,
        prompt: str,
        *_args: Any,
        **_kwargs: Any,
    ) -> Generator[CompletionResponse, None, None]:
        """The answer, word by word."""
        spoken = _spoken(self._reply([ChatMessage(content=prompt)]))
        return (
            CompletionResponse(text=part.message.content or "", delta=part.delta) for part in spoken
        )

    @_completion_reported
    async def astream_complete(
        self,
        prompt: str,
        *_args: Any,
        **_kwargs: Any,
    ) -> AsyncGenerator[CompletionResponse, None]:
        """The answer, word by word."""
        spoken = _aspoken(self._reply([ChatMessage(content=prompt)]))
        return (
            CompletionResponse(text=part.message.content or "", delta=part.delta)
            async for part in spoken
        )

    # -- tools ----------------------------------------------------------------------------------

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *_args: Any,
        **_kwargs: Any,
    ) -> dict[str, Any]:
        last = [ChatMessage(content=user_msg)] if isinstance(user_msg, str) else [user_msg]
        return {
            "messages": [*(chat_history or []), *(message for message in last if message)],
            "tools": [tool.metadata.to_openai_tool() for tool in tools],
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, *_args: Any, **_kwargs: Any
    ) -> list[ToolSelection]:
        """The calls that the answer asks for."""
        return [
            ToolSelection(
                tool_id=block.tool_call_id or "",
                tool_name=block.tool_name,
                tool_kwargs=cast("dict[str, Any]", block.tool_kwargs),
            )
            for block in response.message.blocks
            if isinstance(block, ToolCallBlock)
        ]


def _spoken(message: ChatMessage) -> Generator[ChatResponse, None, None]:
    words = re.findall(r"\S+\s*", message.content or "")
    calls = [block for block in message.blocks if not isinstance(block, TextBlock)]
    said = ""
    for number, word in enumerate(words or [""], start=1):
        said += word
        blocks = [TextBlock(text=said), *(calls if number >= len(words) else [])]
        yield ChatResponse(message=ChatMessage(role=message.role, blocks=blocks), delta=word)


async def _aspoken(message: ChatMessage) -> AsyncGenerator[ChatResponse, None]:
    for response in _spoken(message):
        await asyncio.sleep(0)
        yield response


class HashEmbedding(BaseEmbedding):
    """Words hashed into a vector: texts that share words are near to each other."""

    dimensions: int = 64
    """Shape of every vector: `(dimensions,)`."""

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "HashEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for word in _WORD.findall(text.lower()):
            vector[zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.dimensions] += 1.0
        length = sum(value * value for value in vector) ** 0.5 or 1.0
        return [value / length for value in vector]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)
