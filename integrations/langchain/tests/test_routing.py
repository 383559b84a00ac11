"""Calls of a guarded model take a route: two real clients of two providers, and what they see."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import anthropic as anthropic_sdk
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable

from ctxguard import SpendLimitError, guard, guarded, handle
from ctxguard.ledger import Ledger
from ctxguard.routing import Price, Route, Router, Routes, SpendLimit
from integrations.langchain.tests.routing import (
    BARE,
    HEAVY,
    LIGHT,
    QUESTION,
    Heard,
    Way,
    anthropic,
    codes,
    events,
    every_stream,
    every_way,
    openai,
    routes,
)
from tests.anthropic_server import ANSWER as OTHER_ANSWER
from tests.openai_server import ANSWER, ScriptedServer

pytestmark = pytest.mark.anyio
Servers = tuple[ScriptedServer, ScriptedServer]


@pytest.fixture
def servers(openai_server: ScriptedServer, anthropic_server: ScriptedServer) -> Servers:
    return openai_server, anthropic_server


def asked(servers: Servers) -> tuple[int, int]:
    """The requests that each of them got."""
    return len(servers[0].requests), len(servers[1].requests)


def last(obj: Any) -> Ledger:
    return handle(obj).ledgers[-1]


@every_way
async def test_the_light_route_is_the_model_itself(servers: Servers, way: Way) -> None:
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1]), LIGHT))
    heard = Heard()
    assert (await way(guarded, {"callbacks": [heard]})).strip() == ANSWER
    assert (asked(servers), heard.models, heard.ended) == ((1, 0), ["gpt-4o-mini"], ["end"])
    (call,) = last(guarded).calls
    assert (call.route, call.model, call.measured, call.reason) == (
        "light",
        "gpt-4o-mini",
        True,
        "routed",
    )
    assert (call.input, call.output, call.cost) == (21, 3, pytest.approx(27e-6))
    assert last(guarded).route == "light"


@every_way
async def test_the_heavy_route_is_another_providers_model(servers: Servers, way: Way) -> None:
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1]), HEAVY))
    heard = Heard()
    assert await way(guarded, {"callbacks": [heard]}) == OTHER_ANSWER
    assert (asked(servers), heard.models, heard.ended) == ((0, 1), ["claude-sonnet-4-6"], ["end"])
    (call,) = last(guarded).calls
    assert (call.route, call.model, call.measured) == ("heavy", "claude-sonnet-4-6", True)
    assert (call.input, call.cache_read, call.cache_write) == (35, 20, 5)
    assert call.output == 7


@every_way
@pytest.mark.parametrize("failure", ["too many", "broken"])
async def test_another_route_answers_for_one_that_fails(
    servers: Servers, way: Way, failure: str
) -> None:
    servers[0].script(failure)
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1])))
    heard, run_id = Heard(), uuid4()
    config: Any = {"callbacks": [heard], "run_id": run_id}
    assert await way(guarded, config) == OTHER_ANSWER
    assert asked(servers) == (1, 1)
    assert heard.ended == ["error", "end"]
    assert len(heard.runs) == 2
    assert heard.runs[0] != heard.runs[1] or way is events, "two attempts are two runs"
    first, second = last(guarded).calls
    assert (first.route, first.error != "") == ("light", True)
    assert (second.route, second.reason, second.error) == ("heavy", "fallback", "")
    assert "fallback" in codes(last(guarded))
    assert last(guarded).error == ""


@every_way
async def test_all_routes_fail_once_each(servers: Servers, way: Way) -> None:
    for server in servers:
        server.script("too many")
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1])))
    with pytest.raises(anthropic_sdk.RateLimitError):
        await way(guarded, {})
    assert asked(servers) == (1, 1)
    routes_and_errors = [(call.route, call.error[-14:]) for call in last(guarded).calls]
    assert routes_and_errors == [("light", "RateLimitError"), ("heavy", "RateLimitError")]


@every_stream
async def test_what_breaks_after_the_first_word_is_not_asked_again(
    servers: Servers, way: Way
) -> None:
    servers[0].script("cut")
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1])))
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        await way(guarded, {})
    assert asked(servers) == (1, 0)
    (call,) = last(guarded).calls
    assert (call.route, call.error) == ("light", "RemoteProtocolError")


@every_way
async def test_shadow_mode_calls_what_is_configured(servers: Servers, way: Way) -> None:
    policy = routes(anthropic(servers[1]), HEAVY, mode="shadow")
    guarded = guard(openai(servers[0]), policy)
    assert (await way(guarded, {})).strip() == ANSWER
    assert asked(servers) == (1, 0)
    (call,) = last(guarded).calls
    assert (call.reason, call.model) == ("shadow", "gpt-4o-mini")
    assert codes(last(guarded)) == ["shadow"]


@every_way
async def test_one_blank_route_changes_nothing(servers: Servers, way: Way) -> None:
    plain = openai(servers[0])
    one = Routes(routes=(Route(name="only", price=Price(input=1, output=2)),), state="memory")
    guarded = guard(plain, routing=one, **BARE)
    seen: list[Any] = []
    for model in (plain, guarded):
        servers[0].script("answer")
        heard = Heard()
        text = await way(model, {"callbacks": [heard]})
        sent = [request.content for request in servers[0].requests]
        seen.append((text, sent, heard.models, heard.ended))
    assert seen[0] == seen[1]
    assert [call.route for call in last(guarded).calls] == ["only"]


@every_way
async def test_models_inside_of_a_chain_are_routed(servers: Servers, way: Way) -> None:
    chain: Runnable[Any, str] = openai(servers[0]) | StrOutputParser()
    guarded = guard(chain, routes(anthropic(servers[1]), HEAVY))
    assert await way(guarded, {}) == OTHER_ANSWER
    assert asked(servers) == (0, 1)
    assert {reached.path for reached in handle(guarded).coverage.reached} == {
        "steps[0]",
        "routing.heavy",
    }


async def test_generate_takes_a_route_as_a_whole(servers: Servers) -> None:
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1]), HEAVY))
    prompts: Any = [[HumanMessage("a")], [HumanMessage("b")]]
    result = guarded.generate(prompts)
    assert [one[0].text for one in result.generations] == [OTHER_ANSWER] * 2
    assert len((await guarded.agenerate(prompts)).generations) == 2
    (call,) = last(guarded).calls
    assert (call.input, call.output) == (70, 14), "both prompts add up"


@pytest.mark.filterwarnings("ignore:.*in beta")
async def test_events_of_version_3_take_a_route(servers: Servers) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1])))
    if not hasattr(model, "_iter_v2_events"):
        return  # this LangChain has no such events
    servers[0].script("too many")
    assert str(model.stream_events(QUESTION, version="v3").text) == OTHER_ANSWER
    assert [call.route for call in last(model).calls] == ["light", "heavy"]
    stream = await model.astream_events(QUESTION, version="v3")
    assert await stream.text == OTHER_ANSWER


# -- fields of a route ----------------------------------------------------------------------------


async def test_a_route_by_name_is_a_copy_with_its_fields(servers: Servers) -> None:
    model = openai(servers[0], max_tokens=500)
    route = Route(name="heavy", model="gpt-5", effort="high", max_output=50)
    guarded = guard(model, routing=_two(route))
    guarded.invoke(QUESTION)
    body = servers[0].requests[-1].body
    assert (body["model"], body["reasoning_effort"]) == ("gpt-5", "high")
    assert body["max_completion_tokens"] == 50
    guarded.invoke(QUESTION, max_tokens=400)
    assert servers[0].requests[-1].body["max_completion_tokens"] == 50
    assert (model.model_name, model.max_tokens, model.reasoning_effort) == (
        "gpt-4o-mini",
        500,
        None,
    )


async def test_a_route_by_object_has_its_fields_set_in_a_copy(servers: Servers) -> None:
    heavy = anthropic(servers[1], max_tokens_to_sample=900)
    route = Route(name="heavy", model=heavy, effort="low", max_output=70)
    guarded = guard(openai(servers[0]), routing=_two(route))
    guarded.invoke(QUESTION, seed=3, temperature=0.5)
    body = servers[1].requests[-1].body
    assert (body["max_tokens"], body["temperature"]) == (70, 0.5)
    assert body["output_config"] == {"effort": "low"}
    assert heavy.max_tokens == 900
    assert codes(last(guarded)).count("argument-dropped") == 1, "seed is not Anthropic's"


async def test_what_has_no_field_is_said_once(servers: Servers) -> None:
    route = Route(name="heavy", model=anthropic(servers[1]), effort="minimal")
    guarded = guard(openai(servers[0]), routing=_two(route))
    guarded.invoke(QUESTION)
    assert codes(last(guarded)).count("effort-not-set") == 1


async def test_a_name_with_the_providers_prefix_is_understood(servers: Servers) -> None:
    guarded = guard(openai(servers[0]), routing=_two(Route(name="heavy", model="openai/gpt-5")))
    guarded.invoke(QUESTION)
    assert servers[0].requests[-1].body["model"] == "gpt-5"


async def test_a_window_of_a_route_holds_for_its_calls(servers: Servers) -> None:
    light, heavy = Route(name="light", window=400), Route(name="heavy", window=100_000)
    routing = Routes(routes=(light, heavy), router=LIGHT, state="memory")
    guarded = guard(openai(servers[0], max_tokens=50), routing=routing)
    guarded.invoke("short")
    guarded.invoke("word " * 1000)
    assert [ledger.route for ledger in handle(guarded).ledgers] == ["light", "heavy"]


async def test_a_cache_that_answers_costs_nothing(servers: Servers) -> None:
    guarded = guard(openai(servers[0], cache=InMemoryCache()), routes(anthropic(servers[1])))
    first, second = guarded.invoke(QUESTION), guarded.invoke(QUESTION)
    assert first.text == second.text
    assert asked(servers) == (1, 0)
    assert [ledger.calls[0].cost for ledger in handle(guarded).ledgers] == [
        pytest.approx(27e-6),
        0.0,
    ]


# -- whose call -----------------------------------------------------------------------------------


@every_way
async def test_a_tenant_of_the_config_has_its_own_limit(servers: Servers, way: Way) -> None:
    limits = (SpendLimit(usd=1.0, per="day"),)
    poor = {"poor": (SpendLimit(usd=1e-9, per="day"),)}
    policy = routes(anthropic(servers[1]), limits=limits, tenants=poor, light_output=10)
    guarded = guard(openai(servers[0]), policy)
    with pytest.raises(SpendLimitError, match="poor"):
        await way(guarded, {"configurable": {"ctxguard_tenant": "poor"}})
    assert asked(servers) == (0, 0)
    await way(guarded, {"configurable": {"ctxguard_tenant": "rich"}})
    assert asked(servers) == (1, 0)


@every_way
async def test_a_thread_keeps_its_route(servers: Servers, way: Way) -> None:
    policy = routes(anthropic(servers[1]))
    guarded = guard(openai(servers[0]), policy)
    label = f"{policy.routing.space}/t1" if policy.routing else ""
    await way(guarded, {"configurable": {"thread_id": "t1"}})
    dispatcher = handle(guarded).guard.dispatcher
    assert dispatcher is not None
    held = dispatcher.conversations.held(label)
    assert held is not None
    assert held.route == "light"


# -- the other ways to guard ----------------------------------------------------------------------


async def test_a_block_routes(servers: Servers) -> None:
    model = openai(servers[0])
    with guarded(routes(anthropic(servers[1]), HEAVY)) as block:
        assert model.invoke(QUESTION).text == OTHER_ANSWER
        assert "".join(part.text for part in model.stream(QUESTION)) == OTHER_ANSWER
        assert (await model.ainvoke(QUESTION)).text == OTHER_ANSWER
    assert block.last is not None
    assert block.last.route == "heavy"
    assert model.invoke(QUESTION).text == ANSWER


async def test_a_guard_in_place_routes(servers: Servers) -> None:
    model = openai(servers[0])
    guard(model, routes(anthropic(servers[1]), HEAVY), scope="process")
    assert model.invoke(QUESTION).text == OTHER_ANSWER
    assert (await model.ainvoke(QUESTION)).text == OTHER_ANSWER
    handle(model).unguard()
    assert model.invoke(QUESTION).text == ANSWER


async def test_an_error_that_is_nobodys_fault_is_raised_at_once(servers: Servers) -> None:
    servers[0].script("too long")
    guarded = guard(openai(servers[0]), routes(anthropic(servers[1])))
    assert guarded.invoke(QUESTION).text == OTHER_ANSWER, "a longer window may take it"
    servers[0].script("malformed")
    with pytest.raises(json.JSONDecodeError):
        guarded.invoke(QUESTION)
    assert asked(servers) == (1, 1)


def _two(heavy: Route, router: Router = HEAVY) -> Routes:
    return Routes(routes=(Route(name="light"), heavy), router=router, state="memory")
