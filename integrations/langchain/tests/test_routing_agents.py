"""Agents with CtxGuardMiddleware and routes: each turn asks the model of its route."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core.runnables import RunnableLambda

from ctxguard import PolicyError, SpendLimitError, guard, handle
from ctxguard.routing import SpendLimit, calling_for
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.turning import (
    EASY,
    HARD,
    One,
    Other,
    RateLimitError,
    Third,
    asked,
    codes,
    heavy,
    light,
    look_up,
    middleware,
    taken,
)

pytestmark = pytest.mark.anyio


# -- which model is asked -------------------------------------------------------------------------


@pytest.mark.parametrize(("question", "route"), [(EASY, "light"), (HARD, "heavy")])
async def test_each_turn_asks_the_model_of_the_route(question: str, route: str) -> None:
    one, other = One(turns=2), Other(turns=2)
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, [look_up], middleware=[routing])
    asking, idle = (one, other) if route == "light" else (other, one)
    for n in range(1, 4):
        if n == 1:
            found: Any = agent.invoke(asked(question))["messages"]
        elif n == 2:
            found = (await agent.ainvoke(asked(question)))["messages"]
        else:
            modes: Any = ["values", "messages"]
            parts: list[Any] = list(agent.stream(asked(question), stream_mode=modes))
            found = [part for kind, part in parts if kind == "values"][-1]["messages"]
            said = [p[0].text for k, p in parts if k == "messages" and p[0].type != "tool"]
            assert "".join(said).strip() == "done"
        assert [m.type for m in found] == ["human", "ai", "tool", "ai", "tool", "ai"]
        assert len(asking.seen) == 3 * n
        assert not idle.seen
        ledger = routing.ctxguard.last
        assert taken(ledger) == [(route, "routed")] * 3
        assert codes(ledger) == ["light-suffices" if route == "light" else "heavier"]
    tools = asking.calls[0]["tools"][0]
    assert ("function" in tools) is (route == "light")  # in its provider's own form
    assert len(routing.ctxguard.ledgers) == 3


def test_what_was_used_is_what_the_replies_say() -> None:
    other = Other()
    routing = middleware(light(), heavy(other))
    create_agent(One(), [look_up], middleware=[routing]).invoke(asked(HARD))
    ledger = routing.ctxguard.last
    assert ledger is not None
    for call, messages in zip(ledger.calls, other.seen, strict=True):
        assert call.measured
        assert call.model == "other"
        assert call.input == sum(len(str(message.content)) for message in messages) // 4
        assert call.output == 1
        assert call.cost == pytest.approx((call.input * 10 + call.output * 20) / 1e6)
        assert call.heavy_cost == call.cost


def test_a_route_may_name_another_model_and_bound_its_answer() -> None:
    one = One()
    routing = middleware(light(), heavy("bigger"))
    create_agent(one, [look_up], middleware=[routing]).invoke(asked(HARD))
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert [call.model for call in ledger.calls] == ["bigger", "bigger"]
    assert one.model_name == "one"


async def test_shadow_mode_leaves_the_model_and_says_what_it_would_take() -> None:
    one, other = One(), Other()
    routing = middleware(light(), heavy(other), mode="shadow")
    agent = create_agent(one, [look_up], middleware=[routing])
    agent.invoke(asked(HARD))
    await agent.ainvoke(asked(HARD))
    assert len(one.seen) == 4
    assert not other.seen
    for ledger in routing.ctxguard.ledgers:
        assert codes(ledger) == ["shadow"]
        assert taken(ledger) == [("configured", "shadow")] * 2


def test_one_route_changes_nothing() -> None:
    plain, routed = One(), One()
    without = create_agent(plain, [look_up], middleware=[CtxGuardMiddleware()]).invoke(asked(HARD))
    routing = middleware(light())
    within = create_agent(routed, [look_up], middleware=[routing]).invoke(asked(HARD))
    assert [m.content for m in within["messages"]] == [m.content for m in without["messages"]]
    assert routed.calls == plain.calls
    texts = [[[m.text for m in seen] for seen in model.seen] for model in (plain, routed)]
    assert texts[0] == texts[1]
    assert codes(routing.ctxguard.last) == []


def test_a_route_that_cannot_bind_tools_is_passed_over() -> None:
    one, third = One(), Third()
    routing = middleware(light(), heavy(third))
    create_agent(one, [look_up], middleware=[routing]).invoke(asked(HARD))
    assert len(one.seen) == 2
    assert codes(routing.ctxguard.last) == ["route-unsuitable"]


def test_a_tool_of_the_provider_stays_with_it() -> None:
    one, other = One(), Other()
    routing = middleware(light(), heavy(other))
    search: Any = {"type": "web_search"}

    class Searching(One):
        """Takes its provider's own tools."""

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            own = [one for one in tools if isinstance(one, dict)]
            return super().bind_tools([t for t in tools if t not in own], **kwargs)

    one = Searching()
    create_agent(one, [look_up, search], middleware=[routing]).invoke(asked(HARD))
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert codes(ledger) == ["route-unsuitable"]
    assert "web_search is a tool of the configured model's provider" in ledger.decisions[0].reason
    assert not other.seen


