"""OpenInference sees a guarded object as the plain one: names, kinds, parents, inputs, outputs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import CustomLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import SubQuestionQueryEngine, TransformQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.tools import QueryEngineTool
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import ctxguard
from ctxguard import Policy
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool, checksum

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    pytest.mark.anyio,
    # An agent's own, of what LlamaIndex and its workflows do with pydantic.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]

QUESTION = "What is the notice period for ending the supply agreement?"
Seen = list[tuple[Any, ...]]
Call = Callable[[Any], Awaitable[object]]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LlamaIndexInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


_CHANGING = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+"
    r"|Thread-\d+ \(\w+\), started \d+|(?<=llamaindex.run_id)[\\\": ]+[\w-]+"
)


def steady(value: object) -> str:
    """A value without what differs from call to call: ids and addresses."""
    return _CHANGING.sub("…", json.dumps(value, default=str, sort_keys=True))


UNSURE = "StreamingAgentChatResponse.write_response_to_history"
"""It runs in a thread, and has a parent if that ends later."""


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What a span says, but for the output of a chat that is still being written."""
    writing = span.name.endswith("ChatEngine.stream_chat") or "ChatEngine.astream" in span.name
    left_out = {"output.value"} if writing else set[str]()
    return {name: v for name, v in (span.attributes or {}).items() if name not in left_out}


def as_seen(spans: Sequence[ReadableSpan]) -> Seen:
    names = {span.context.span_id: span.name for span in spans if span.context}
    seen = (
        (
            span.name,
            None if span.name in UNSURE or not span.parent else names.get(span.parent.span_id),
            span.status.status_code.name,
            steady(attributes(span)),
            steady([event.name for event in span.events]),
        )
        for span in spans
    )
    return sorted(seen, key=repr)


# -- what is asked ------------------------------------------------------------------------------


def script(messages: Sequence[ChatMessage]) -> Any:
    text = messages[-1].content or ""
    if "sub_question" in text:
        question = {"sub_question": QUESTION, "tool_name": "contracts"}
        return json.dumps({"items": [question]})
    return checksum(messages)


def searching(messages: Sequence[ChatMessage]) -> Any:
    if messages[-1].role == "user":
        return call_tool("search", query=messages[-1].content or "")
    return checksum(messages)


def sub_question(index: VectorStoreIndex, llm: ScriptedLLM) -> Any:
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="contracts")
    return SubQuestionQueryEngine.from_defaults(
        query_engine_tools=[tool],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        use_async=False,
        verbose=False,
    )


def agent(index: VectorStoreIndex, llm: ScriptedLLM) -> Any:
    retriever = index.as_retriever(similarity_top_k=4)

    async def search(query: str) -> str:
        """Find clauses."""
        return "\n\n".join(item.text for item in await retriever.aretrieve(query))

    return FunctionAgent(tools=[search], llm=ScriptedLLM(script=searching))


class Silent(ScriptedLLM):
    """A model that fails."""

    def _reply(self, messages: Sequence[ChatMessage]) -> ChatMessage:
        raise LookupError("no answer")


OBJECTS: dict[str, Callable[[VectorStoreIndex, ScriptedLLM], Any]] = {
    "retriever": lambda index, llm: index.as_retriever(similarity_top_k=4),
    "model": lambda index, llm: llm,
    "compact": lambda index, llm: index.as_query_engine(llm=llm, similarity_top_k=4),
    "refine": lambda index, llm: index.as_query_engine(
        llm=llm, similarity_top_k=4, response_mode="refine"
    ),
    "tree": lambda index, llm: index.as_query_engine(
        llm=llm, similarity_top_k=4, response_mode="tree_summarize"
    ),
    "streaming": lambda index, llm: index.as_query_engine(
        llm=llm, similarity_top_k=4, streaming=True
    ),
    "failing": lambda index, llm: index.as_query_engine(llm=Silent(), similarity_top_k=4),
    "sub-question": sub_question,
    "transform": lambda index, llm: TransformQueryEngine(
        index.as_query_engine(llm=llm, similarity_top_k=4), HyDEQueryTransform(llm=llm)
    ),
    "chat engine": lambda index, llm: ContextChatEngine.from_defaults(
        retriever=index.as_retriever(similarity_top_k=4),
        llm=llm,
        memory=ChatMemoryBuffer.from_defaults(token_limit=8000),
    ),
    "agent": agent,
}


async def ask(obj: Any) -> None:
    """Ask in the synchronous way, as far as there is one."""
    if isinstance(obj, BaseRetriever):
        obj.retrieve(QUESTION)
    elif isinstance(obj, CustomLLM | ScriptedLLM):
        obj.chat([ChatMessage(content=QUESTION)])
        obj.complete(QUESTION)
        list(obj.stream_chat([ChatMessage(content=QUESTION)]))
        list(obj.stream_complete(QUESTION))
    elif isinstance(obj, ContextChatEngine):
        obj.chat(QUESTION)
        list(obj.stream_chat(QUESTION).response_gen)
    elif isinstance(obj, FunctionAgent):
        await obj.run(QUESTION)
    else:
        response = obj.query(QUESTION)
        list(getattr(response, "response_gen", ()) or ())


async def aask(obj: Any) -> None:
    """Ask in the asynchronous way."""
    if isinstance(obj, BaseRetriever):
        await obj.aretrieve(QUESTION)
    elif isinstance(obj, CustomLLM | ScriptedLLM):
        await obj.achat([ChatMessage(content=QUESTION)])
        await obj.acomplete(QUESTION)
        _ = [item async for item in await obj.astream_chat([ChatMessage(content=QUESTION)])]
        _ = [item async for item in await obj.astream_complete(QUESTION)]
    elif isinstance(obj, ContextChatEngine):
        await obj.achat(QUESTION)
        response = await obj.astream_chat(QUESTION)
        _ = [item async for item in response.async_response_gen()]
    elif isinstance(obj, FunctionAgent):
        handler = obj.run(QUESTION)
        _ = [event async for event in handler.stream_events()]
        await handler
    else:
        response = await obj.aquery(QUESTION)
        if hasattr(response, "async_response_gen"):
            _ = [item async for item in response.async_response_gen()]


async def traced(call: Call, obj: Any, spans: InMemorySpanExporter) -> Seen:
    with contextlib.suppress(LookupError):
        await call(obj)
    found = as_seen(spans.get_finished_spans())
    spans.clear()
    return found


@pytest.mark.parametrize("call", [ask, aask])
@pytest.mark.parametrize("name", OBJECTS)
async def test_openinference_sees_the_spans_of_the_plain_object(
    name: str, call: Call, index: VectorStoreIndex, spans: InMemorySpanExporter
) -> None:
    spans.clear()  # of building the index
    plain = OBJECTS[name](index, ScriptedLLM(script=script))
    other = OBJECTS[name](index, ScriptedLLM(script=script))
    expected = await traced(call, plain, spans)
    assert expected
    assert await traced(call, guard(other, Policy.off()), spans) == expected


async def test_openinference_sees_what_the_policy_left(
    index: VectorStoreIndex, llm: ScriptedLLM, spans: InMemorySpanExporter
) -> None:
    spans.clear()
    guard(index.as_query_engine(llm=llm, similarity_top_k=4)).query(QUESTION)
    found = [
        dict(span.attributes or {})
        for span in spans.get_finished_spans()
        if (span.attributes or {}).get("openinference.span.kind") == "RETRIEVER"
    ]
    documents = [name for name in found[-1] if name.endswith("document.content")]
    assert len(documents) == 3, "the copy is gone before the tracer looks"
