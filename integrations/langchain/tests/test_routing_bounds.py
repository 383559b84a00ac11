"""What routed calls may not lose: memory, money that was not spent, streams that come in."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from typing_extensions import override

from ctxguard import guard, handle
from ctxguard.errors import BudgetExceededError
from ctxguard.routing import Price, Route, Routes, SpendLimit
from ctxguard_langchain.binding import refusal
from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.routing import BARE, HEAVY, QUESTION, routes

pytestmark = pytest.mark.anyio
CHEAP = Price(input=1, output=2)


def test_a_guard_that_nobody_holds_any_more_is_let_go() -> None:
    guarded = guard(ScriptedChatModel(), routes(ScriptedChatModel(), HEAVY, light_output=50))
    guarded.invoke(QUESTION)
    held = weakref.ref(handle(guarded))
    assert [call.route for call in handle(guarded).ledgers[0].calls] == ["heavy"]
    del guarded
    gc.collect()
    assert held() is None


def limited(**fields: Any) -> Any:
    route = Route(name="only", price=CHEAP, **{"max_output": 100, **fields})
    limits = (SpendLimit(usd=1, per="day"),)
    return {"routing": Routes(routes=(route,), state="memory", limits=limits), **BARE}


def spent(guarded: object) -> float:
    dispatcher = handle(guarded).guard.dispatcher
    assert dispatcher is not None
    return dispatcher.standing("")[0].usd


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_fails_before_a_model_is_asked_costs_nothing(asynchronous: bool) -> None:
    guarded = guard(ScriptedChatModel(), **limited(window=200))
    question = "word " * 400
    with pytest.raises(BudgetExceededError):
        await guarded.ainvoke(question) if asynchronous else guarded.invoke(question)
    call = handle(guarded).ledgers[0].calls[0]
    assert (call.error, call.cost) == ("BudgetExceededError", 0)
    assert spent(guarded) == 0


def test_each_of_several_prompts_at_once_is_set_aside_for() -> None:
    policy: Any = limited(max_output=100_000)
    for model, asked in (
        (ScriptedChatModel(), [[HumanMessage("a")], [HumanMessage("b")], [HumanMessage("c")]]),
        (FakeListLLM(responses=["x"]), ["a", "b", "c"]),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guarded: Any = guard(model, **policy)
        with pytest.raises(Exception, match="exceeds it"):  # 3 * $0.2 fit, 6 * $0.2 do not
            guarded.generate([*asked, *asked])
        guarded.generate(asked)


class Reading(Runnable[Any, Any]):
    """Takes a stream as an iterator, which it is."""

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return input

    @override
    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        yield next(input)

    @override
    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        yield await anext(input)


async def test_a_stream_that_comes_in_is_an_iterator_for_every_attempt() -> None:
    root = RunnableLambda(lambda text: text) | ScriptedChatModel()
    guarded = guard(root, routes(Reading(), HEAVY))

    async def words() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert list(guarded.transform(iter(["a", "b"]))) == ["a"]
    assert [item async for item in guarded.atransform(words())] == ["a"]


class Odd(ScriptedChatModel):
    """Cannot bind, in a way of its own."""

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        raise KeyError("type")


class Plain(ScriptedChatModel):
    """Of another provider."""


def test_a_model_that_cannot_bind_tools_is_no_route_for_them() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    assert "cannot bind the tools" in refusal(Odd(), Plain(), {"tools": tools})
    bound: Any = guard(Plain(), routes(Odd(), HEAVY)).bind_tools([look])
    assert bound.invoke(QUESTION).tool_calls


def look(query: str) -> str:
    """Look something up."""
    return query
