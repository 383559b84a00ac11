"""A real client, langchain-openai, and a server that misbehaves: a guard changes neither.

The same results, exceptions and numbers of HTTP requests, plain and guarded; the ledger says what
happened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI

from ctxguard import Budget, BudgetExceededError, Policy, guard, handle
from integrations.langchain.tests.clients import (
    QUESTION,
    RETRIES,
    Way,
    astream,
    chain_of,
    client,
    every_way,
    outcome_of,
    steps_of,
    stream,
)
from tests.openai_server import ANSWER, ScriptedServer

pytestmark = pytest.mark.anyio

HANG_TIMEOUT = 0.5
"""Seconds that a client waits for a server that hangs."""


# -- what fails -----------------------------------------------------------------------------------

Error = type[Exception] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A script, and what the client makes of it; a pair is without and with a stream."""

    script: tuple[str, ...]
    errors: tuple[Error, Error]
    requests: tuple[int, int]
    settings: tuple[tuple[str, Any], ...] = ()


ALL = 1 + RETRIES
IMPATIENT = (("timeout", HANG_TIMEOUT), ("max_retries", 1))
FAILURES = {
    "429 twice": Failure(
        script=("too many", "too many", "answer"), errors=(None, None), requests=(3, 3)
    ),
    "429 for ever": Failure(
        script=("too many",),
        errors=(openai.RateLimitError, openai.RateLimitError),
        requests=(ALL, ALL),
    ),
    "500 once": Failure(script=("broken", "answer"), errors=(None, None), requests=(2, 2)),
    "500 for ever": Failure(
        script=("broken",),
        errors=(openai.InternalServerError, openai.InternalServerError),
        requests=(ALL, ALL),
    ),
    "cut in the middle": Failure(
        script=("cut",),
        errors=(openai.APIConnectionError, httpx.RemoteProtocolError),
        requests=(ALL, 1),
    ),
    "malformed": Failure(
        script=("malformed",),
        errors=(json.JSONDecodeError, json.JSONDecodeError),
        requests=(1, 1),
    ),
    "hangs": Failure(
        script=("hang",),
        errors=(openai.APITimeoutError, openai.APITimeoutError),
        requests=(2, 2),
        settings=IMPATIENT,
    ),
    "no usage": Failure(script=("no usage",), errors=(None, None), requests=(1, 1)),
    "too long": Failure(
        script=("too long",),
        errors=(openai.BadRequestError, openai.BadRequestError),
        requests=(1, 1),
    ),
    # Which exception it is depends on the version of langchain-openai.
    "a page": Failure(script=("page",), errors=(Exception, ValueError), requests=(1, 1)),
    "no choices": Failure(script=("no choices",), errors=(Exception, None), requests=(1, 1)),
}


NAMES = [pytest.param(name, marks=pytest.mark.slow if name == "hangs" else ()) for name in FAILURES]


@every_way
@pytest.mark.parametrize("name", NAMES)
async def test_failures_come_through(openai_server: ScriptedServer, way: Way, name: str) -> None:
    failure, streams = FAILURES[name], way in (stream, astream)
    plain = chain_of(client(openai_server, **dict(failure.settings)))
    guarded = guard(plain)
    openai_server.script(*failure.script)
    expected = await outcome_of(way, plain, openai_server)
    wanted = failure.errors[streams]
    assert issubclass(expected.error or type(None), wanted or type(None))
    assert expected.requests == failure.requests[streams]
    openai_server.script(*failure.script)
    assert await outcome_of(way, guarded, openai_server) == expected
    (ledger,) = handle(guarded).ledgers
    error = f"{expected.error.__name__}: {expected.message}" if expected.error else ""
    assert ledger.error == error
    assert steps_of(ledger) == ["retrieval", "model"], "one logical call, however many requests"
    assert handle(guarded).last is ledger


@every_way
async def test_a_model_alone_raises_the_same(openai_server: ScriptedServer, way: Way) -> None:
    plain = client(openai_server, max_retries=0)
    guarded = guard(plain)
    openai_server.script("broken")
    expected = await outcome_of(way, plain, openai_server)
    openai_server.script("broken")
    assert await outcome_of(way, guarded, openai_server) == expected
    (ledger,) = handle(guarded).ledgers
    assert ledger.error.endswith(expected.message)
    assert steps_of(ledger) == ["model"]


# -- around the client ----------------------------------------------------------------------------


@every_way
async def test_what_cannot_fit_is_never_sent(openai_server: ScriptedServer, way: Way) -> None:
    small = Policy(budget=Budget(window=16, reserve_output=8))
    guarded = guard(chain_of(client(openai_server)), small)
    with pytest.raises(BudgetExceededError):
        await way(guarded, QUESTION)
    assert openai_server.requests == ()
    assert handle(guarded).ledgers[0].error.startswith("BudgetExceededError: ")


@every_way
async def test_retries_of_langchain_are_calls_of_the_model(
    openai_server: ScriptedServer, way: Way
) -> None:
    def retrying(model: ChatOpenAI) -> Runnable[Any, Any]:
        return model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)

    plain = chain_of(client(openai_server, max_retries=0), retrying)
    guarded = guard(plain)
    script = ("broken", "answer")
    openai_server.script(*script)
    expected = await outcome_of(way, plain, openai_server)
    openai_server.script(*script)
    assert await outcome_of(way, guarded, openai_server) == expected
    tries = ["model"] * expected.requests  # a stream is not tried again
    assert steps_of(handle(guarded).ledgers[0]) == ["retrieval", *tries]
    assert bool(handle(guarded).ledgers[0].error) == bool(expected.error)


@every_way
async def test_a_fallback_answers_in_the_same_run(openai_server: ScriptedServer, way: Way) -> None:
    def falling_back(model: ChatOpenAI) -> Runnable[Any, Any]:
        return model.with_fallbacks([client(openai_server, model="gpt-4o")])

    plain = chain_of(client(openai_server, max_retries=0), falling_back)
    guarded = guard(plain)
    script = ("broken", "answer")
    openai_server.script(*script)
    expected = await outcome_of(way, plain, openai_server)
    openai_server.script(*script)
    assert await outcome_of(way, guarded, openai_server) == expected
    assert [request.body["model"] for request in openai_server.requests] == [
        "gpt-4o-mini",
        "gpt-4o",
    ]
    (ledger,) = handle(guarded).ledgers
    assert steps_of(ledger) == ["retrieval", "model", "model"]
    assert (ledger.error, ledger.model) == ("", "gpt-4o")


async def test_a_stream_that_is_left_ends_its_run(openai_server: ScriptedServer) -> None:
    guarded = guard(chain_of(client(openai_server)))
    parts: Any = guarded.stream(QUESTION)
    assert next(parts) in ANSWER
    parts.close()
    asynchronous: Any = guarded.astream(QUESTION)
    assert await anext(asynchronous) in ANSWER
    await asynchronous.aclose()
    assert [ledger.error for ledger in handle(guarded).ledgers] == ["", ""]
    assert [steps_of(ledger) for ledger in handle(guarded).ledgers] == [["retrieval", "model"]] * 2


async def test_a_batch_fails_item_by_item(openai_server: ScriptedServer) -> None:
    guarded = guard(chain_of(client(openai_server, max_retries=0)))
    openai_server.script("answer", "broken", "answer")
    config: Any = {"max_concurrency": 1}
    answers = guarded.batch([QUESTION] * 3, config, return_exceptions=True)
    assert [isinstance(answer, openai.InternalServerError) for answer in answers] == [
        False,
        True,
        False,
    ]
    assert [bool(ledger.error) for ledger in handle(guarded).ledgers] == [False, True, False]
