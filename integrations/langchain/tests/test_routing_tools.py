"""Tools and structured output on whichever route: each provider is asked in its own way."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from ctxguard import guard, handle
from ctxguard.routing import Route, Router, Routes
from ctxguard_langchain.binding import BoundTools
from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.routing import (
    HEAVY,
    LIGHT,
    QUESTION,
    anthropic,
    codes,
    openai,
    routes,
)
from tests.openai_server import ScriptedServer

pytestmark = pytest.mark.anyio
Servers = tuple[ScriptedServer, ScriptedServer]
ROUTERS = {"light": LIGHT, "heavy": HEAVY}
on_both = pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)

parsed = pytest.mark.filterwarnings(
    "ignore:Pydantic serializer warnings"
)  # of openai's own parsing


@pytest.fixture
def servers(openai_server: ScriptedServer, anthropic_server: ScriptedServer) -> Servers:
    return openai_server, anthropic_server


@tool
def look_up(clause: str) -> str:
    """Look a clause up."""
    return f"the text of {clause}"


class Answer(BaseModel):
    """An answer and its page."""

    answer: str
    page: int


class Typed(TypedDict):
    """An answer and its page."""

    answer: str
    page: int


JSON = {"title": "Answer", "description": "An answer.", **Answer.model_json_schema()}
SCHEMAS: dict[str, Any] = {"pydantic": Answer, "typed": Typed, "json": JSON}
EXPECTED = {"answer": "text", "page": 1}


# -- tools ----------------------------------------------------------------------------------------


@on_both
async def test_tools_are_bound_by_the_model_that_is_asked(servers: Servers, router: Router) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1]), router))
    bound = model.bind_tools([look_up], tool_choice="any").bind(stop=["\n\n"])
    for reply in (bound.invoke(QUESTION), await bound.ainvoke(QUESTION)):
        assert isinstance(reply, AIMessage)
        assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
            ("look_up", {"clause": "text"})
        ]
    streamed = bound.invoke(QUESTION) if router is LIGHT else _sum(list(bound.stream(QUESTION)))
    assert streamed.tool_calls[0]["name"] == "look_up"
    if router is LIGHT:
        body = servers[0].requests[-1].body
        assert (body["tool_choice"], body["stop"]) == ("required", ["\n\n"])
        assert body["tools"][0]["type"] == "function"
    else:
        body = servers[1].requests[-1].body
        assert (body["tool_choice"], body["stop_sequences"]) == ({"type": "any"}, ["\n\n"])
        assert set(body["tools"][0]) == {"name", "description", "input_schema"}


async def test_tools_that_were_bound_before_the_guard_go_along(servers: Servers) -> None:
    bound = openai(servers[0]).bind_tools([look_up], tool_choice="look_up", strict=True)
    guarded = guard(
        bound | RunnableLambda(lambda message: message), routes(anthropic(servers[1]), HEAVY)
    )
    assert guarded.invoke(QUESTION).tool_calls[0]["name"] == "look_up"
    body = servers[1].requests[-1].body
    assert body["tool_choice"] == {"type": "tool", "name": "look_up"}
    assert body["tools"][0]["input_schema"]["properties"] == {"clause": {"type": "string"}}


async def test_a_choice_of_tools_that_is_made_later_holds(servers: Servers) -> None:
    model = guard(openai(servers[0]), routes(openai(servers[0], model="gpt-4o"), HEAVY))
    model.bind_tools([look_up]).bind(tool_choice="none").invoke(QUESTION)
    body = servers[0].requests[-1].body
    assert (body["model"], body["tool_choice"]) == ("gpt-4o", "none")


async def test_a_model_without_tools_does_not_take_the_route(servers: Servers) -> None:
    class Mute(ScriptedChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    model = guard(openai(servers[0]), routes(Mute(script=["mute"]), HEAVY))
    assert model.invoke(QUESTION).text == "mute"
    bound = model.bind_tools([look_up])
    assert bound.invoke(QUESTION).tool_calls
    assert codes(handle(model).last) == ["route-unsuitable"]
    assert len(servers[0].requests) == 1


async def test_bound_tools_survive_copies_and_pickles(servers: Servers) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1])))
    tools: Any = model.bind_tools([Answer]).kwargs["tools"]  # pyright: ignore[reportAttributeAccessIssue] -- of a binding
    for made in (copy.copy(tools), copy.deepcopy(tools), again(tools)):
        assert isinstance(made, BoundTools)
        assert made == tools
        assert made.origin is not None
        assert made.origin.tools == (Answer,)

    def here(clause: str) -> str:
        """Look here."""
        return clause

    local: Any = model.bind_tools([here]).kwargs["tools"]  # pyright: ignore[reportAttributeAccessIssue] -- of a binding
    assert type(again(local)) is list
    assert json.loads(json.dumps(tools)) == list(tools)


# -- structured output ----------------------------------------------------------------------------


@parsed
@on_both
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
async def test_structured_output_of_either_provider(
    servers: Servers, router: Router, schema: Any
) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1]), router))
    plain = openai(servers[0]).with_structured_output(schema)
    structured = model.with_structured_output(schema)
    assert isinstance(structured, type(plain))
    results = [
        structured.invoke(QUESTION),
        await structured.ainvoke(QUESTION),
        list(structured.stream(QUESTION))[-1],
        [part async for part in structured.astream(QUESTION)][-1],
        *structured.batch([QUESTION]),
        *await structured.abatch([QUESTION]),
        (structured | RunnableLambda(lambda found: found)).invoke(QUESTION),
    ]
    found = [one.model_dump() if isinstance(one, BaseModel) else one for one in results]
    assert found == [EXPECTED] * len(results)
    assert all(isinstance(one, Answer) for one in results) == (schema is Answer)
    ledgers = handle(model).ledgers
    assert len(ledgers) >= 7
    assert {ledger.route for ledger in ledgers} == {"light" if router is LIGHT else "heavy"}
    assert all(len(ledger.calls) == 1 for ledger in ledgers), "a call is routed once"


async def test_a_structured_chain_survives_pickling() -> None:
    heavy = ScriptedChatModel(model_name="gpt-5", arguments=EXPECTED)
    model = guard(ScriptedChatModel(arguments=EXPECTED), routes(heavy, HEAVY))
    structured = model.with_structured_output(Answer)
    assert structured.invoke(QUESTION) == Answer(**EXPECTED)
    loaded = again(structured)
    assert loaded.invoke(QUESTION) == Answer(**EXPECTED)
    assert _last(loaded).route == "heavy"


@parsed
@on_both
async def test_the_raw_reply_comes_along(servers: Servers, router: Router) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1]), router))
    found: Any = model.with_structured_output(Answer, include_raw=True).invoke(QUESTION)
    assert (found["parsed"], found["parsing_error"]) == (Answer(**EXPECTED), None)
    assert isinstance(found["raw"], AIMessage)


async def test_structured_output_falls_back_to_the_other_provider(servers: Servers) -> None:
    servers[0].script("too many")
    model = guard(openai(servers[0]), routes(anthropic(servers[1])))
    structured = model.with_structured_output(Answer, method="json_schema", strict=True)
    assert structured.invoke(QUESTION) == Answer(**EXPECTED)
    assert [call.route for call in _last(model).calls] == ["light", "heavy"]


async def test_events_of_structured_output(servers: Servers) -> None:
    model = guard(openai(servers[0]), routes(anthropic(servers[1]), HEAVY))
    structured = model.with_structured_output(Answer)
    events = [event async for event in structured.astream_events(QUESTION, version="v2")]
    assert events[-1]["data"].get("output") == Answer(**EXPECTED)
    assert len(_last(model).calls) == 1


@parsed
async def test_a_format_that_only_one_provider_reads_keeps_its_route(servers: Servers) -> None:
    plain = openai(servers[0]).with_structured_output(Answer, method="json_schema")
    chain = guard(plain, routes(anthropic(servers[1]), HEAVY))
    assert chain.invoke(QUESTION) == Answer(**EXPECTED)
    assert (len(servers[0].requests), len(servers[1].requests)) == (1, 0)
    assert codes(handle(chain).last) == ["route-unsuitable"]


async def test_a_schema_by_tools_goes_to_any_provider(servers: Servers) -> None:
    plain = openai(servers[0]).with_structured_output(Answer, method="function_calling")
    chain = guard(plain, routes(anthropic(servers[1]), HEAVY))
    assert chain.invoke(QUESTION) == Answer(**EXPECTED)
    assert (len(servers[0].requests), len(servers[1].requests)) == (0, 1)


# -- agents ---------------------------------------------------------------------------------------


@on_both
async def test_an_agent_on_either_provider(servers: Servers, router: Router) -> None:
    agent: Any = create_agent(openai(servers[0]), [look_up])
    guarded = guard(agent, routes(anthropic(servers[1]), router))
    asked = {"messages": [("user", QUESTION)]}
    for state in (guarded.invoke(asked), await guarded.ainvoke(asked)):
        kinds = [message.type for message in state["messages"]]
        assert kinds == ["human", "ai", "tool", "ai"]
    assert len(_last(guarded).calls) == 2
    assert _last(guarded).route == ("light" if router is LIGHT else "heavy")


async def test_an_agent_changes_providers_midway(servers: Servers) -> None:
    servers[0].script("answer", "too many")
    agent: Any = create_agent(openai(servers[0]), [look_up])
    guarded = guard(agent, routes(anthropic(servers[1])))
    state = guarded.invoke({"messages": [("user", QUESTION)]})
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert [(call.route, bool(call.error)) for call in _last(guarded).calls] == [
        ("light", False),
        ("light", True),
        ("heavy", False),
    ]


async def test_an_agent_changes_providers_with_a_response_format(servers: Servers) -> None:
    servers[0].script("too many")
    agent: Any = create_agent(
        openai(servers[0]), [], response_format=ToolStrategy(Answer), system_prompt="Be short."
    )
    guarded = guard(agent, routes(anthropic(servers[1])))
    state = guarded.invoke({"messages": [("user", QUESTION)]})
    assert state["structured_response"] == Answer(**EXPECTED)
    assert servers[1].requests[-1].body["system"] == "Be short."


def again(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 -- made here


def _sum(chunks: list[Any]) -> Any:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


def _last(obj: Any) -> Any:
    return handle(obj).ledgers[-1]


def test_nothing_is_remembered_where_nothing_is_routed() -> None:
    guarded = guard(ScriptedChatModel())
    bound: Any = guarded.bind_tools([look_up])
    assert type(bound.kwargs["tools"]) is list
    chain: Runnable[Any, str] = guarded | StrOutputParser()
    assert chain.invoke(QUESTION) == "done"
    assert Routes(routes=(Route(name="one"),)).space
