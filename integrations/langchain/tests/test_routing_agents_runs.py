"""Invocations of routed agents: each keeps its route, whatever interrupts it or runs beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field

from ctxguard.routing import Cascade, Price
from ctxguard.verification import Verify
from ctxguard_langchain import CtxGuardMiddleware
from integrations.langchain.tests.turning import (
    EASY,
    HARD,
    One,
    Other,
    Turning,
    asked,
    codes,
    heavy,
    light,
    look_up,
    middleware,
    taken,
)

pytestmark = pytest.mark.anyio


@tool
def dump(query: str) -> str:
    """Give a lot."""
    return "word " * 400


class Shortening(AgentMiddleware):
    """Hands on little of a long conversation, in the last turn."""

    @staticmethod
    def _short(request: Any) -> Any:
        if len(request.messages) < 5:
            return request
        return request.override(messages=request.messages[:1], tools=[])

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(self._short(request))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(self._short(request))


def climbing(**settings: Any) -> tuple[One, Other, CtxGuardMiddleware]:
    """Models and middleware whose second turn has no room on the light route any more."""
    one, other = One(turns=2), Other(turns=2)
    return one, other, middleware(light(window=500), heavy(other), **settings)


def test_the_route_goes_up_where_it_must_and_never_down() -> None:
    one, other, routing = climbing()
    create_agent(one, [dump], middleware=[Shortening(), routing]).invoke(asked(EASY))
    ledger = routing.ctxguard.last
    assert taken(ledger) == [("light", "routed"), ("heavy", "routed"), ("heavy", "routed")]
    assert codes(ledger) == ["light-suffices", "raised"]
    assert len(other.seen[1]) == 1  # it would have had room again


@tool
def ask_somebody(query: str) -> str:
    """Ask a person."""
    return "word " * 400 if interrupt("which?") == "all" else "nothing"


CONFIG: Any = {"configurable": {"thread_id": "1"}}


def test_what_was_interrupted_goes_on_on_its_route() -> None:
    one, _, routing = climbing()
    agent = create_agent(
        one,
        [ask_somebody],
        middleware=[Shortening(), routing],
        checkpointer=InMemorySaver(),
    )
    assert "__interrupt__" in agent.invoke(asked(EASY), CONFIG)
    assert "__interrupt__" in agent.invoke(Command(resume="all"), CONFIG)
    ended = agent.invoke(Command(resume="all"), CONFIG)
    assert ended["messages"][-1].text == "done"
    (ledger,) = routing.ctxguard.ledgers
    assert taken(ledger) == [("light", "routed"), ("heavy", "routed"), ("heavy", "routed")]
    assert ledger.error == ""


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_it_does_in_another_process_too(asynchronous: bool, tmp_path: Path) -> None:
    saver = InMemorySaver()

    def process() -> tuple[Any, CtxGuardMiddleware]:
        """All that lives in a process is new; what is shared is in a file."""
        one, _, routing = climbing(state=tmp_path / "state.db")
        others = [Shortening(), routing]
        return create_agent(one, [ask_somebody], middleware=others, checkpointer=saver), routing

    async def invoke(agent: Any, given: Any) -> Any:
        return await agent.ainvoke(given, CONFIG) if asynchronous else agent.invoke(given, CONFIG)

    agent, routing = process()
    assert "__interrupt__" in await invoke(agent, asked(EASY))
    assert "__interrupt__" in await invoke(agent, Command(resume="all"))
    assert taken(routing.ctxguard.last) == [("light", "routed"), ("heavy", "routed")]
    agent, routing = process()
    ended = await invoke(agent, Command(resume="none"))
    assert ended["messages"][-1].text == "done"
    (ledger,) = routing.ctxguard.ledgers
    assert ledger.question == EASY
    assert taken(ledger) == [("heavy", "routed")]
    assert codes(ledger) == ["kept-in-run"]


def test_a_new_invocation_of_the_thread_is_decided_anew() -> None:
    one, routing = One(), middleware(light(), heavy(Other()), sticky=False)
    agent = create_agent(one, [look_up], middleware=[routing], checkpointer=InMemorySaver())
    agent.invoke(asked(HARD), CONFIG)
    agent.invoke(asked(EASY), CONFIG)
    assert [taken(ledger)[0][0] for ledger in routing.ctxguard.ledgers] == ["heavy", "light"]


def test_a_conversation_keeps_the_route_that_has_its_prompt_cached() -> None:
    one, other = One(turns=0), Other(turns=0)
    near = Price(input=1.1, output=2, cache_read=0.01)
    routing = middleware(light(), heavy(other, price=near))
    agent = create_agent(one, middleware=[routing], checkpointer=InMemorySaver())
    agent.invoke(asked(HARD), CONFIG)
    agent.invoke(asked(EASY), CONFIG)
    agent.invoke(asked(EASY), {"configurable": {"thread_id": "2"}})
    ledgers = routing.ctxguard.ledgers
    assert [taken(ledger)[0][0] for ledger in ledgers] == ["heavy", "heavy", "light"]
    assert codes(ledgers[1]) == ["kept-for-cache"]


async def test_invocations_beside_each_other_never_share_a_route() -> None:
    one, other = One(turns=2), Other(turns=2)
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, [look_up], middleware=[routing])
    questions = [HARD if n % 2 else EASY for n in range(20)]
    await asyncio.gather(*(agent.ainvoke(asked(question)) for question in questions))
    ledgers = routing.ctxguard.ledgers
    assert len(ledgers) == 20
    for ledger in ledgers:
        route = "heavy" if ledger.question == HARD else "light"
        assert taken(ledger) == [(route, "routed")] * 3


def test_an_agent_within_a_tool_goes_on_on_the_route() -> None:
    inner_model = One(turns=0)
    inner = create_agent(inner_model)

    @tool
    def delegate(query: str) -> str:
        """Let somebody else do it."""
        return inner.invoke(asked(EASY))["messages"][-1].text

    other = Other()
    routing = middleware(light(), heavy(other))
    create_agent(One(), [delegate], middleware=[routing]).invoke(asked(HARD))
    assert taken(routing.ctxguard.last) == [("heavy", "routed")] * 3
    assert (len(inner_model.seen), len(other.seen)) == (0, 3)


def test_two_policies_route_a_turn_once() -> None:
    """The outer one routes, and the inner one is told of a model that has a guard already."""
    one, other, chosen = One(), Other(), One(model_name="chosen")
    outer = middleware(light(), heavy(other))

    class Inner(CtxGuardMiddleware):
        """Another one; an agent takes one of a kind."""

    class Replacing(AgentMiddleware):
        """Asks another model."""

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(model=chosen))

    inner = Inner(outer.ctxguard.policy)
    create_agent(one, middleware=[outer, inner]).invoke(asked(HARD))
    assert taken(outer.ctxguard.last) == [("heavy", "routed")]
    create_agent(one, middleware=[outer, inner, Replacing()]).invoke(asked(HARD))
    assert codes(outer.ctxguard.last) == ["heavier", "route-overridden"]
    assert not any(ledger.calls for ledger in inner.ctxguard.ledgers)


# -- structured answers ---------------------------------------------------------------------------


class Fee(BaseModel):
    """What it costs."""

    fee: str


class Filling(Turning):
    """Looks something up, then answers by the schema's tool or in the format that is asked for."""

    @staticmethod
    def _only(tools: list[dict[str, Any]], looked: bool) -> list[dict[str, Any]]:
        named = [(one.get("function") or one)["name"] for one in tools]
        return [one for one, name in zip(tools, named, strict=True) if (name == "Fee") is looked]

    def _answer(self, messages: Any, kwargs: dict[str, Any]) -> Any:
        looked = any(message.type == "tool" for message in messages)
        tools = self._only(kwargs.get("tools", []), looked)
        shown = [message for message in messages if message.type != "tool"]
        answer = super()._answer(shown if tools else messages, {**kwargs, "tools": tools})
        self.calls[-1] = kwargs
        return answer


