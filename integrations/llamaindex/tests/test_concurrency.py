"""Calls at the same time: no ledger ever holds what another call did."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import TextNode

import ctxguard
from ctxguard.run import current_run
from ctxguard_llamaindex.testing import HashEmbedding, ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


TOPICS = 50


@pytest.fixture
def topics() -> VectorStoreIndex:
    """Two equal passages on each topic."""
    texts = [
        f"Clause number{n} says that party{n} may leave after {n} days." for n in range(TOPICS)
    ]
    nodes = [TextNode(text=text) for text in texts for _ in range(2)]
    return VectorStoreIndex(nodes, embed_model=HashEmbedding(dimensions=512))


def question(number: int) -> str:
    return f"What does clause number{number} say about party{number}?"


def check(ledger: Any, number: int) -> None:
    """The ledger is that of one question: its passages, its copy left out, its prompt."""
    assert ledger.question == question(number)
    kinds = [step.kind for step in ledger.steps]
    assert kinds == ["retrieval", "model"]
    assert f"number{number} " in ledger.chunks[0].text
    assert len(ledger.chunks) == 2
    assert len(ledger.of("drop")) == 1
    asked = "\n".join(segment.text for segment in ledger.segments)
    assert f"party{number}?" in asked


@pytest.mark.anyio
@pytest.mark.parametrize("streaming", [False, True])
async def test_tasks(streaming: bool, topics: Any, llm: ScriptedLLM) -> None:
    guarded = guard(topics.as_query_engine(llm=llm, similarity_top_k=2, streaming=streaming))

    async def ask(number: int) -> Any:
        response = await guarded.aquery(question(number))
        if streaming:
            async for _ in response.async_response_gen():
                await asyncio.sleep(0)
        return guarded.ctxguard.last

    ledgers = await asyncio.gather(*(ask(number) for number in range(TOPICS)))
    for number, ledger in enumerate(ledgers):
        check(ledger, number)
    assert len({ledger.run_id for ledger in guarded.ctxguard.ledgers}) == TOPICS
    assert current_run() is None


def test_threads(topics: Any, llm: ScriptedLLM) -> None:
    guarded = guard(topics.as_query_engine(llm=llm, similarity_top_k=2))

    def ask(number: int) -> Any:
        guarded.query(question(number))
        return guarded.ctxguard.last

    with ThreadPoolExecutor(16) as pool:
        for number, ledger in enumerate(pool.map(ask, range(TOPICS))):
            check(ledger, number)


def test_streams_in_threads(topics: Any, llm: ScriptedLLM) -> None:
    guarded = guard(topics.as_query_engine(llm=llm, similarity_top_k=2, streaming=True))

    def ask(number: int) -> Any:
        responses = [guarded.query(question(n)) for n in (number, (number + 1) % TOPICS)]
        for _ in zip(*(response.response_gen for response in responses), strict=True):
            pass
        return guarded.ctxguard.last

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    ledgers = guarded.ctxguard.ledgers
    assert len(ledgers) == 32
    for ledger in ledgers:
        number = int(ledger.question.partition("number")[2].partition(" ")[0])
        check(ledger, number)


def test_chat_engines_in_threads(topics: Any) -> None:
    def ask(number: int) -> Any:
        # One engine per conversation, as LlamaIndex asks for: the memory is not shared.
        engine = ContextChatEngine.from_defaults(
            retriever=topics.as_retriever(similarity_top_k=2),
            llm=ScriptedLLM(),
            memory=ChatMemoryBuffer.from_defaults(token_limit=8000),
        )
        guarded = guard(engine)
        list(guarded.stream_chat(question(number)).response_gen)
        return guarded.ctxguard.last

    with ThreadPoolExecutor(16) as pool:
        for number, ledger in enumerate(pool.map(ask, range(16))):
            check(ledger, number)


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
async def test_agents_at_once(topics: Any) -> None:
    from ctxguard_llamaindex.testing import call_tool, checksum

    retriever = topics.as_retriever(similarity_top_k=2)

    async def search(query: str) -> str:
        """Find clauses."""
        return "\n\n".join(item.text for item in await retriever.aretrieve(query))

    def script(messages: Any) -> Any:
        if messages[-1].role == "user":
            return call_tool("search", query=messages[-1].content)
        return checksum(messages)

    guarded = guard(FunctionAgent(tools=[search], llm=ScriptedLLM(script=script)))
    await asyncio.gather(*(guarded.run(question(number)) for number in range(20)))
    assert len(guarded.ctxguard.ledgers) == 20
    for ledger in guarded.ctxguard.ledgers:
        number = int(ledger.question.partition("number")[2].partition(" ")[0])
        assert [step.kind for step in ledger.steps] == ["model", "retrieval", "model"]
        assert f"number{number} " in ledger.chunks[0].text
        assert len(ledger.of("drop")) == 1
