"""Deterministic parts for tests of LangChain code: a retriever, a chat model, embeddings.

They do what real ones do and LangChain's own fakes do not: the model binds tools, streams with
usage, gives structured output and remembers what it was asked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForLLMRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field
from typing_extensions import override

__all__ = ["AsyncFixedRetriever", "FixedRetriever", "HashEmbeddings", "ScriptedChatModel"]


class FixedRetriever(BaseRetriever):
    """Finds the same documents whatever is asked; its async form runs in a thread."""

    documents: list[Document] = Field(default_factory=list[Document])
    k: int = 100
    """At most this many."""

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return list(self.documents[: kwargs.get("k", self.k)])


class AsyncFixedRetriever(FixedRetriever):
    """A FixedRetriever with an async method of its own."""

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return list(self.documents[: kwargs.get("k", self.k)])


class ScriptedChatModel(BaseChatModel):
    """Says what its script says, else `done`; first calls every tool that it is given, once.

    It keeps what it was asked: `model.seen[-1]` are the messages of the last call. Copies of a
    model share that list, guarded ones too.
    """

    model_name: str = "o200k_base"
    """Named by an encoding, so that its tokens are counted exactly."""
    script: list[str] = Field(default_factory=list[str])
    """Answers in order; what the model says when it makes no tool call."""
    arguments: dict[str, Any] = Field(default_factory=lambda: {"query": "q"})
    """Of every tool call."""
    seen: list[list[BaseMessage]] = Field(default_factory=list[list[BaseMessage]], exclude=True)
    calls: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]], exclude=True)
    """Keyword arguments of every call."""

    @property
    @override
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools."""
        return self.bind(
            tools=[convert_to_openai_tool(tool) for tool in tools],
            tool_choice=tool_choice,
            **kwargs,
        )

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        self.seen.append(list(messages))
        self.calls.append(kwargs)
        usage = _usage(sum(len(str(message.content)) for message in messages))
        tools: list[dict[str, Any]] = kwargs.get("tools") or []
        if tools and not any(isinstance(message, ToolMessage) for message in messages):
            calls = [
                {"name": tool["function"]["name"], "args": self._arguments(tool), "id": f"call-{n}"}
                for n, tool in enumerate(tools)
            ]
            return AIMessage("", tool_calls=calls, usage_metadata=usage)
        number = len(self.seen) - 1
        text = self.script[number % len(self.script)] if self.script else "done"
        return AIMessage(
            text, usage_metadata=usage, response_metadata={"model_name": self.model_name}
        )

    def _arguments(self, tool: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = tool["function"]["parameters"].get("properties", {})
        given = {name: value for name, value in self.arguments.items() if name in known}
        return given or {name: _example(schema) for name, schema in known.items()}

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answer(messages, kwargs)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from _chunks(self._answer(messages, kwargs))

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._answer(messages, kwargs)):
            yield chunk


class HashEmbeddings(Embeddings):
    """Vectors from checksums of words: always the same, and near for texts that share words."""

    size = 64

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors, shape `(texts, 64)`, of length 1."""
        return [self.embed_query(text) for text in texts]

    @override
    def embed_query(self, text: str) -> list[float]:
        """A vector of shape `(64,)`, of length 1."""
        vector = [1e-6] * self.size
        for word in text.lower().split():
            vector[zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.size] += 1.0
        length = sum(value * value for value in vector) ** 0.5
        return [value / length for value in vector]


def _chunks(answer: AIMessage) -> Iterator[ChatGenerationChunk]:
    """An answer word by word, then its tool calls with the usage."""
    for word in str(answer.content).split(" "):
        yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content="",
            tool_call_chunks=[
                {
                    "name": call["name"],
                    "args": json.dumps(call["args"]),
                    "id": call["id"],
                    "index": index,
                    "type": "tool_call_chunk",
                }
                for index, call in enumerate(answer.tool_calls)
            ],
            usage_metadata=answer.usage_metadata,
            response_metadata=answer.response_metadata,
            chunk_position="last",
        )
    )


def _usage(characters: int) -> UsageMetadata:
    tokens = characters // 4
    return {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}


def _example(schema: dict[str, Any]) -> object:
    examples: dict[str, object] = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return examples.get(schema.get("type", "string"), "text")
