"""Models on routes: every method of a real client, on the route that its question deserves.

`OpenAI` of LlamaIndex against a server on this machine; the ledger says which route was taken and
what it cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel

import ctxguard
from ctxguard import Ledger, Policy
from ctxguard.routing import Route, Router, Routes
from tests.openai_server import ANSWER, USAGE, ScriptedServer

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say
pytestmark = pytest.mark.anyio

EASY = "What is the fee?"
HARD = (
    "If 17 workers, each paid $23.50 per hour, work 8 hours a day for 12 days, and 3 of them are "
    "paid twice as much unless it is a Sunday, how much more than 9,000 is paid in total?"
)
LIGHT, HEAVY = "gpt-4o-mini", "gpt-4o"


def client(server: ScriptedServer, model: str = LIGHT, **settings: Any) -> OpenAI:
    given = {
        "max_retries": 0,
        "timeout": 30,
        "additional_kwargs": {"stream_options": {"include_usage": True}},
        **settings,
    }
    return OpenAI(model=model, api_base=server.url, api_key="none", **given)


def policy(*routes: Route, **settings: Any) -> Policy:
    made = routes or (Route(name="light"), Route(name="heavy", model=HEAVY))
    given = {"router": Router(thresholds=(0.1,)), "state": "memory", **settings}
    return Policy(routing=Routes(routes=made, **given))


# -- the ways to ask ------------------------------------------------------------------------------


class Answer(BaseModel):
    """An answer and its source."""

    answer: str
    pages: int


def look_up(clause: str) -> str:
    """Look a clause up."""
    return clause


TOOL = FunctionTool.from_defaults(look_up)


async def whole(given: Any) -> Any:
    """What was asked for: awaited, and read to its end."""
    if hasattr(given, "__await__"):
        given = await given
    if hasattr(given, "__aiter__"):
        return [told(part) async for part in given]
    return [told(part) for part in given] if hasattr(given, "__next__") else told(given)


def told(part: Any) -> Any:
    """A reply; of an object that is still being filled its fields, its class is made anew."""
    return part.model_dump() if type(part).__name__ == "FlexibleAnswer" else part


def chat(llm: Any, way: str, question: str) -> Any:
    return getattr(llm, f"{way}chat")(messages=[ChatMessage(content=question)])


def complete(llm: Any, way: str, question: str) -> Any:
    return getattr(llm, f"{way}complete")(question)


def chat_with_tools(llm: Any, way: str, question: str) -> Any:
    return getattr(llm, f"{way}chat_with_tools")(tools=[TOOL], user_msg=question)


def structured_predict(llm: Any, way: str, question: str) -> Any:
    prompt = PromptTemplate("{asked}")
    return getattr(llm, f"{way}structured_predict")(Answer, prompt=prompt, asked=question)


Ask = Callable[[Any, str], Awaitable[Any]]
KINDS = (chat, complete, chat_with_tools, structured_predict)


def asking(kind: Callable[[Any, str, str], Any], way: str) -> Ask:
    async def ask(llm: Any, question: str) -> Any:
        return await whole(kind(llm, way, question))

    return ask


WAYS = [
    pytest.param(asking(kind, way), way, id=f"{way}{kind.__name__}")
    for kind in KINDS
    for way in ("", "a", "stream_", "astream_")
]
every_way = pytest.mark.parametrize(("ask", "way"), WAYS)
every_stream = pytest.mark.parametrize(
    ("ask", "way"), [one for one in WAYS if "stream" in str(one.values[1])]
)


def models_of(server: ScriptedServer) -> list[str]:
    return [request.body["model"] for request in server.requests]


def route_codes(ledger: Ledger) -> list[str]:
    return [decision.code for decision in ledger.decisions if decision.stage == "route"]


@every_way
@pytest.mark.parametrize(("question", "route"), [(EASY, "light"), (HARD, "heavy")])
async def test_a_question_takes_the_route_that_it_deserves(
    openai_server: ScriptedServer, ask: Ask, way: str, question: str, route: str
) -> None:
    model = LIGHT if route == "light" else HEAVY
    plain = client(openai_server, model)
    guarded = guard(client(openai_server), policy())
    expected = await ask(plain, question)
    assert await ask(guarded, question) == expected
    first, second = openai_server.requests
    assert second == first, "what the model of the route would have been sent"
    ledger = guarded.ctxguard.last
    (call,) = ledger.calls
    assert (call.route, call.model, call.reason, call.error) == (route, model, "routed", "")
    counted = (call.input, call.output, call.measured)
    assert counted == (USAGE["prompt_tokens"], USAGE["completion_tokens"], True)
    assert len(route_codes(ledger)) == 1
    assert len(guarded.ctxguard.ledgers) == 1


@every_way
@pytest.mark.parametrize("failure", ["too many", "unavailable"])
async def test_another_route_answers_where_one_fails(
    openai_server: ScriptedServer, ask: Ask, way: str, failure: str
) -> None:
    guarded = guard(client(openai_server), policy())
    expected = await ask(client(openai_server, HEAVY), EASY)
    openai_server.script(failure, "answer")
    assert await ask(guarded, EASY) == expected
    assert models_of(openai_server) == [LIGHT, HEAVY]
    ledger = guarded.ctxguard.last
    failed, answered = ledger.calls
    assert (failed.route, bool(failed.error)) == ("light", True)
    assert (answered.route, answered.reason) == ("heavy", "fallback")
    assert ledger.error == ""


@every_way
async def test_what_every_route_fails_at_is_raised(
    openai_server: ScriptedServer, ask: Ask, way: str
) -> None:
    guarded = guard(client(openai_server), policy())
    openai_server.script("too many")
    with pytest.raises(openai.RateLimitError):
        await ask(guarded, EASY)
    assert models_of(openai_server) == [LIGHT, HEAVY]
    openai_server.script("too long")
    with pytest.raises(openai.BadRequestError):
        await ask(guard(client(openai_server), policy()), EASY)
    assert guarded.ctxguard.last.error.startswith("RateLimitError")


@every_stream
async def test_what_has_begun_is_not_begun_again(
    openai_server: ScriptedServer, ask: Ask, way: str
) -> None:
    guarded = guard(client(openai_server), policy())
    openai_server.script("cut", "answer")
    with pytest.raises(Exception, match=r"peer|closed|incomplete|Connection"):
        await ask(guarded, EASY)
    assert models_of(openai_server) == [LIGHT]
    (call,) = guarded.ctxguard.last.calls
    assert call.error


@every_way
async def test_shadow_says_what_it_would_do(
    openai_server: ScriptedServer, ask: Ask, way: str
) -> None:
    guarded = guard(client(openai_server), policy(mode="shadow"))
    expected = await ask(client(openai_server), HARD)
    assert await ask(guarded, HARD) == expected
    assert models_of(openai_server) == [LIGHT, LIGHT]
    ledger = guarded.ctxguard.last
    assert route_codes(ledger) == ["shadow"]
    assert [(call.reason, call.measured) for call in ledger.calls] == [("shadow", True)]


@every_way
async def test_one_blank_route_changes_nothing(
    openai_server: ScriptedServer, heard: Any, ask: Ask, way: str
) -> None:
    events, spans = heard
    plain = guard(client(openai_server), Policy())
    expected = await ask(plain, HARD)
    before = list(events), list(spans)
    events.clear()
    spans.clear()
    routed = guard(client(openai_server), policy(Route(name="only")))
    assert await ask(routed, HARD) == expected
    assert (events, spans) == before
    first, second = openai_server.requests
    assert second == first
    assert route_codes(routed.ctxguard.last) == []
    assert [call.route for call in routed.ctxguard.last.calls] == ["only"]


@every_way
async def test_an_attempt_has_one_span_of_the_class_that_is_asked(
    openai_server: ScriptedServer, heard: Any, ask: Ask, way: str
) -> None:
    events, spans = heard
    await ask(client(openai_server), EASY)
    once, spans_once = list(events), list(spans)
    events.clear()
    spans.clear()
    openai_server.script("too many", "answer")
    await ask(guard(client(openai_server), policy()), EASY)
    starts = [name for name in events if name.endswith("StartEvent")]
    assert starts == 2 * [name for name in once if name.endswith("StartEvent")]
    assert spans[len(spans) - len(spans_once) :] == spans_once
    assert events[len(events) - len(once) :] == once


# -- what a route sets -----------------------------------------------------------------------------


@every_way
async def test_limits_and_effort_are_in_the_request(
    openai_server: ScriptedServer, ask: Ask, way: str
) -> None:
    light = Route(name="light", max_output=50)
    heavy = Route(name="heavy", model="o3-mini", effort="high", max_output=900)
    llm = client(openai_server, max_tokens=100)
    guarded = guard(llm, policy(light, heavy))
    for question in (EASY, HARD):
        await ask(guarded, question)
    first, second = (request.body for request in openai_server.requests)
    assert (first["model"], first["max_tokens"]) == (LIGHT, 50)
    assert "reasoning_effort" not in first
    assert second["max_completion_tokens"] == 100, "never more than the model has of its own"
    assert (second["reasoning_effort"], second["temperature"]) == ("high", 1.0)
    assert (llm.max_tokens, llm.model) == (100, LIGHT)


async def test_what_a_class_has_no_field_for_is_said_once_a_run(
    openai_server: ScriptedServer,
) -> None:
    guarded = guard(client(openai_server), policy(Route(name="only", effort="low")))
    chat(guarded, "", EASY)
    codes = route_codes(guarded.ctxguard.last)
    assert codes == ["effort-not-set"], "gpt-4o-mini does not reason"
    assert "reasoning_effort" not in openai_server.requests[0].body


async def test_a_field_that_is_changed_later_counts(openai_server: ScriptedServer) -> None:
    guarded = guard(client(openai_server), policy())
    for temperature in (0.25, 0.75):
        guarded.temperature = temperature
        assert chat(guarded, "", HARD).message.content == ANSWER
    assert [request.body["temperature"] for request in openai_server.requests] == [0.25, 0.75]
    assert models_of(openai_server) == [HEAVY, HEAVY]


# -- around a model --------------------------------------------------------------------------------


async def test_a_structured_model_takes_the_route_inside(openai_server: ScriptedServer) -> None:
    for wrapped in (
        guard(client(openai_server).as_structured_llm(Answer), policy()),
        guard(client(openai_server), policy()).as_structured_llm(Answer),
    ):
        openai_server.script("answer")
        for way in ("", "a"):
            (reply,) = [await whole(chat(wrapped, way, HARD))]
            assert reply.raw == Answer(answer="text", pages=1)
        assert models_of(openai_server) == [HEAVY, HEAVY]


async def test_tools_are_called_as_the_model_of_the_route_says(
    openai_server: ScriptedServer,
) -> None:
    guarded = guard(client(openai_server), policy())
    assert guarded.predict_and_call([TOOL], user_msg=HARD).response == "text"
    assert (await guarded.apredict_and_call([TOOL], user_msg=HARD)).response == "text"
    assert models_of(openai_server) == [HEAVY, HEAVY]
    assert guarded.predict(PromptTemplate("{asked}"), asked=HARD) == ANSWER
    assert "".join(guarded.stream(PromptTemplate("{asked}"), asked=HARD)).strip() == ANSWER
    assert models_of(openai_server) == [HEAVY] * 4
