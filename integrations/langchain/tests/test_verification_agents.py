"""Agents, graphs, structured output and every other way in: each answer is verified once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from ctxguard import guard, guarded as block, handle
from ctxguard.errors import UngroundedAnswerError
from ctxguard.verification import Ask
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.convert import results_of
from ctxguard_langchain.telling import CORRECTION, VERIFICATION
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.speaking import (
    BETTER,
    CUT,
    DOCUMENTS,
    DRAFT,
    REPAIRED,
    RIGHT,
    WRONG,
    Listener,
    Speaker,
    chain,
    codes,
    last,
    pieces,
    policy,
)

pytestmark = pytest.mark.anyio

ASKED: Any = {"messages": [("user", "What is the fee?")]}


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return "\n".join(document.page_content for document in DOCUMENTS)


def calling(*answers: str) -> Speaker:
    """A model that calls a tool first, and says something beside it."""
    args: Any = {"name": "look_up", "args": '{"query": "fee"}', "id": "1", "index": 0}
    call = AIMessageChunk(content="", tool_call_chunks=[args | {"type": "tool_call_chunk"}])
    return Speaker(replies=[[*pieces(WRONG), call], *(pieces(one) for one in answers)])


def again(model: Any) -> None:
    model.seen.clear()


# -- agents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
async def test_an_agents_answer_is_held_against_what_its_tools_returned(mode: Any) -> None:
    model = calling(RIGHT)
    agent = guard(create_agent(model, [look_up]), policy(mode, "raise"))
    answer = agent.invoke(ASKED)["messages"]
    assert [message.type for message in answer] == ["human", "ai", "tool", "ai"]
    assert answer[1].content == WRONG  # beside a call of tools: no answer
    assert answer[-1].content == RIGHT
    verification = last(agent).verification
    assert verification is not None
    assert verification.grounded is True
    assert len(last(agent).verifications) == 1
    again(model)
    assert (await agent.ainvoke(ASKED))["messages"][-1].content == RIGHT
    wrong = guard(create_agent(calling(DRAFT), [look_up]), policy(mode, "raise", attempts=0))
    with pytest.raises(UngroundedAnswerError):
        wrong.invoke(ASKED)


def test_results_of_tools_have_names_that_stay() -> None:
    messages: list[BaseMessage] = [
        AIMessage("x"),
        ToolMessage(RIGHT, tool_call_id="1", name="a"),
        ToolMessage([{"type": "text", "text": BETTER}, "more"], tool_call_id="2"),
        ToolMessage("it failed", tool_call_id="3", status="error"),
        ToolMessage(WRONG, tool_call_id="4", name="Schema"),
    ]
    found = results_of(messages, {"Schema"})
    assert [(chunk.id, chunk.text, chunk.source) for chunk in found] == [
        ("tool-1", RIGHT, "a"),
        ("tool-2", f"{BETTER}\nmore", ""),
    ]


@pytest.mark.parametrize(
    ("mode", "shown", "events"),
    [
        ("gate", CUT, [VERIFICATION]),
        ("annotate", DRAFT, [CORRECTION, VERIFICATION]),
        ("after", DRAFT, [CORRECTION, VERIFICATION]),
    ],
)
async def test_a_graphs_stream_modes(mode: Any, shown: str, events: list[str]) -> None:
    modes: Any = ["messages", "custom", "values"]
    model = calling(DRAFT)
    agent = guard(create_agent(model, [look_up]), policy(mode))
    found: list[Any] = list(agent.stream(ASKED, stream_mode=modes))
    again(model)
    found_async: list[Any] = [part async for part in agent.astream(ASKED, stream_mode=modes)]
    for parts in (found, found_async):
        messages = [part[0] for kind, part in parts if kind == "messages"]
        texts = [m.text for m in messages if isinstance(m, AIMessageChunk)]
        assert "".join(texts) == WRONG + shown
        custom = [part for kind, part in parts if kind == "custom"]
        assert [part["event"] for part in custom] == events
        assert json.loads(json.dumps(custom)) == custom
        values = [part for kind, part in parts if kind == "values"]
        assert values[-1]["messages"][-1].text == shown


async def test_a_repair_is_not_seen_in_a_graphs_messages() -> None:
    model = calling(DRAFT, BETTER)
    agent = guard(create_agent(model, [look_up]), policy("gate", "repair"))
    parts: list[Any] = [p async for p in agent.astream(ASKED, stream_mode="messages")]
    texts = [m.text for m, _ in parts if isinstance(m, AIMessageChunk | AIMessage)]
    assert "".join(texts) == WRONG + REPAIRED
    again(model)
    listener = Listener()
    agent.invoke(ASKED, {"callbacks": [listener]})
    assert "ctxguard light" in listener.runs


@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
@pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")
async def test_a_graph_streams_protocol_events() -> None:
    agent = guard(create_agent(calling(DRAFT), [look_up]), policy("gate"))
    run: Any = await agent.astream_events(ASKED, version="v3")
    output: Any = await run.output()
    assert output["messages"][-1].text == CUT


async def test_an_agents_events_name_what_failed() -> None:
    agent = guard(create_agent(calling(DRAFT), [look_up]), policy("annotate"))
    names = [
        (event["event"], event["name"])
        async for event in agent.astream_events(ASKED, version="v2")
        if event["event"] == "on_custom_event"
    ]
    assert names == [("on_custom_event", CORRECTION), ("on_custom_event", VERIFICATION)]


def test_control_flow_of_a_graph_passes_through_a_repair() -> None:
    def heavy(ask: Ask) -> str:
        return str(interrupt({"question": ask.messages[-1].text}))

    model, retriever = Speaker(replies=[pieces(DRAFT)]), FixedRetriever(documents=DOCUMENTS)

    def answer(state: MessagesState) -> Any:
        retriever.invoke("q")
        return {"messages": [model.invoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("answer", answer)
    built.add_edge(START, "answer")
    graph = built.compile(checkpointer=InMemorySaver())
    guarded = guard(graph, policy("after", "escalate", heavy=heavy))
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in guarded.invoke(ASKED, config)
    assert last(guarded).error == ""
    resumed = guarded.invoke(Command(resume=BETTER), config)
    assert resumed["messages"][-1].text == REPAIRED


# -- structured output ----------------------------------------------------------------------------


class Fee(BaseModel):
    """What it costs."""

    fee: str


METHODS = ["function_calling", "json_schema", "json_mode"]


def structured(method: str) -> Any:
    model = ScriptedChatModel(arguments={"fee": "$600 per month"})
    retriever = FixedRetriever(documents=DOCUMENTS)

    def found(question: str) -> str:
        return str(retriever.invoke(question))

    return RunnableLambda(found) | model.with_structured_output(Fee, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
async def test_structured_output_passes_and_is_checked_at_the_end(method: str, mode: Any) -> None:
    plain = structured(method)
    expected = list(plain.stream("q"))
    for on_fail in ("flag", "abstain"):
        guarded = guard(plain, policy(mode, on_fail))
        assert guarded.invoke("q") == Fee(fee="$600 per month")
        assert "amount-differs" in codes(guarded)
        assert list(guarded.stream("q")) == expected
        assert "amount-differs" in codes(guarded)
        assert [part async for part in guarded.astream("q")] == expected
        assert await guarded.ainvoke("q") == Fee(fee="$600 per month")
        assert "abstained" not in codes(guarded)
    raising = guard(plain, policy(mode, "raise"))
    with pytest.raises(UngroundedAnswerError):
        raising.invoke("q")
    with pytest.raises(UngroundedAnswerError):
        list(raising.stream("q"))


@pytest.mark.parametrize("method", METHODS)
def test_structured_output_in_a_block(method: str) -> None:
    plain = structured(method)
    with block(policy("gate")) as opened:
        assert plain.invoke("q") == Fee(fee="$600 per month")
        assert list(plain.stream("q"))[-1] == Fee(fee="$600 per month")
    found = [decision.code for ledger in opened.ledgers for decision in ledger.decisions]
    assert found.count("amount-differs") == 2


@pytest.mark.parametrize("strategy", [ToolStrategy(Fee), ProviderStrategy(Fee)])
@pytest.mark.parametrize("way", ["guard", "process", "middleware"])
@pytest.mark.parametrize("mode", ["after", "gate"])
def test_an_agents_structured_answer_is_checked(strategy: Any, way: str, mode: Any) -> None:
    class Steps(ScriptedChatModel):
        """Looks something up first, then answers."""

        def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
            looked = any(m.type == "tool" for m in messages)
            tools = [
                one
                for one in kwargs.get("tools", ())
                if (one["function"]["name"] == "look_up") is not looked
            ]
            messages = [m for m in messages if m.type != "tool"] if tools else messages
            return super()._answer(messages, {**kwargs, "tools": tools})

    arguments = {"query": "q", "fee": "$600 per month"}
    model = Steps(arguments=arguments)
    middleware = CtxGuardMiddleware(policy(mode))
    with_middleware: Any = [middleware] if way == "middleware" else []
    agent = create_agent(model, [look_up], response_format=strategy, middleware=with_middleware)
    guarded: Any = agent
    if way != "middleware":
        scope: Any = "process" if way == "process" else "copy"
        guarded = guard(agent, policy(mode), scope=scope)
    assert guarded.invoke(ASKED)["structured_response"] == Fee(fee="$600 per month")
    ledger = middleware.ctxguard.last if way == "middleware" else last(guarded)
    assert ledger is not None
    assert [d.code for d in ledger.decisions if d.stage == "verify"][-1] == "amount-differs"
    list(guarded.stream(ASKED, stream_mode="messages"))
    ledger = middleware.ctxguard.last if way == "middleware" else last(guarded)
    assert ledger is not None
    assert [d.code for d in ledger.decisions if d.stage == "verify"][-1] == "amount-differs"
    if way == "process":
        handle(guarded).unguard()


# -- every way in verifies once -------------------------------------------------------------------

Verified = tuple[str, int]
"""What was said, and how many verifications there were."""


def verifications(owner: Any) -> int:
    return sum(len(ledger.verifications) for ledger in owner.ledgers)


def by_a_guarded_chain(stream: bool) -> Verified:
    guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy())
    return _text(guarded, stream), verifications(handle(guarded))


def in_a_guarded_chain(stream: bool) -> Verified:
    """A guarded model inside of a guarded chain."""
    model = guard(Speaker(replies=[pieces(DRAFT)]), policy())
    guarded = guard(chain(model), policy())
    said = _text(guarded, stream)
    return said, verifications(handle(guarded))


def as_a_step(stream: bool) -> Verified:
    """A guarded chain as a step of a plain one."""
    guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy())
    return _text(RunnableLambda(str) | guarded, stream), verifications(handle(guarded))


def in_place(stream: bool) -> Verified:
    plain = chain(Speaker(replies=[pieces(DRAFT)]))
    guard(plain, policy(), scope="process")
    said, count = _text(plain, stream), verifications(handle(plain))
    handle(plain).unguard()
    return said, count


def in_a_block(stream: bool) -> Verified:
    plain = chain(Speaker(replies=[pieces(DRAFT)]))
    with block(policy()) as opened:
        said = _text(plain, stream)
    return said, verifications(opened)


def of_a_batch(stream: bool) -> Verified:
    guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy())
    found = guarded.batch(["a", "b"])
    assert found[0].text == found[1].text
    assert all(len(ledger.verifications) == 1 for ledger in handle(guarded).ledgers)
    return found[0].text, verifications(handle(guarded)) - 1


def with_a_history(stream: bool) -> Verified:
    history = InMemoryChatMessageHistory()

    def newest(messages: list[BaseMessage]) -> str:
        return messages[-1].text

    plain = RunnableLambda(newest) | chain(Speaker(replies=[pieces(DRAFT)]))
    guarded = guard(RunnableWithMessageHistory(plain, lambda _: history), policy())
    config: Any = {"configurable": {"session_id": "1"}}
    said = _text(guarded, stream, config, [HumanMessage("q")])
    assert history.messages[-1].text == said
    return said, verifications(handle(guarded))


def by_middleware(stream: bool) -> Verified:
    middleware = CtxGuardMiddleware(policy())
    agent = create_agent(calling(DRAFT), [look_up], middleware=[middleware])
    return _agent_text(agent, stream), verifications(middleware.ctxguard)


def by_middleware_and_guard(stream: bool) -> Verified:
    middleware = CtxGuardMiddleware(policy())
    agent = create_agent(calling(DRAFT), [look_up], middleware=[middleware])
    guarded = guard(agent, policy())
    return _agent_text(guarded, stream), verifications(handle(guarded))


def of_a_retriever_tool(stream: bool) -> Verified:
    retriever = FixedRetriever(documents=DOCUMENTS)
    find = create_retriever_tool(retriever, "look_up", "Look something up.")
    guarded = guard(create_agent(calling(DRAFT), [find]), policy())
    return _agent_text(guarded, stream), verifications(handle(guarded))


def _text(
    runnable: Any, stream: bool, config: RunnableConfig | None = None, given: Any = "q"
) -> str:
    if stream:
        return "".join(part.text for part in runnable.stream(given, config))
    return runnable.invoke(given, config).text


def _agent_text(agent: Any, stream: bool) -> str:
    if not stream:
        return agent.invoke(ASKED)["messages"][-1].text
    parts = agent.stream(ASKED, stream_mode="messages")
    texts = [m.text for m, _ in parts if isinstance(m, AIMessageChunk)]
    return "".join(texts).removeprefix(WRONG)


WAYS: list[Callable[[bool], Verified]] = [
    by_a_guarded_chain,
    in_a_guarded_chain,
    as_a_step,
    in_place,
    in_a_block,
    of_a_batch,
    with_a_history,
    by_middleware,
    by_middleware_and_guard,
    of_a_retriever_tool,
]


@pytest.mark.filterwarnings("ignore:.*MessageHistory")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("stream", [False, True], ids=["called", "streamed"])
def test_every_way_in_verifies_once(way: Callable[[bool], Verified], stream: bool) -> None:
    said, count = way(stream)
    assert said == CUT
    assert count == 1


def test_what_a_cache_keeps_is_the_verified_answer() -> None:
    cache = InMemoryCache()
    model = Speaker(replies=[pieces(DRAFT), pieces(BETTER), pieces(WRONG)], cache=cache)
    guarded = guard(chain(model), policy("gate", "repair"))
    assert [guarded.invoke("q").text, guarded.invoke("q").text] == [REPAIRED, REPAIRED]
    assert len(model.seen) == 2  # the draft and its repair
    assert len(cache._cache) == 1
    assert chain(model).invoke("q").text == WRONG  # nor served to a plain model
