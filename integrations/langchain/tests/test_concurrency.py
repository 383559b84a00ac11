"""Concurrent calls never see each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langgraph.graph import START, MessagesState, StateGraph

from ctxguard import Ledger, guard, handle
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio


def found(question: str) -> list[Document]:
    text = f"What is known about {question} is written here, in a passage that is long enough."
    return [Document(page_content=text, id=f"{question}-{n}") for n in range(2)]


class Echoing(BaseRetriever):
    """Finds two copies of a passage about the question."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return found(query)


class AsyncEchoing(Echoing):
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        await asyncio.sleep(0.001)
        return found(query)


def check(ledger: Ledger | None, question: str) -> None:
    """The ledger is of this question's call, and of nothing else."""
    assert ledger is not None
    assert ledger.question == question
    assert {chunk.id for chunk in ledger.chunks} == {f"{question}-0", f"{question}-1"}
    assert len(ledger.dropped()) == 1
    assert not ledger.error
    evidence = [segment.subject for segment in ledger.segments if segment.kind == "evidence"]
    assert evidence == [f"{question}-0"]


@pytest.fixture(params=[Echoing, AsyncEchoing])
def chain(
    request: pytest.FixtureRequest,
    prompt: ChatPromptTemplate,
    joined: Callable[[list[Document]], str],
) -> Runnable[Any, Any]:
    steps = {"context": request.param() | joined, "question": RunnablePassthrough()}
    return guard(steps | prompt | ScriptedChatModel())


QUESTIONS = [f"matter-{n}" for n in range(50)]


async def test_fifty_tasks(chain: Runnable[Any, Any]) -> None:
    async def call(question: str) -> None:
        await chain.ainvoke(question)
        check(handle(chain).last, question)

    await asyncio.gather(*map(call, QUESTIONS))
    assert {ledger.question for ledger in handle(chain).ledgers} == set(QUESTIONS)


async def test_fifty_streams(chain: Runnable[Any, Any]) -> None:
    async def call(question: str) -> None:
        async for _ in chain.astream(question):
            await asyncio.sleep(0)
        check(handle(chain).last, question)

    await asyncio.gather(*map(call, QUESTIONS))


def test_sixteen_threads(chain: Runnable[Any, Any]) -> None:
    def call(question: str) -> None:
        chain.invoke(question)
        check(handle(chain).last, question)
        list(chain.stream(question))
        check(handle(chain).last, question)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, QUESTIONS))


async def test_a_batch_has_a_run_for_each_item(chain: Runnable[Any, Any]) -> None:
    few = QUESTIONS[:8]
    chain.batch(few)
    await chain.abatch(few)
    list(chain.batch_as_completed(few))
    _ = [item async for item in chain.abatch_as_completed(few)]
    ledgers = handle(chain).ledgers
    assert len(ledgers) == 32
    for ledger in ledgers:
        check(ledger, ledger.question)


async def test_one_failing_item_of_a_batch_is_its_own_matter() -> None:
    class Failing(Echoing):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            if query == "bad":
                raise LookupError(query)
            return found(query)

    guarded = guard(Failing() | len)
    for results in (
        guarded.batch(["good", "bad"], return_exceptions=True),
        await guarded.abatch(["good", "bad"], return_exceptions=True),
    ):
        assert results[0] == 1
        assert isinstance(results[1], LookupError)
    errors = [ledger.error for ledger in handle(guarded).ledgers]
    assert sorted(errors) == ["", "", "LookupError: bad", "LookupError: bad"]
    with pytest.raises(LookupError):
        guarded.batch(["good", "bad"])


@pytest.mark.parametrize("kind", [Echoing, AsyncEchoing])
async def test_a_bare_retriever(kind: type[BaseRetriever]) -> None:
    guarded = guard(kind())

    async def call(question: str) -> None:
        await guarded.ainvoke(question)
        check(handle(guarded).last, question)

    await asyncio.gather(*map(call, QUESTIONS))


async def test_a_graph(joined: Callable[[list[Document]], str]) -> None:
    retriever, model = AsyncEchoing(), ScriptedChatModel()

    async def retrieve(state: MessagesState) -> dict[str, Any]:
        context = joined(await retriever.ainvoke(state["messages"][-1].text))
        return {"messages": [("user", context)]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([retrieve, answer])
    graph.add_edge(START, "retrieve")
    guarded = guard(graph.compile())

    async def call(question: str) -> None:
        given: Any = {"messages": [("user", question)]}
        await guarded.ainvoke(given)
        check(handle(guarded).last, question)

    await asyncio.gather(*map(call, QUESTIONS))


async def test_two_guards_around_one_retriever_do_not_mix(retriever: FixedRetriever) -> None:
    first, second = guard(retriever), guard(retriever, budget=10)
    await asyncio.gather(first.ainvoke("one"), second.ainvoke("two"))
    assert [ledger.question for ledger in handle(first).ledgers] == ["one"]
    assert [ledger.question for ledger in handle(second).ledgers] == ["two"]
