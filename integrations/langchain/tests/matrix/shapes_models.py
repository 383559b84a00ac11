"""Models: how they are bound, configured and asked, and what they answer with."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from operator import itemgetter
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.output_parsers import PydanticOutputParser, StrOutputParser
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import override

from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.matrix.harness import QUESTION, Shape
from integrations.langchain.tests.matrix.parts import FALLBACKS, PROMPT, joined, model, retriever

__all__ = ["MODELS"]

# -- models of several kinds ----------------------------------------------------------------------


class Answer(BaseModel):
    """An answer with its source."""

    answer: str
    source: str


ANSWER = json.dumps({"answer": "thirty days", "source": "contract.pdf"})


class JsonModel(ScriptedChatModel):
    """A model with a mode for JSON, as those of providers have it."""

    @override
    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        method = kwargs.get("method", "json_schema")
        described = {"schema": schema, "kwargs": {"method": method}}
        asked = self.bind(response_format=method, ls_structured_output_format=described)
        parser = PydanticOutputParser(pydantic_object=schema)
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(parsed=RunnableLambda(itemgetter("raw")) | parser)
        return {"raw": asked} | parsed


BLOCKS: list[dict[str, Any]] = [
    {"type": "reasoning", "reasoning": "The contract says it.", "index": 0},
    {"type": "text", "text": "thirty days", "index": 1},
]


class BlocksModel(ScriptedChatModel):
    """Answers with reasoning and with text, as blocks."""

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage([*BLOCKS], id="msg-1"))])

    @override
    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for block in BLOCKS:
            yield ChatGenerationChunk(message=AIMessageChunk(content=[block], id="msg-1"))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=[], id="msg-1", chunk_position="last")
        )

    @override
    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


class OnlyGenerates(BaseChatModel):
    """A model that neither streams nor has an async method of its own."""

    @property
    @override
    def _llm_type(self) -> str:
        return "only-generates"

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])


class NativelyAsync(OnlyGenerates):
    """A model with every method of its own."""

    @override
    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)

    @override
    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in ("thirty", " days"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))

    @override
    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


class ProtocolModel(OnlyGenerates):
    """A model that emits the events of the streaming protocol itself."""

    def _events(self) -> Iterator[dict[str, Any]]:
        text = "thirty days"
        yield {"event": "message-start", "role": "ai", "id": "msg-1"}
        yield {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        yield {
            "event": "content-block-delta",
            "index": 0,
            "delta": {"type": "text-delta", "text": text},
        }
        yield {
            "event": "content-block-finish",
            "index": 0,
            "content": {"type": "text", "text": text},
        }
        yield {"event": "message-finish", "reason": "stop"}

    def _stream_chat_model_events(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        yield from self._events()

    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        for event in self._events():
            yield event


class CompletionModel(BaseLLM):
    """A model that completes text."""

    @property
    @override
    def _llm_type(self) -> str:
        return "completion"

    @override
    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return LLMResult(generations=[[Generation(text="done")] for _ in prompts])


class StreamingCompletionModel(CompletionModel):
    """One that streams, and is natively async."""

    @override
    async def _agenerate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return self._generate(prompts)

    @override
    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        for word in ("thirty", " days"):
            yield GenerationChunk(text=word)

    @override
    async def _astream(
        self, prompt: str, *args: Any, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        for chunk in self._stream(prompt):
            yield chunk


# -- shapes ---------------------------------------------------------------------------------------


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@tool
def look_up(query: str) -> str:
    """Looks up."""
    return query


def structured(
    kind: type[ScriptedChatModel] = ScriptedChatModel, **options: Any
) -> Runnable[Any, Any]:
    arguments = {"answer": "thirty days", "source": "contract.pdf"}
    asked = kind(script=[ANSWER], arguments=arguments).with_structured_output(Answer, **options)
    return {"context": retriever() | joined, "question": RunnablePassthrough()} | PROMPT | asked


def configurable() -> Any:
    """A model that is chosen by the config of each call."""
    return init_chat_model(configurable_fields="any", config_prefix="my")


def chosen() -> dict[str, Any]:
    return {"configurable": {"my_model": "openai:gpt"}}


def configurable_chain() -> Runnable[Any, Any]:
    steps = {"context": retriever() | joined, "question": RunnablePassthrough()}
    return steps | PROMPT | configurable() | StrOutputParser()


def completing(asked: BaseLLM) -> Runnable[Any, Any]:
    prompt = PromptTemplate.from_template("{context}\n\n{question}")
    steps = {"context": retriever() | joined, "question": RunnablePassthrough()}
    return steps | prompt | asked


def with_picture(source: dict[str, Any]) -> Runnable[Any, Any]:
    """What was found and a picture stand in one message."""
    prompt = ChatPromptTemplate.from_messages(
        [("user", [{"type": "text", "text": "{context}\n\n{question}"}, source])]
    )
    steps = {"context": retriever() | joined, "question": RunnablePassthrough()}
    return steps | prompt | model()


PIXEL = base64.b64encode(b"a picture").decode()
MESSAGES = [
    SystemMessage("Answer shortly."),
    HumanMessage(
        [
            {"type": "text", "text": QUESTION},
            {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
            {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
            {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
        ]
    ),
]
REASONED = [
    HumanMessage(QUESTION),
    AIMessage(
        [{"type": "reasoning", "reasoning": "It says so."}, {"type": "text", "text": "Ten."}]
    ),
    HumanMessage("Really?"),
]
ALONE: dict[str, Any] = {"retrievals": 0, "dropped": 0, "raises": {}}
UNCHOSEN: dict[str, Any] = {
    **ALONE,
    "raises": {"stream_events v3": NotImplementedError, "astream_events v3": TypeError},
}
"""LangChain's stand-in for a model that is chosen later does not know the protocol."""
COMPLETING: dict[str, Any] = {"retrievals": 0, "dropped": 0, "one_batch": True}
ONE_CALL = "a completion model is asked once for a whole batch, and here once per item"
V1: dict[str, Any] = {"output_version": "v1"}