class FillingOne(Filling, One):
    """Of one provider, which is known to answer in formats."""

    profile: Any = Field(default_factory=lambda: {"structured_output": True})


class FillingOther(Filling, Other):
    """Of another provider."""


@pytest.mark.parametrize(("question", "route"), [(EASY, "light"), (HARD, "heavy")])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("strategy", "formats"),
    [
        (ToolStrategy(Fee), {"light": False, "heavy": False}),
        (ProviderStrategy(Fee), {"light": True, "heavy": True}),
        (AutoStrategy(Fee), {"light": True, "heavy": False}),  # as each model takes it
    ],
    ids=["tool", "provider", "auto"],
)
async def test_a_structured_answer_is_asked_for_as_the_routes_model_takes_it(
    strategy: Any, formats: dict[str, bool], question: str, route: str, asynchronous: bool
) -> None:
    one = FillingOne(arguments={"fee": "$500", "query": "q"})
    profile: Any = {"structured_output": True} if formats["heavy"] else None
    other = FillingOther(arguments={"fee": "$500", "query": "q"}, profile=profile)
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, [look_up], response_format=strategy, middleware=[routing])
    given = asked(question)
    found: Any = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["structured_response"] == Fee(fee="$500")
    asking, idle = (one, other) if route == "light" else (other, one)
    assert len(asking.calls) == 2
    assert not idle.calls
    assert ("response_format" in asking.calls[-1]) is formats[route]
    names = {(tool.get("function") or tool)["name"] for tool in asking.calls[-1]["tools"]}
    assert ("Fee" in names) is not formats[route]
    assert taken(routing.ctxguard.last) == [(route, "routed")] * 2


