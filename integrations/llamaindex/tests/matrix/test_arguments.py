"""What is handed in with a call is no part of the guarded object, and is reported."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

import ctxguard
from ctxguard import CoverageWarning

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


class Started(StartEvent):
    """A start event with fields, as LlamaIndex recommends it."""

    question: str
    retriever: Any = None


class Asking(Workflow):
    """A workflow that takes what it works with from its caller."""

    def __init__(self, llm: Any) -> None:
        super().__init__()
        self.llm = llm

    @step
    async def go(self, ev: Started) -> StopEvent:
        nodes = await ev.retriever.aretrieve(ev.question) if ev.retriever else []
        await self.llm.acomplete("\n".join(item.get_content() for item in nodes))
        return StopEvent(result=len(nodes))


def summarizing(llm: Any) -> Any:
    return ChatSummaryMemoryBuffer.from_defaults(llm=llm, token_limit=3000)


async def test_a_retriever(index: Any, llm: Any, corpus: Any) -> None:
    guarded, retriever = guard(Asking(llm)), index.as_retriever(similarity_top_k=4)
    for start in (
        {"question": corpus.question, "retriever": retriever},
        {"start_event": Started(question=corpus.question, retriever=retriever)},
    ):
        with pytest.warns(CoverageWarning, match=r"Asking\.run: not guarded:\n  retriever") as seen:
            handler = guarded.run(**start)
        assert [item.filename for item in seen] == [__file__]
        assert await handler == 4


async def test_an_index(index: Any, llm: Any) -> None:
    with pytest.warns(CoverageWarning, match=r"index \(VectorStoreIndex\) makes retrievers"):
        await guard(Asking(llm)).run(question="", index=index)


@pytest.mark.parametrize("several", [False, True])
async def test_a_memory_of_an_agent(several: bool, llm: Any) -> None:
    agent = FunctionAgent(llm=llm)
    guarded = guard(AgentWorkflow([agent]) if several else agent)
    with pytest.warns(CoverageWarning, match=r"memory\.llm \(ScriptedLLM\) is handed in"):
        await guarded.run(user_msg="Hello?", memory=summarizing(llm))
    memory = guard(summarizing(llm))
    await guarded.run(user_msg="Hello?", memory=memory)
    assert len(await memory.aget()) == 2


async def test_what_asks_nothing(index: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(Asking(llm))
    retriever = guard(index.as_retriever(similarity_top_k=4))
    history = [ChatMessage(content="Hello?")]
    memory = ChatMemoryBuffer.from_defaults(token_limit=300)
    context = Context(guarded)
    for given in (
        {"retriever": retriever},
        {"history": history, "memory": memory},
        {"ctx": context},
        {"ctx": context},
    ):
        await guarded.run(question=corpus.question, **given)
    assert len(guarded.ctxguard.ledgers) == 4