def test_a_route_that_no_turn_can_take_is_refused() -> None:
    with pytest.raises(PolicyError, match="route heavy: an agent's turn takes a chat model"):
        middleware(light(), heavy(RunnableLambda(str)))


# -- settings and other middleware ----------------------------------------------------------------


def setting(**settings: Any) -> Any:
    @wrap_model_call
    def put(request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings=settings))

    return put


@pytest.mark.parametrize(("tools", "binds"), [([look_up], True), ([], False)])
def test_settings_that_a_model_does_not_take_are_left_out(tools: Any, binds: bool) -> None:
    class Strict(Other):
        """Takes one setting in a call, and one where tools are bound."""

        temperature: float = 1.0

        def bind_tools(self, tools: Any, *, parallel: bool = True, **kwargs: Any) -> Any:
            return super().bind_tools(tools, **kwargs)

    other = Strict()
    routing = middleware(light(), heavy(other))
    others = setting(temperature=0.5, cache_control="long", parallel=False)
    agent = create_agent(One(), tools, middleware=[others, routing])
    agent.invoke(asked(HARD))
    assert other.calls[0]["temperature"] == 0.5
    assert not {"cache_control", "parallel"} & other.calls[0].keys()
    left = ["cache_control"] if binds else ["cache_control", "parallel"]
    ledger = routing.ctxguard.last
    assert ledger is not None
    said = [d.reason for d in ledger.decisions if d.code == "argument-dropped"]
    assert [reason.split()[0] for reason in said] == left  # once, however many turns


def test_a_model_of_the_same_class_takes_the_same_settings() -> None:
    bigger = One(model_name="bigger")
    routing = middleware(light(), heavy(bigger))
    create_agent(One(), middleware=[setting(anything=1), routing]).invoke(asked(HARD))
    assert bigger.calls[0]["anything"] == 1
    assert codes(routing.ctxguard.last) == ["heavier"]


def replacing(model: Any) -> Any:
    @wrap_model_call
    def put(request: Any, handler: Any) -> Any:
        return handler(request.override(model=model))

    return put


def test_a_model_that_other_middleware_puts_in_is_asked_and_the_ledger_says_so() -> None:
    one, other, chosen = One(), Other(), ScriptedChatModel(model_name="chosen")
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, [look_up], middleware=[routing, replacing(chosen)])
    agent.invoke(asked(HARD))
    assert len(chosen.seen) == 2
    assert not one.seen
    assert not other.seen
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert codes(ledger) == ["heavier", "route-overridden", "route-overridden"]
    assert [call.model for call in ledger.calls] == ["chosen", "chosen"]
    assert [call.cost for call in ledger.calls] == [None, None]  # nobody knows its price
    assert [call.heavy_cost for call in ledger.calls] == [None, None]


def test_a_copy_of_the_routes_model_is_the_routes() -> None:
    @wrap_model_call
    def bounded(request: Any, handler: Any) -> Any:
        copy = request.model.model_copy(update={"max_tokens": 7})
        return handler(request.override(model=copy))

    other = Other()
    routing = middleware(light(), heavy(other))
    create_agent(One(), middleware=[routing, bounded]).invoke(asked(HARD))
    assert len(other.seen) == 1
    assert codes(routing.ctxguard.last) == ["heavier"]


def test_an_error_of_a_model_that_was_put_in_is_not_the_routes() -> None:
    one, other = One(), Other()
    chosen = One(model_name="chosen", fails=[0])
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, middleware=[routing, replacing(chosen)])
    with pytest.raises(RateLimitError):
        agent.invoke(asked(EASY))
    assert len(chosen.seen) == 1
    create_agent(one, middleware=[routing]).invoke(asked(EASY))  # the route does not rest
    assert len(one.seen) == 1


