"""Deterministic parts for tests of LangChain code: a retriever, a chat model, embeddings.

They do what real ones do and LangChain's own fakes do not: the model binds tools, streams with
usage, gives structured output and remembers what it was asked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from operator import itemgetter
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
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, Field
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

    Which tools, `tool_choice` can say: `"none"`, or one by its name. Without a script it answers in
    the `response_format` that is asked for, with `arguments` and examples for what they lack.

    It keeps what it was asked: `model.seen[-1]` are the messages of the last call. Copies of a
    model share that list, guarded ones too.
    """

    model_name: str = "o200k_base"
    """Named by an encoding, so that its tokens are counted exactly."""
    script: list[str] = Field(default_factory=list[str])
    """Answers in order; what the model says when it makes no tool call."""
    arguments: dict[str, Any] = Field(default_factory=lambda: {"query": "q"})
    """Of every tool call, as far as its parameters have these names."""
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

    @override
    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The model with answers of this schema.

        Args:
            schema: a pydantic model, a TypedDict or a JSON schema.
            include_raw: whether the message and the parsing error, if any, are given too.
            kwargs: `method`, if it is `"json_schema"` or `"json_mode"`: as text, in that response
                format. Otherwise by a tool call, as every LangChain model does it.
        """
        method = kwargs.get("method")
        if method not in ("json_schema", "json_mode"):
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        asked = self.bind(
            response_format=_response_format(schema, method),
            ls_structured_output_format={"kwargs": {"method": method}, "schema": schema},
        )
        parser: Runnable[Any, Any] = JsonOutputParser()
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            parser = PydanticOutputParser[Any](pydantic_object=schema)
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks(
            [unparsed], exception_key="parsing_error"
        )

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        self.seen.append(list(messages))
        self.calls.append(kwargs)
        called = any(isinstance(message, ToolMessage) for message in messages)
        tools = [] if called else _chosen(kwargs.get("tools") or [], kwargs.get("tool_choice"))
        calls = [
            {
                "name": tool["function"]["name"],
                "args": self._filled(tool["function"]["parameters"]),
                "id": f"call-{n}",
            }
            for n, tool in enumerate(tools)
        ]
        return AIMessage(
            "" if calls else self._text(kwargs.get("response_format")),
            tool_calls=calls,
            usage_metadata=_usage(sum(len(str(message.content)) for message in messages)),
            response_metadata={"model_name": kwargs.get("model", self.model_name)},
        )

    def _text(self, response_format: dict[str, Any] | None) -> str:
        if self.script:
            return self.script[(len(self.seen) - 1) % len(self.script)]
        match response_format:
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                return json.dumps(self._filled(schema))
            case {"type": "json_object"}:
                return json.dumps(self.arguments)
            case _:
                return "done"

    def _filled(self, schema: dict[str, Any]) -> dict[str, Any]:
        """An object of a schema: the arguments that it knows, and examples of what it requires."""
        known: dict[str, Any] = schema.get("properties", {})
        given = {name: value for name, value in self.arguments.items() if name in known}
        lacking = set(schema.get("required", ()) if given else known) - given.keys()
        return {
            name: _example(known[name]) if name in lacking else given[name]
            for name in known
            if name in lacking or name in given
        }

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


def _chosen(tools: list[dict[str, Any]], choice: str | None) -> list[dict[str, Any]]:
    """The tools that a choice allows: none, the one of that name, or all."""
    if choice == "none":
        return []
    return [tool for tool in tools if tool["function"]["name"] == choice] or tools


def _response_format(schema: dict[str, Any] | type, method: str) -> dict[str, Any]:
    if method == "json_mode":
        return {"type": "json_object"}
    found = convert_to_json_schema(schema)
    return {"type": "json_schema", "json_schema": {"name": found["title"], "schema": found}}


def _usage(characters: int) -> UsageMetadata:
    tokens = characters // 4
    return {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}


def _example(schema: dict[str, Any]) -> object:
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return _example(schema["anyOf"][0])
    examples: dict[str, object] = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return examples.get(schema.get("type", "string"), "text")