def test_a_format_that_a_route_does_not_give_is_asked_of_another() -> None:
    one, other = FillingOne(arguments={"fee": "$500"}), FillingOther()
    bare = FillingOne(arguments={"fee": "$500"}, profile={"structured_output": False})
    for unable in (other, bare):
        routing = middleware(light(), heavy(unable))
        agent = create_agent(one, response_format=ProviderStrategy(Fee), middleware=[routing])
        assert agent.invoke(asked(HARD))["structured_response"] == Fee(fee="$500")
        assert codes(routing.ctxguard.last) == ["route-unsuitable"]
        assert not unable.seen


def test_a_schema_is_a_tool_on_one_route_and_checked_as_an_answer() -> None:
    """Which way an `AutoStrategy` takes is known only when the model is."""

    @tool
    def look(query: str) -> str:
        """Look something up."""
        return "The fee is $500 per month."

    other = FillingOther(arguments={"fee": "$600 per month", "query": "q"})
    routing = middleware(light(), heavy(other), verification=Verify())
    agent = create_agent(FillingOne(), [look], response_format=Fee, middleware=[routing])
    assert agent.invoke(asked(HARD))["structured_response"] == Fee(fee="$600 per month")
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert [d.code for d in ledger.decisions if d.stage == "verify"] == ["amount-differs"]


# -- escalation -----------------------------------------------------------------------------------


@tool
def look_fee(query: str) -> str:
    """Look the fee up."""
    return "The fee is $500 per month."


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_answer_that_is_not_held_is_asked_of_the_next_route(asynchronous: bool) -> None:
    one = One(script=["The fee is $600 per month."])
    other = Other(script=["The fee is $500 per month."])
    routing = middleware(light(), heavy(other), cascade=Cascade())
    agent = create_agent(one, [look_fee], middleware=[routing])
    given = asked(EASY)
    found: Any = (await agent.ainvoke(given) if asynchronous else agent.invoke(given))["messages"]
    assert [message.type for message in found] == ["human", "ai", "tool", "ai"]
    assert found[-1].text == "The fee is $500 per month."
    assert len(one.seen) == 2  # the turn that calls the tool passes as it is
    assert len(other.seen) == 1
    assert not other.calls[0].get("tools")  # it puts an answer right, and looks nothing up
    ledger = routing.ctxguard.last
    assert taken(ledger) == [("light", "routed"), ("light", "routed"), ("heavy", "escalated")]
    assert ledger is not None
    assert ledger.verification is not None
    assert ledger.verification.grounded


def test_an_answer_that_is_held_stays() -> None:
    one, other = One(script=["The fee is $500 per month."]), Other()
    routing = middleware(light(), heavy(other), cascade=Cascade())
    agent = create_agent(one, [look_fee], middleware=[routing])
    assert agent.invoke(asked(HARD))["messages"][-1].text == "The fee is $500 per month."
    assert not other.seen
    assert taken(routing.ctxguard.last) == [("light", "routed")] * 2