MODELS: dict[str, Shape] = {
    "model": Shape(make=model, **ALONE),
    "model, messages": Shape(make=model, given=[("system", "Short."), ("user", QUESTION)], **ALONE),
    "model, blocks": Shape(make=model, given=MESSAGES, **ALONE),
    "model, reasoning in the history": Shape(make=model, given=REASONED, **ALONE),
    "model, blocks of the standard": Shape(
        make=lambda: ScriptedChatModel(**V1), given=MESSAGES, **ALONE
    ),
    "model that reasons": Shape(make=BlocksModel, **ALONE),
    "model that reasons, standard blocks": Shape(make=lambda: BlocksModel(**V1), **ALONE),
    "model that only generates": Shape(make=OnlyGenerates, retrievals=0, dropped=0),
    "model with every method": Shape(make=NativelyAsync, **ALONE),
    "model with protocol events": Shape(make=ProtocolModel, **ALONE),
    "model that does not stream": Shape(
        make=lambda: ScriptedChatModel(disable_streaming=True), **ALONE
    ),
    "model with a rate limit": Shape(
        make=lambda: ScriptedChatModel(rate_limiter=InMemoryRateLimiter(requests_per_second=1e6)),
        **ALONE,
    ),
    "bound model": Shape(make=lambda: model().bind(stop=["\n"]), **ALONE),
    "configured model": Shape(make=lambda: model().with_config(tags=["x"]), **ALONE),
    "model with a tool": Shape(make=lambda: model().bind_tools([add]), **ALONE),
    "model with parallel tools": Shape(make=lambda: model().bind_tools([add, look_up]), **ALONE),
    "model with fields": Shape(
        make=lambda: model().configurable_fields(script=ConfigurableField(id="script")),
        config=lambda: {"configurable": {"script": ["configured"]}},
        retrievals=0,
        dropped=0,
    ),
    "structured output": Shape(make=structured),
    "structured output, raw too": Shape(
        make=lambda: structured(include_raw=True), unordered=True, item_by_item=FALLBACKS
    ),
    "structured output, JSON": Shape(make=lambda: structured(JsonModel, method="json_mode")),
    "structured output, JSON schema": Shape(
        make=lambda: structured(JsonModel, method="json_schema")
    ),
    "structured output, JSON schema, raw too": Shape(
        make=lambda: structured(JsonModel, method="json_schema", include_raw=True), unordered=True
    ),
    "structured output alone": Shape(
        make=lambda: model().with_structured_output(Answer), retrievals=0, dropped=0
    ),
    "init_chat_model": Shape(make=configurable, config=chosen, **UNCHOSEN),
    "init_chat_model, bound": Shape(
        make=lambda: configurable().bind_tools([add]), config=chosen, **UNCHOSEN
    ),
    "init_chat_model, configured": Shape(
        make=lambda: configurable().with_config(tags=["x"]), config=chosen, **UNCHOSEN
    ),
    "init_chat_model in a chain": Shape(make=configurable_chain, config=chosen),
    "picture by address": Shape(
        make=lambda: with_picture({"type": "image_url", "image_url": {"url": "http://x.y/z.png"}})
    ),
    "picture as a block": Shape(
        make=lambda: with_picture({"type": "image", "base64": PIXEL, "mime_type": "image/png"})
    ),
    "completion model": Shape(make=CompletionModel, **COMPLETING),
    "completion model that streams": Shape(make=StreamingCompletionModel, **COMPLETING),
    "completion model with fields": Shape(
        make=lambda: CompletionModel().configurable_fields(tags=ConfigurableField(id="tags")),
        config=lambda: {"configurable": {"tags": ["x"]}},
        retrievals=0,
        dropped=0,
    ),
    "completion model with a cache": Shape(
        make=lambda: CompletionModel(cache=InMemoryCache()), **COMPLETING
    ),
    "completion chain": Shape(make=lambda: completing(CompletionModel()), item_by_item=ONE_CALL),
    "completion chain that streams": Shape(
        make=lambda: completing(StreamingCompletionModel()), item_by_item=ONE_CALL
    ),
}
