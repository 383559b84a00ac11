"""CtxGuardMiddleware: the explicit way, with the same result."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, wrap_model_call
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from ctxguard import Budget, BudgetExceededError, Policy, guard
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio

QUESTION = "What is the notice period?"
ASK: Any = {"messages": [HumanMessage(QUESTION)]}


@pytest.fixture
def search(retriever: FixedRetriever) -> Any:
    return create_retriever_tool(retriever, "search", "Finds documents.")


async def test_an_invocation_is_one_run(search: Any, model: ScriptedChatModel) -> None:
    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [search], middleware=[middleware])
    agent.invoke(ASK)
    await agent.ainvoke(ASK)
    list(agent.stream(ASK, stream_mode="messages"))
    ledgers = middleware.ctxguard.ledgers
    assert len(ledgers) == 3
    for ledger in ledgers:
        assert ledger.question == QUESTION
        assert [step.kind for step in ledger.steps] == ["model", "retrieval", "model"]
        assert [chunk.id for chunk in ledger.dropped()] == ["b"]
        assert any(segment.kind == "evidence" for segment in ledger.segments)
    assert {item.type for item in middleware.ctxguard.coverage.reached} == {
        "ScriptedChatModel",
        "FixedRetriever",
    }
    assert isinstance(agent, type(create_agent(model)))


async def test_together_with_guard_the_policy_is_applied_once(
    search: Any, model: ScriptedChatModel
) -> None:
    middleware = CtxGuardMiddleware()
    guarded = guard(create_agent(model, [search], middleware=[middleware]))
    guarded.invoke(ASK)
    await guarded.ainvoke(ASK)
    assert middleware.ctxguard.ledgers == ()
    for ledger in guarded.ctxguard.ledgers:  # type: ignore[attr-defined]
        assert [step.kind for step in ledger.steps] == ["model", "retrieval", "model"]


def test_the_result_is_the_same_as_with_guard(search: Any) -> None:
    first, second = ScriptedChatModel(), ScriptedChatModel()
    create_agent(first, [search], middleware=[CtxGuardMiddleware()]).invoke(ASK)
    guard(create_agent(second, [search])).invoke(ASK)
    texts = [[message.text for message in model.seen[-1]] for model in (first, second)]
    assert texts[0] == texts[1]


def test_a_window_is_kept(model: ScriptedChatModel) -> None:
    policy = Policy(budget=Budget(window=300, reserve_output=50))
    middleware = CtxGuardMiddleware(policy)
    agent = create_agent(model, middleware=[middleware], system_prompt="Answer briefly.")
    history: list[Any] = []
    for n in range(40):
        history += [("user", f"question {n} about something"), ("ai", f"answer {n} to that")]
    given: Any = {"messages": [*history, ("user", "the last one?")]}
    agent.invoke(given)
    assert model.seen[-1][0].text == "Answer briefly."
    assert model.seen[-1][-1].text == "the last one?"
    assert len(model.seen[-1]) < 40
    with pytest.raises(BudgetExceededError):
        agent.invoke({"messages": [HumanMessage("word " * 1000)]})
    assert middleware.ctxguard.ledgers[-1].error.startswith("BudgetExceededError")


async def test_concurrent_invocations_do_not_mix(search: Any, model: ScriptedChatModel) -> None:
    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [search], middleware=[middleware])
    questions = [f"question {n}" for n in range(20)]
    await asyncio.gather(*(agent.ainvoke({"messages": [HumanMessage(q)]}) for q in questions))
    ledgers = middleware.ctxguard.ledgers
    assert {ledger.question for ledger in ledgers} == set(questions)
    assert {len(ledger.steps) for ledger in ledgers} == {3}


def test_an_interrupt_is_no_error(model: ScriptedChatModel) -> None:
    @tool
    def ask(query: str) -> str:
        """Ask a person."""
        return str(interrupt("sure?"))

    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [ask], middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in agent.invoke(ASK, config)
    ended = agent.invoke(Command(resume="yes"), config)
    assert isinstance(ended["messages"][-2], ToolMessage)
    assert ended["messages"][-2].content == "yes"
    assert not any(ledger.error for ledger in middleware.ctxguard.ledgers)
    assert "ctxguard_run" not in agent.get_state(config).values


def test_an_error_of_a_tool_is_raised_and_noted(model: ScriptedChatModel) -> None:
    @tool
    def fail(query: str) -> str:
        """Fail."""
        raise ConnectionError("gone")

    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [fail], middleware=[middleware])
    with pytest.raises(ConnectionError):
        agent.invoke(ASK)
    assert [ledger.error for ledger in middleware.ctxguard.ledgers] == ["ConnectionError: gone"]


def test_it_works_with_other_middleware(search: Any) -> None:
    chosen = ScriptedChatModel(script=["by the other"])

    @wrap_model_call
    def switch(request: Any, handler: Any) -> Any:
        return handler(request.override(model=chosen))

    class Watching(AgentMiddleware):
        """Counts tool calls."""

        calls = 0

        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            self.calls += 1
            return handler(request)

    watching, middleware = Watching(), CtxGuardMiddleware()
    agent = create_agent(ScriptedChatModel(), [search], middleware=[switch, watching, middleware])
    assert agent.invoke(ASK)["messages"][-1].content == "by the other"
    assert watching.calls == 1
    (ledger,) = middleware.ctxguard.ledgers
    assert [step.kind for step in ledger.steps] == ["model", "retrieval", "model"]


def test_a_tool_that_holds_nothing_is_run_as_it_is(model: ScriptedChatModel) -> None:
    @tool
    def count(query: str) -> str:
        """Count characters."""
        return str(len(query))

    middleware = CtxGuardMiddleware()
    agent = create_agent(model, [count], middleware=[middleware])
    assert agent.invoke(ASK)["messages"][-2].content == "1"
    assert [item.kind for item in middleware.ctxguard.coverage.reached] == ["model"]


def test_the_state_is_not_shown(search: Any, model: ScriptedChatModel) -> None:
    agent = create_agent(model, [search], middleware=[CtxGuardMiddleware()])
    assert set(agent.invoke(ASK)) == {"messages"}
    assert "ctxguard_run" not in str(agent.get_output_jsonschema())


MISSING = """
import sys
for name in ("langchain", "langgraph"):
    sys.modules[name] = None
