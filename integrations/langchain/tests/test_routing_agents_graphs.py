"""Graphs and agents by guard(), in place and in a block: their models' calls are routed."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from ctxguard import Policy, guard, guarded as block, handle
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.testing import FixedRetriever
from integrations.langchain.tests.turning import (
    EASY,
    HARD,
    One,
    Other,
    asked,
    codes,
    heavy,
    light,
    look_up,
    routes,
    taken,
)

pytestmark = pytest.mark.anyio
QUESTIONS = [(EASY, "light"), (HARD, "heavy")]
CONFIG: Any = {"configurable": {"thread_id": "1"}}


def policy(model: Any, **settings: Any) -> Policy:
    return Policy(routing=routes(light(), heavy(model), **settings))


def answering(model: Any) -> Any:
    """A graph of one node that asks a model."""

    def answer(state: MessagesState) -> Any:
        get_stream_writer()({"asked": True})
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state: MessagesState) -> Any:
        get_stream_writer()({"asked": True})
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("answer", RunnableLambda(answer, aanswer))
    built.add_edge(START, "answer")
    return built


def nothing(state: MessagesState) -> Any:
    return {}


def greet(state: MessagesState) -> Any:
    return {"messages": [("ai", "hello")]}


@pytest.mark.parametrize(("question", "route"), QUESTIONS)
async def test_a_node_asks_the_model_of_the_route(question: str, route: str) -> None:
    one, other = One(turns=0), Other(turns=0)
    graph = guard(answering(one).compile(), policy(other))
    given = asked(question)
    assert graph.invoke(given)["messages"][-1].text == "done"
    assert (await graph.ainvoke(given))["messages"][-1].text == "done"
    asking = one if route == "light" else other
    assert len(asking.seen) == 2
    assert len(one.seen) + len(other.seen) == 2
    for ledger in handle(graph).ledgers:
        assert taken(ledger) == [(route, "routed")]
        assert all(call.measured for call in ledger.calls)


@pytest.mark.parametrize(("question", "route"), QUESTIONS)
async def test_a_graphs_stream_modes_show_one_answer(question: str, route: str) -> None:
    one, other = One(turns=0), Other(turns=0)
    graph = guard(answering(one).compile(), policy(other))
    modes: Any = ["messages", "updates", "custom"]
    given = asked(question)
    found: list[Any] = list(graph.stream(given, stream_mode=modes))
    found_async: list[Any] = [part async for part in graph.astream(given, stream_mode=modes)]
    for parts in (found, found_async):
        said = [part[0].text for kind, part in parts if kind == "messages"]
        assert "".join(said).strip() == "done"
        assert [list(part) for kind, part in parts if kind == "updates"] == [["answer"]]
        assert [part for kind, part in parts if kind == "custom"] == [{"asked": True}]
    assert [taken(ledger) for ledger in handle(graph).ledgers] == [[(route, "routed")]] * 2


async def test_a_fallback_is_not_seen_in_a_graphs_messages() -> None:
    one, other = One(turns=0, fails=[0, 1]), Other(turns=0)
    graph = guard(answering(one).compile(), policy(other))
    for _ in range(2):
        parts: list[Any] = list(graph.stream(asked(EASY), stream_mode="messages"))
        assert "".join(m.text for m, _ in parts if isinstance(m, AIMessageChunk)).strip() == "done"
    assert len(one.seen) == 1  # it rests when it is asked again
    assert [taken(ledger)[-1][0] for ledger in handle(graph).ledgers] == ["heavy", "heavy"]


class Branches(TypedDict):
    """What a graph of parallel branches has."""

    questions: list[str]
    answers: Annotated[list[str], operator.add]


def test_branches_in_parallel_are_each_routed_once() -> None:
    one, other = One(turns=0), Other(turns=0)

    def spread(state: Branches) -> Any:
        return [Send("answer", {"question": question}) for question in state["questions"]]

    def answer(state: Any) -> Any:
        return {"answers": [one.invoke(state["question"]).text]}

    built = StateGraph(Branches)
    built.add_node("answer", answer)
    built.add_conditional_edges(START, spread, ["answer"])
    built.add_edge("answer", END)
    graph = guard(built.compile(), policy(other))
    questions = [f"What is fee {n}?" for n in range(8)]
    given: Any = {"questions": questions, "answers": []}
    assert graph.invoke(given)["answers"] == ["done"] * 8
    ledger = handle(graph).last
    assert taken(ledger) == [("light", "routed")] * 8
    assert sorted(messages[-1].text for messages in one.seen) == questions


@pytest.mark.parametrize(("question", "route"), QUESTIONS)
def test_a_graph_within_a_graph_goes_on_on_the_route(question: str, route: str) -> None:
    one, other = One(turns=0), Other(turns=0)
    built = StateGraph(MessagesState)
    built.add_node("before", nothing)
    built.add_node("inner", answering(one).compile())
    built.add_node("after", answering(one).compile())
    built.add_edge(START, "before")
    built.add_edge("before", "inner")
    built.add_edge("inner", "after")
    graph = guard(built.compile(), policy(other))
    parts: list[Any] = list(graph.stream(asked(question), subgraphs=True, stream_mode="updates"))
    assert sum("answer" in update for _, update in parts) == 2
    assert taken(handle(graph).last) == [(route, "routed")] * 2
    assert len(codes(handle(graph).last)) == 1


async def test_control_flow_of_a_graph_is_no_failure_of_a_route() -> None:
    """A model that asks a person, and a tool that hands over to another node."""

    class Asking(One):
        """Asks a person before it answers."""

        def _answer(self, messages: Any, kwargs: Any) -> Any:
            interrupt("may I?")
            return super()._answer(messages, kwargs)

    one, other = Asking(turns=0), Other(turns=0)
    graph = guard(answering(one).compile(checkpointer=InMemorySaver()), policy(other))
    assert "__interrupt__" in graph.invoke(asked(EASY), CONFIG)
    assert graph.invoke(Command(resume="yes"), CONFIG)["messages"][-1].text == "done"
    first, second = handle(graph).ledgers
    assert first.error == ""
    assert codes(first) == ["light-suffices"]
    assert [call.error for call in first.calls] == [""]
    assert taken(second) == [("light", "routed")]
    assert not other.seen

    @tool
    def hand_over(query: str) -> Any:
        """Let another one do it."""
        return Command(goto="other", graph=Command.PARENT, update={"messages": [("ai", "bye")]})

    agent = create_agent(One(), [hand_over])
    built = StateGraph(MessagesState)
    built.add_node("agent", agent)
    built.add_node("other", greet)
    built.add_edge(START, "agent")
    handing = guard(built.compile(), policy(Other()))
    for found in (handing.invoke(asked(EASY)), await handing.ainvoke(asked(EASY))):
        assert found["messages"][-1].text == "hello"
    for ledger in handle(handing).ledgers:
        assert ledger.error == ""
        assert taken(ledger) == [("light", "routed")]


async def test_calls_of_a_graph_beside_each_other_never_share_a_route() -> None:
    one, other = One(), Other()
    agent = guard(create_agent(one, [look_up]), policy(other))
    questions = [HARD if n % 2 else EASY for n in range(20)]
    await asyncio.gather(*(agent.ainvoke(asked(question)) for question in questions))
    ledgers = handle(agent).ledgers
    assert len(ledgers) == 20
    for ledger in ledgers:
        route = "heavy" if ledger.question == HARD else "light"
        assert taken(ledger) == [(route, "routed")] * 2


# -- every way to guard an agent ------------------------------------------------------------------


def by_guard(agent: Any, settings: Policy, given: Any) -> tuple[Any, Any]:
    guarded = guard(agent, settings)
    return guarded.invoke(given), handle(guarded)


def in_place(agent: Any, settings: Policy, given: Any) -> tuple[Any, Any]:
    guard(agent, settings, scope="process")
    found, owner = agent.invoke(given), handle(agent)
    owner.unguard()
    return found, owner


def in_a_block(agent: Any, settings: Policy, given: Any) -> tuple[Any, Any]:
    with block(settings) as opened:
        return agent.invoke(given), opened


Way = Callable[[Any, Policy, Any], tuple[Any, Any]]


@pytest.mark.parametrize(("question", "route"), QUESTIONS)
@pytest.mark.parametrize("way", [by_guard, in_place, in_a_block], ids=lambda way: way.__name__)
def test_every_way_to_guard_an_agent_routes_it(way: Way, question: str, route: str) -> None:
    one, other = One(turns=2), Other(turns=2)
    found, owner = way(create_agent(one, [look_up]), policy(other), asked(question))
    assert found["messages"][-1].text == "done"
    asking = one if route == "light" else other
    assert len(asking.seen) == 3
    assert len(one.seen) + len(other.seen) == 3
    calls = [call for ledger in owner.ledgers for call in ledger.calls]
    assert [call.route for call in calls] == [route] * 3
    tools = asking.calls[0]["tools"][0]
    assert ("function" in tools) is (route == "light")


# -- what tools retrieve --------------------------------------------------------------------------


@pytest.mark.parametrize(("question", "route"), QUESTIONS)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("way", ["middleware", "guard"])
async def test_a_tool_retrieves_as_deep_as_the_route_says(
    way: str, asynchronous: bool, question: str, route: str
) -> None:
    documents = [Document(page_content=f"Page {n} is on subject {n}.") for n in range(10)]
    retriever = FixedRetriever(documents=documents, k=3)
    search = create_retriever_tool(retriever, "search", "Finds documents.")
    settings = Policy(routing=routes(light(top_k=1), heavy(Other(), top_k=5)))
    if way == "middleware":
        routing = CtxGuardMiddleware(settings)
        agent: Any = create_agent(One(), [search], middleware=[routing])
        owner: Any = routing.ctxguard
    else:
        agent = guard(create_agent(One(), [search]), settings)
        owner = handle(agent)
    given = asked(question)
    found: Any = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["messages"][-2].text.count("Page") == (1 if route == "light" else 5)
    assert taken(owner.last) == [(route, "routed")] * 2
    assert retriever.k == 3