def test_a_model_that_was_put_in_outside_is_what_is_configured() -> None:
    one, other, chosen = One(), Other(), One(model_name="chosen")
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, middleware=[replacing(chosen), routing])
    agent.invoke(asked(EASY))
    agent.invoke(asked(HARD))
    assert (len(one.seen), len(chosen.seen), len(other.seen)) == (0, 1, 1)


def test_middleware_that_tries_another_model_and_comes_back() -> None:
    one, broken = One(), One(model_name="broken", fails=[0])

    @wrap_model_call
    def first_the_other(request: Any, handler: Any) -> Any:
        try:
            return handler(request.override(model=broken))
        except RateLimitError:
            return handler(request)

    routing = middleware(light(), heavy(Other()))
    agent = create_agent(one, middleware=[routing, first_the_other])
    agent.invoke(asked(EASY))
    assert (len(broken.seen), len(one.seen)) == (1, 1)
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert codes(ledger) == ["light-suffices", "route-overridden"]


def test_an_agent_that_guard_has_guarded_is_left_to_it() -> None:
    one, other = One(), Other()
    routing = middleware(light(), heavy(other))
    guarded = guard(create_agent(one, [look_up], middleware=[routing]))
    guarded.invoke(asked(HARD))
    assert len(one.seen) == 2
    assert handle(guarded).ledgers[-1].calls == ()
    assert routing.ctxguard.ledgers == ()


# -- failures and limits --------------------------------------------------------------------------


async def test_a_rate_limit_in_the_middle_of_a_loop_goes_to_the_other_provider() -> None:
    for asynchronous in (False, True):
        one, other = One(turns=2, fails=[1]), Other(turns=2)
        routing = middleware(light(), heavy(other))
        agent = create_agent(one, [look_up], middleware=[routing])
        if asynchronous:
            found: Any = await agent.ainvoke(asked(EASY))
        else:
            found = agent.invoke(asked(EASY))
        assert found["messages"][-1].text == "done"
        ledger = routing.ctxguard.last
        assert taken(ledger) == [
            ("light", "routed"),
            ("light", "routed"),
            ("heavy", "fallback"),
            ("heavy", "routed"),
        ]
        assert codes(ledger)[:3] == ["light-suffices", "rate-limited", "fallback"]
        assert "input_schema" in other.calls[0]["tools"][0]
        assert ledger is not None
        assert ledger.error == ""


def test_where_all_routes_refuse_each_was_asked_once() -> None:
    one, other = One(fails=[0, 1]), Other(fails=[0, 1])
    routing = middleware(light(), heavy(other))
    agent = create_agent(one, [look_up], middleware=[routing])
    with pytest.raises(RateLimitError):
        agent.invoke(asked(EASY))
    assert (len(one.seen), len(other.seen)) == (1, 1)
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert ledger.error.startswith("RateLimitError")


def test_a_budget_that_is_used_up_in_a_loop_ends_it_and_the_ledger_tells() -> None:
    one = One(turns=5)
    limits = (SpendLimit(usd=0.0008, per="day"),)
    routing = middleware(light(max_output=100), limits=limits)
    agent = create_agent(one, [look_up], middleware=[routing])
    with pytest.raises(SpendLimitError):
        agent.invoke(asked(EASY + " x" * 300))
    ledger = routing.ctxguard.last
    assert ledger is not None
    assert ledger.error.startswith("SpendLimitError")
    assert codes(ledger) == ["over-limit"]
    assert 0 < len(ledger.calls) < 6  # in the middle of its loop
    spent = sum(call.cost or 0 for each in routing.ctxguard.ledgers for call in each.calls)
    assert spent <= 0.0008


def test_the_tenant_is_who_the_config_says() -> None:
    routing = middleware(
        light(max_output=100), tenants={"poor": (SpendLimit(usd=1e-9, per="day"),)}
    )
    agent = create_agent(One(), [look_up], middleware=[routing])
    config: Any = {"configurable": {"ctxguard_tenant": "poor"}}
    agent.invoke(asked(EASY))
    agent.invoke(asked(EASY), {"configurable": {"ctxguard_tenant": "rich"}})
    with pytest.raises(SpendLimitError, match="poor"):
        agent.invoke(asked(EASY), config)
    with calling_for(tenant="rich"):  # whoever says it in code is believed first
        agent.invoke(asked(EASY), config)
