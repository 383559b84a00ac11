"""Edges of routing: what replies say, what models and searches lack, and what is made once."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ctxguard import guard, handle
from ctxguard.routing import Load, Price, Route, Routes, calling_for, current_caller
from ctxguard.verification import Verify
from ctxguard_langchain.binding import rebound, refusal
from ctxguard_langchain.calling import calling
from ctxguard_langchain.metering import load_of
from ctxguard_langchain.routes import request_of, target_of
from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.routing import HEAVY, LIGHT, QUESTION, codes, routes
from integrations.langchain.tests.speaking import DRAFT, REPAIRED
from integrations.langchain.tests.test_routing_chains import Busy, answering, last, said

pytestmark = pytest.mark.anyio
USAGE: Any = {
    "input_tokens": 3,
    "output_tokens": 2,
    "total_tokens": 5,
    "input_token_details": {"cache_read": 4, "cache_creation": 1},
}


# -- what replies say -----------------------------------------------------------------------------


def test_what_a_reply_used_is_read_wherever_it_stands() -> None:
    told = AIMessage("x", usage_metadata=USAGE)
    expected = Load(input=5, output=2, cache_read=4, cache_write=1)
    both = ChatResult(generations=[ChatGeneration(message=told), ChatGeneration(message=told)])
    assert load_of(told) == load_of(both) == expected, "choices of one call say the same"
    assert load_of({"event": "message-finish", "usage": USAGE}) == expected
    assert load_of({"event": "message-start"}) is None
    assert load_of(AIMessage("x")) is None
    output = {"token_usage": {"prompt_tokens": 7, "completion_tokens": None}}
    words = [[Generation(text="x")]]
    assert load_of(LLMResult(generations=words, llm_output=output)) == Load(input=7, output=0)
    assert load_of(LLMResult(generations=words)) is None


# -- models of routes -----------------------------------------------------------------------------


def client(**fields: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", api_key=SecretStr("none"), **fields)


def test_the_model_of_a_route_is_made_once() -> None:
    guarded = guard(client(), routes("gpt-5", HEAVY))
    routing = guarded_routes(guarded)
    own = handle(guarded)
    assert target_of(own, guarded, routing[0]) is guarded
    made = target_of(own, guarded, routing[1])
    assert target_of(own, guarded, routing[1]) is made
    for number in range(70):  # models that come and go do not pile up
        target_of(own, client(temperature=number / 100), routing[1])
    assert target_of(own, guarded, routing[1]) is not made


def guarded_routes(obj: Any) -> tuple[Route, ...]:
    routing = handle(obj).policy.routing
    assert routing is not None
    return routing.routes


def test_a_renamed_model_has_its_own_limits() -> None:
    model = client(max_tokens=100_000, reasoning={"summary": "auto"})
    routing = Routes(
        routes=(Route(name="light"), Route(name="heavy", model="gpt-4o", effort="low"))
    )
    guarded = guard(model, routing=routing)
    made = target_of(handle(guarded), guarded, routing.routes[1])
    assert made.max_tokens == 16_384, "gpt-4o answers no longer"
    assert made.reasoning == {"summary": "auto", "effort": "low"}
    assert (made.profile or {}).get("max_input_tokens") == 128_000


def test_a_deployment_is_not_renamed() -> None:
    class Deployed(ScriptedChatModel):
        deployment_name: str = "ours"

    with pytest.raises(ValueError, match="made for one deployment"):
        guard(Deployed(), routes("gpt-5"))


@pytest.mark.filterwarnings("ignore:.*FakeListLLM")
def test_arguments_that_cannot_go_along_are_refused() -> None:
    chat, text = client(), FakeListLLM(responses=["x"])
    other = ScriptedChatModel()
    assert "another kind" in refusal(text, chat, {})
    assert "response_format" in refusal(other, chat, {"response_format": {"type": "json_object"}})
    with pytest.raises(ValueError, match="another kind"):
        rebound(text, chat, {})

    class Odd(ScriptedChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
            return RunnableLambda(lambda value: value)

    assert "cannot bind" in refusal(Odd(), chat, {"tools": [{"type": "function"}]})
    made = rebound(other, chat, {"model": "gpt-5", "logit_bias": {}, "stop": ["x"]})
    assert (made.kwargs, made.dropped) == ({"stop": ["x"]}, ("logit_bias",))


async def test_a_schema_that_a_route_cannot_give_keeps_it_off() -> None:
    class Words(ScriptedChatModel):
        def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    guarded = guard(ScriptedChatModel(), routes(Words(), HEAVY))
    schema = {"title": "A", "description": "a", "type": "object", "properties": {"query": {}}}
    assert guarded.with_structured_output(schema).invoke(QUESTION) == {"query": "q"}
    assert "route-unsuitable" in codes(last(guarded))


def test_tokens_are_counted_where_it_matters() -> None:
    known = (Route(name="light", price=Price(input=1, output=1), window=1000), Route(name="heavy"))
    guarded = guard(client(), routing=Routes(routes=known, state="memory"))
    own = handle(guarded)
    assert request_of(own, guarded, ["short"], {}).count is None
    near = request_of(own, guarded, ["word " * 400], {"max_tokens": 5})
    assert near.count is not None
    assert (near.count("two words"), near.output) == (2, 5)


# -- whose call -----------------------------------------------------------------------------------


def test_what_the_caller_says_comes_before_a_config() -> None:
    config = {"configurable": {"thread_id": 7, "ctxguard_tenant": "a"}}
    with calling(("question", config)):
        caller = current_caller()
        assert (caller.conversation, caller.tenant) == ("7", "a")
    with calling_for(tenant="b"), calling((), {"config": config}):
        assert current_caller().tenant == "b"
    with calling(("question", ["stop"])):
        assert current_caller().conversation == ""


# -- repairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_escalation_without_a_cascade_asks_the_next_route(asynchronous: bool) -> None:
    verify = Verify(on_fail="escalate", tries=("escalate",))
    heavy = said(REPAIRED, model_name="gpt-5")
    policy = routes(heavy)
    guarded = guard(answering(said(DRAFT)), policy, verification=verify)
    answer = await guarded.ainvoke(QUESTION) if asynchronous else guarded.invoke(QUESTION)
    assert answer == REPAIRED
    assert [call.reason for call in last(guarded).calls] == ["routed", "escalated"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_heavy_model_of_the_policy_is_no_route(asynchronous: bool) -> None:
    verify = Verify(on_fail="escalate", heavy=said(REPAIRED), tries=("escalate",))
    guarded = guard(answering(said(DRAFT)), routes(said("unused")), verification=verify)
    answer = await guarded.ainvoke(QUESTION) if asynchronous else guarded.invoke(QUESTION)
    assert answer == REPAIRED
    assert [call.reason for call in last(guarded).calls] == ["routed"]


async def test_an_inner_model_of_a_chain_is_repaired_by_itself() -> None:
    light = ScriptedChatModel(script=[DRAFT, REPAIRED])
    verify = Verify(on_fail="repair")
    policy = routes(answering(said("unused")), LIGHT)
    guarded = guard(answering(light), policy, verification=verify)
    assert guarded.invoke(QUESTION) == REPAIRED
    assert [call.reason for call in last(guarded).calls] == ["repair", "routed"]


async def test_all_routes_are_busy() -> None:
    guarded = guard(Busy(), routes(Busy()))
    with pytest.raises(Exception, match="slow down"):
        guarded.invoke(QUESTION)
    with pytest.raises(Exception, match="slow down"):
        await guarded.ainvoke(QUESTION)
    assert last(guarded).error == "RateLimitError: slow down"
