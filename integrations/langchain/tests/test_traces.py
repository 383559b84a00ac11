"""A store gets one ledger per call of a guarded object, however it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from ctxguard import guard
from ctxguard.telemetry import LedgerStore, record_to
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio
QUESTION = "What is the notice period?"


@pytest.fixture
def kept(tmp_path: Path) -> LedgerStore:
    return LedgerStore(tmp_path / "traces.sqlite3", content=True)


async def test_a_chain(
    kept: LedgerStore,
    retriever: FixedRetriever,
    model: ScriptedChatModel,
    prompt: ChatPromptTemplate,
    joined: Callable[[list[Document]], str],
) -> None:
    chain: Any = guard(
        {"context": retriever | joined, "question": RunnablePassthrough()} | prompt | model
    )
    with record_to(kept):
        chain.invoke(QUESTION)
        await chain.ainvoke(QUESTION)
        list(chain.stream(QUESTION))
        assert [part async for part in chain.astream(QUESTION)]
        chain.batch([QUESTION, QUESTION])
        await asyncio.gather(*(chain.ainvoke(QUESTION) for _ in range(4)))
    assert kept.count() == 10
    for run in kept.list():
        ledger = kept.get(run.run_id)
        assert ledger.question == QUESTION
        assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
        assert run.dropped == 1
    assert kept.get(chain.ctxguard.last.run_id) == chain.ctxguard.last
    kept.close()


async def test_an_agent_is_one_run(
    kept: LedgerStore, retriever: FixedRetriever, model: ScriptedChatModel
) -> None:
    search = create_retriever_tool(retriever, "search", "Finds documents.")
    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [search], middleware=[middleware])
    with record_to(kept):
        agent.invoke({"messages": [HumanMessage(QUESTION)]})
    (run,) = kept.list()
    assert [step.kind for step in kept.get(run.run_id).steps] == ["model", "retrieval", "model"]
    kept.close()
