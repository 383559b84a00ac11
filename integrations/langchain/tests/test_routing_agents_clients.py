"""Routed agents with real clients: what the server is asked, turn by turn."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from pydantic import BaseModel

from ctxguard import Policy, guard, handle
from ctxguard_langchain import CtxGuardMiddleware
from integrations.langchain.tests.clients import client
from integrations.langchain.tests.routing import anthropic
from integrations.langchain.tests.turning import (
    EASY,
    HARD,
    asked,
    codes,
    heavy,
    light,
    look_up,
    routes,
    taken,
)
from tests import anthropic_server as claude
from tests.openai_server import ANSWER, ScriptedServer

pytestmark = pytest.mark.anyio


class Fee(BaseModel):
    """What it costs."""

    fee: str


def models(server: ScriptedServer) -> list[str]:
    """The model that each request is for."""
    return [request.body["model"] for request in server.requests]


def routing_to(model: Any, **settings: Any) -> CtxGuardMiddleware:
    return CtxGuardMiddleware(Policy(routing=routes(light(), heavy(model), **settings)))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("question", "model"), [(EASY, "gpt-4o-mini"), (HARD, "gpt-4o")])
async def test_each_turn_asks_for_the_model_of_the_route(
    openai_server: ScriptedServer, question: str, model: str, asynchronous: bool
) -> None:
    routing = routing_to("gpt-4o")
    agent = create_agent(client(openai_server), [look_up], middleware=[routing])
    given = asked(question)
    found: Any = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["messages"][-1].text == ANSWER
    assert models(openai_server) == [model, model]
    assert all("tools" in request.body for request in openai_server.requests)
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert [(call.model, call.measured, call.input) for call in ledger.calls] == [
        (model, True, 21)
    ] * 2


def test_a_route_bounds_what_is_asked_for(openai_server: ScriptedServer) -> None:
    routing = CtxGuardMiddleware(
        Policy(routing=routes(light(), heavy("o4-mini", effort="low", max_output=77)))
    )
    agent = create_agent(client(openai_server), [look_up], middleware=[routing])
    agent.invoke(asked(HARD))
    for request in openai_server.requests:
        assert request.body["model"] == "o4-mini"
        assert request.body["reasoning_effort"] == "low"
        assert request.body["max_completion_tokens"] == 77


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("question", "route"), [(EASY, "light"), (HARD, "heavy")])
@pytest.mark.parametrize("way", ["tool", "provider", "auto"])
async def test_a_structured_answer_on_either_route(
    openai_server: ScriptedServer,
    anthropic_server: ScriptedServer,
    way: str,
    question: str,
    route: str,
    asynchronous: bool,
) -> None:
    strategies = {"tool": ToolStrategy, "provider": ProviderStrategy, "auto": AutoStrategy}
    # Of a model that is not said to know formats, `AutoStrategy` asks for a call of a tool.
    profile = {} if way == "auto" else {"profile": {"structured_output": True}}
    heavy_model = anthropic(anthropic_server, model_name="claude-next", **profile)
    agent: Any = create_agent(
        client(openai_server),
        response_format=strategies[way](Fee),
        middleware=[routing_to(heavy_model)],
    )
    given = asked(question)
    found = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["structured_response"] == Fee(fee="text")
    asking, idle = openai_server, anthropic_server
    if route == "heavy":
        asking, idle = idle, asking
    (request,) = asking.requests
    assert not idle.requests
    formatted = {"response_format", "output_format", "output_config"} & request.body.keys()
    assert bool(formatted) is (way == "provider" or (way == "auto" and route == "light"))
    assert bool(request.body.get("tools")) is not bool(formatted)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_rate_limit_in_the_middle_of_a_loop(
    openai_server: ScriptedServer, asynchronous: bool
) -> None:
    openai_server.script("answer", "too many", "answer")
    routing = routing_to("gpt-4o")
    agent = create_agent(client(openai_server, max_retries=0), [look_up], middleware=[routing])
    given = asked(EASY)
    found: Any = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["messages"][-1].text == ANSWER
    assert models(openai_server) == ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o"]
    ledger = routing.ctxguard.last
    assert taken(ledger) == [("light", "routed"), ("light", "routed"), ("heavy", "fallback")]
    assert codes(ledger) == ["light-suffices", "rate-limited", "fallback"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_loop_goes_on_with_the_other_providers_model(
    openai_server: ScriptedServer, anthropic_server: ScriptedServer, asynchronous: bool
) -> None:
    """The tools are bound anew, and what the first one said and was told is read by the second."""
    openai_server.script("answer", "too many")
    routing = routing_to(anthropic(anthropic_server))
    agent = create_agent(
        client(openai_server, max_retries=0),
        [look_up],
        middleware=[routing],
        system_prompt="Be brief.",
    )
    given = asked(EASY)
    found: Any = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert found["messages"][-1].text == claude.ANSWER
    first, second = openai_server.requests[0].body, anthropic_server.requests[0].body
    assert len(openai_server.requests) == 2
    assert first["tools"][0]["function"]["name"] == second["tools"][0]["name"] == "look_up"
    assert second["tools"][0]["input_schema"] == first["tools"][0]["function"]["parameters"]
    assert second["system"] == "Be brief."
    question, call, result = second["messages"]
    assert question["content"] == EASY
    assert call["content"][0]["type"] == "tool_use"
    assert result["content"][0]["type"] == "tool_result"
    assert result["content"][0]["tool_use_id"] == call["content"][0]["id"] == "call_1"
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert taken(ledger)[-1] == ("heavy", "fallback")
    last = ledger.calls[-1]
    assert (last.input, last.cache_read, last.cache_write, last.output) == (35, 20, 5, 7)


def test_a_loop_of_the_other_providers_model(
    openai_server: ScriptedServer, anthropic_server: ScriptedServer
) -> None:
    routing = routing_to(anthropic(anthropic_server))
    agent = create_agent(client(openai_server), [look_up], middleware=[routing])
    modes: Any = ["messages", "values"]
    parts: list[Any] = list(agent.stream(asked(HARD), stream_mode=modes))
    said = [part[0].text for kind, part in parts if kind == "messages" and part[0].type != "tool"]
    assert "".join(said) == claude.ANSWER
    messages = [part for kind, part in parts if kind == "values"][-1]["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert not openai_server.requests
    assert taken(routing.ctxguard.last) == [("heavy", "routed")] * 2


@pytest.mark.parametrize(("retries", "requests"), [(0, 2), (2, 6)])
@pytest.mark.parametrize("stream", [False, True])
def test_rate_limits_of_all_routes_end_it(
    openai_server: ScriptedServer, retries: int, requests: int, stream: bool
) -> None:
    """A client's own retries are the client's; then each route is asked once."""
    openai_server.script("too many")
    routing = routing_to("gpt-4o")
    model = client(openai_server, max_retries=retries)
    agent = create_agent(model, [look_up], middleware=[routing])
    ask: Any = agent.stream if stream else agent.invoke
    with pytest.raises(openai.RateLimitError):
        list(ask(asked(EASY)))
    assert len(openai_server.requests) == requests
    assert codes(routing.ctxguard.last) == [
        "light-suffices",
        "rate-limited",
        "fallback",
        "rate-limited",
    ]


@pytest.mark.parametrize("way", ["middleware", "guard"])
async def test_what_a_graphs_reader_has_is_not_begun_anew(
    openai_server: ScriptedServer, way: str
) -> None:
    routing = routing_to("gpt-4o")
    model = client(openai_server, max_retries=0)
    agent: Any = create_agent(model, middleware=[routing] if way == "middleware" else [])
    agent = agent if way == "middleware" else guard(agent, routing.ctxguard.policy)
    owner = routing.ctxguard if way == "middleware" else handle(agent)
    read: list[str] = []

    def reading() -> None:
        for message, _ in agent.stream(asked(EASY), stream_mode="messages"):
            read.append(message.text)

    async def areading() -> None:
        async for message, _ in agent.astream(asked(EASY), stream_mode="messages"):
            read.append(message.text)

    openai_server.script("cut", "answer")
    with pytest.raises(httpx.RemoteProtocolError):
        reading()
    assert len(openai_server.requests) == 1
    openai_server.script("cut", "answer")
    with pytest.raises(httpx.RemoteProtocolError):
        await areading()
    assert "".join(read) == f"{ANSWER} " * 2
    openai_server.script("broken", "answer")
    assert agent.invoke(asked(EASY))["messages"][-1].text == ANSWER
    openai_server.script("too many", "answer")  # before anything was shown
    reading()
    assert [taken(ledger)[-1][0] for ledger in owner.ledgers] == [*["light"] * 2, *["heavy"] * 2]
