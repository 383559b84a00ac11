"""How the public API looks to a type checker: checked by pyright in its strict mode, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

from anthropic.types import MessageParam, TextBlockParam, ToolParam
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from llama_index.core.base.base_query_engine import BaseQueryEngine
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam

from ctxguard import (
    Budget,
    BudgetExceededError,
    Chunk,
    Coverage,
    Decision,
    Guard,
    Handle,
    Ledger,
    Message,
    Policy,
    Prepared,
    guard,
    guarded,
    handle,
)
from ctxguard.dispatching import dispatching
from ctxguard.ledger import Call
from ctxguard.request import Request
from ctxguard.routing import Route, Routes, Routing, Savings, SpendLimit, calling_for
from ctxguard.routing.state import Drift
from ctxguard.wire import FittedMessages


def the_same_type_comes_back(
    chain: Runnable[str, str],
    model: BaseChatModel,
    retriever: BaseRetriever,
    engine: BaseQueryEngine,
) -> None:
    assert_type(guard(chain), Runnable[str, str])
    assert_type(guard(model), BaseChatModel)
    assert_type(guard(retriever, Policy.lean()), BaseRetriever)
    assert_type(guard(engine, budget=2_000), BaseQueryEngine)
    assert_type(guard(chain, scope="process"), Runnable[str, str])
    guard(chain, scope="global")  # pyright: ignore[reportArgumentType] -- this is the test
    assert_type(guard(chain).invoke("question"), str)


async def a_block_gives_a_handle_and_decorates() -> None:
    with guarded(Policy.lean(), budget=2_000) as opened:
        assert_type(opened, Handle)

    @guarded()
    async def answer(question: str) -> str:
        return question

    assert_type(await answer("question"), str)


def the_handle_is_typed(chain: Runnable[str, str]) -> None:
    of = handle(guard(chain))
    assert_type(of, Handle)
    assert_type(of.coverage, Coverage)
    assert_type(of.last, Ledger | None)
    assert_type(of.ledgers, tuple[Ledger, ...])
    assert_type(of.policy, Policy)
    assert_type(of.savings(), Savings)
    assert_type(Ledger(run_id="r").savings, Savings)


def a_policy_is_made_from_anything_sensible() -> None:
    Policy(budget=2_000)
    Policy(budget=Budget(window=8_192, floors={"history": 500}), dedupe=None, on_error="raise")
    Policy(on_error="ignore")  # pyright: ignore[reportArgumentType] -- this is the test
    Budget(ceilings={"reserve?": 1})  # pyright: ignore[reportArgumentType] -- this is the test
    assert_type(Policy.from_toml("ctxguard.toml"), Policy)


def chunks_come_as_strings_mappings_or_chunks() -> None:
    prepared = Guard(Policy.balanced()).prepare(
        "question",
        ["a", {"id": "b", "text": "b", "metadata": {"page": 3}}, Chunk(id="c", text="c")],
    )
    assert_type(prepared, Prepared)
    assert_type(prepared.chunks, tuple[Chunk, ...])
    assert_type(prepared.text, str)
    assert_type(prepared.positions, tuple[int, ...])
    assert_type(prepared.decisions, tuple[Decision, ...])
    assert_type(prepared.ledger, Ledger)


def messages_are_fitted() -> None:
    try:
        fitted = Guard().fit([Message(role="user", text="question")], tools="[]")
        assert_type(fitted.messages, tuple[Message, ...])
    except BudgetExceededError as error:
        assert_type(error.limit, int)
        assert_type(error.usage, dict[str, int])
    Message(role="human", text="")  # pyright: ignore[reportArgumentType] -- this is the test


def messages_of_an_sdk_come_back_as_they_are(
    chat: list[ChatCompletionMessageParam],
    answer: ChatCompletionMessage,
    items: list[ResponseInputItemParam],
    messages: list[MessageParam],
    tools: list[ToolParam],
    system: list[TextBlockParam],
) -> None:
    guard_ = Guard()
    with guard_.run("question") as run:
        assert_type(guard_.fit(chat), FittedMessages[ChatCompletionMessageParam, None])
        assert_type(guard_.fit(chat).messages, list[ChatCompletionMessageParam])
        assert_type(guard_.fit([answer]).messages, list[ChatCompletionMessage])
        assert_type(guard_.fit(items, system="rules").messages, list[ResponseInputItemParam])
        fitted = guard_.fit(messages, system=system, tools=tools, shape="anthropic")
        assert_type(fitted.messages, list[MessageParam])
        assert_type(fitted.system, list[TextBlockParam])
        assert_type(run.ledger(), Ledger)
    guard_.fit(["text"])  # pyright: ignore[reportCallIssue, reportArgumentType] -- this is the test
    guard_.fit(chat, shape="gemini")  # pyright: ignore[reportArgumentType] -- this is the test


def a_call_takes_a_route(ledger: Ledger) -> None:
    routes = (
        Route(name="light", model="gpt-4o-mini", top_k=4),
        Route(name="heavy", model="gpt-4o"),
    )
    guard_ = Guard(Policy(routing=Routes(routes=routes, limits=(SpendLimit(usd=5, per="day"),))))
    assert_type(guard_.route("question"), Routing)
    assert_type(guard_.route("question").route, Route)
    with guard_.run("question"), calling_for(tenant="acme", conversation="1"):
        routed = dispatching(guard_.dispatcher)
        assert routed is not None
        request = Request(messages=(Message(role="user", text="question"),))
        assert_type(routed.call(request, lambda attempt: attempt.route), Route)
        assert_type(routed.stream(request, lambda attempt: iter((attempt.route,))), Iterator[Route])
        assert_type(routed.depth(request), int | None)
    assert_type(Handle(guard_, guard_).feedback(ledger.run_id, ok=True), Drift | None)
    assert_type(ledger.calls, tuple[Call, ...])
    Routes(routes=routes, mode="act!")  # pyright: ignore[reportArgumentType] -- this is the test
    Route(name="light", effort="much")  # pyright: ignore[reportArgumentType] -- this is the test


def a_ledger_goes_to_json_and_back(ledger: Ledger) -> None:
    assert_type(ledger.to_json(content=False), str)
    assert_type(Ledger.from_json("{}"), Ledger)
    assert_type(ledger.of("drop", "trim"), tuple[Decision, ...])
    ledger.of("delete")  # pyright: ignore[reportArgumentType] -- this is the test