import ctxguard_langchain
from ctxguard_langchain.adapter import adapter
from ctxguard.errors import MissingDependencyError
from ctxguard import Guard
from ctxguard_langchain.testing import ScriptedChatModel
assert adapter.guard(ScriptedChatModel(), Guard()).invoke("q").content == "done"
try:
    ctxguard_langchain.CtxGuardMiddleware
except MissingDependencyError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_langchain_everything_but_the_middleware_works() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING], check=True, capture_output=True, text=True
    )
    assert "pip install 'ctxguard-langchain[agents]'" in done.stdout


def test_documents_are_evidence_even_from_a_plain_function(
    model: ScriptedChatModel, documents: list[Document]
) -> None:
    retriever = FixedRetriever(documents=documents)

    @tool
    def look(query: str) -> str:
        """Look something up."""
        return "\n".join(document.page_content for document in retriever.invoke(query))

    middleware = CtxGuardMiddleware()
    create_agent(model, [look], middleware=[middleware]).invoke(ASK)
    (ledger,) = middleware.ctxguard.ledgers
    assert {s.subject for s in ledger.segments if s.kind == "evidence"} == {"a", "c", "d"}


def test_a_hook_works_outside_of_a_graph() -> None:
    middleware = CtxGuardMiddleware()
    state: Any = middleware.before_agent(ASK, None)
    middleware.after_agent(state, None)
    assert [ledger.question for ledger in middleware.ctxguard.ledgers] == [QUESTION]
