"""What the tests of routing share: two providers' clients, a policy of two routes, ways to call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ctxguard import Ledger, Policy
from ctxguard.routing import Price, Route, Router, Routes
from tests.openai_server import ScriptedServer

LIGHT, HEAVY = Router(thresholds=(1.0,)), Router(thresholds=(-1.0,))
"""Routers that always take the first route, or always the second."""
CHEAP, DEAR = Price(input=1, output=2), Price(input=10, output=20)
QUESTION = "What is the notice period?"


def openai(server: ScriptedServer, **settings: Any) -> ChatOpenAI:
    """A client that does not try again itself."""
    given = {"model": "gpt-4o-mini", "max_retries": 0, "stream_usage": True, **settings}
    return ChatOpenAI(base_url=server.url, api_key=SecretStr("none"), **given)


def anthropic(server: ScriptedServer, **settings: Any) -> ChatAnthropic:
    """As `openai`, of the other provider."""
    given = {"model_name": "claude-sonnet-4-6", "max_retries": 0, **settings}
    url = server.url.removesuffix("/v1")
    return ChatAnthropic(base_url=url, api_key=SecretStr("none"), **given)


def routes(heavy: object, router: Router = LIGHT, **settings: Any) -> Policy:
    """A policy that routes and does nothing else: 'light' as configured, and 'heavy'."""
    known = (
        Route(name="light", price=CHEAP, max_output=settings.pop("light_output", None)),
        Route(name="heavy", model=heavy, price=DEAR),
    )
    given = {"state": "memory", "router": router, **settings}
    return Policy(routing=Routes(routes=known, **given), **BARE)


BARE: dict[str, Any] = {
    "dedupe": None,
    "rank": None,
    "compress": None,
    "select": None,
    "layout": None,
}


def codes(ledger: Ledger | None) -> list[str]:
    """The codes of what was decided about routes, in order."""
    assert ledger is not None
    return [decision.code for decision in ledger.decisions if decision.stage == "route"]


class Heard(BaseCallbackHandler):
    """Notes which runs of models begin and how they end."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.runs: list[UUID] = []
        self.ended: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.models.append(kwargs["invocation_params"].get("model") or kwargs["name"])
        self.runs.append(kwargs["run_id"])

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ended.append("end")

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.ended.append("error")


# -- ways to call, each to the text that came ------------------------------------------------------


def text_of(parts: Any) -> str:
    """The text of a message, of chunks, or of what a parser made of them."""
    if isinstance(parts, list):
        return "".join(text_of(part) for part in parts)
    return parts.text if isinstance(parts, BaseMessage) else str(parts)


async def invoke(model: Runnable[Any, Any], config: Any) -> str:
    return text_of(model.invoke(QUESTION, config))


async def ainvoke(model: Runnable[Any, Any], config: Any) -> str:
    return text_of(await model.ainvoke(QUESTION, config))


async def stream(model: Runnable[Any, Any], config: Any) -> str:
    return text_of(list(model.stream(QUESTION, config)))


async def astream(model: Runnable[Any, Any], config: Any) -> str:
    return text_of([part async for part in model.astream(QUESTION, config)])


async def batch(model: Runnable[Any, Any], config: Any) -> str:
    return text_of(model.batch([QUESTION], config))


async def abatch(model: Runnable[Any, Any], config: Any) -> str:
    return text_of(await model.abatch([QUESTION], config))


async def events(model: Runnable[Any, Any], config: Any) -> str:
    found = [event async for event in model.astream_events(QUESTION, config, version="v2")]
    streamed = [event["data"] for event in found if event["event"] == "on_chat_model_stream"]
    return text_of([data.get("chunk") for data in streamed])


Way = Callable[[Runnable[Any, Any], Any], Awaitable[str]]
WAYS: tuple[Way, ...] = (invoke, ainvoke, stream, astream, batch, abatch, events)
STREAMS: tuple[Way, ...] = (stream, astream, events)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
every_stream = pytest.mark.parametrize("way", STREAMS, ids=lambda way: way.__name__)
