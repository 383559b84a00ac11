"""A real client, langchain-openai, and a server that misbehaves: a guard changes neither.

The same results, exceptions and numbers of HTTP requests, plain and guarded; the ledger says what
happened.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from ctxguard import Budget, BudgetExceededError, Ledger, Policy, guard, handle
from ctxguard_langchain.testing import FixedRetriever
from tests.openai_server import ANSWER, USAGE, ScriptedServer, scripted_server

pytestmark = pytest.mark.anyio

QUESTION = "What is the notice period?"
RETRIES = 2
HANG_TIMEOUT = 0.3
"""Seconds that a client waits for a server that hangs."""


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.script("answer")
    return running


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server asks for no wait, the client's own would be half a second or more."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


def client(server: ScriptedServer, **settings: Any) -> ChatOpenAI:
    given = {
        "model": "gpt-4o-mini",
        "max_retries": RETRIES,
        "timeout": 5,
        "stream_usage": True,
        **settings,
    }
    return ChatOpenAI(base_url=server.url, api_key=SecretStr("none"), **given)


Wrap = Callable[[ChatOpenAI], Runnable[Any, Any]]
Make = Callable[..., Runnable[Any, Any]]


@pytest.fixture
def make(
    retriever: FixedRetriever,
    prompt: ChatPromptTemplate,
    joined: Callable[[list[Document]], str],
) -> Make:
    """An ordinary chain around a model, or around what a function makes of one."""

    def make(model: ChatOpenAI, wrap: Wrap | None = None) -> Runnable[Any, Any]:
        given = {"context": retriever | joined, "question": RunnablePassthrough()}
        return given | prompt | (wrap(model) if wrap else model | StrOutputParser())

    return make


# -- the four ways to call ------------------------------------------------------------------------


async def invoke(chain: Runnable[Any, Any], question: Any) -> Any:
    return chain.invoke(question)


async def ainvoke(chain: Runnable[Any, Any], question: Any) -> Any:
    return await chain.ainvoke(question)


async def stream(chain: Runnable[Any, Any], question: Any) -> Any:
    return list(chain.stream(question))


async def astream(chain: Runnable[Any, Any], question: Any) -> Any:
    return [part async for part in chain.astream(question)]


Way = Callable[[Runnable[Any, Any], Any], Awaitable[Any]]
WAYS: tuple[Way, ...] = (invoke, ainvoke, stream, astream)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    requests: int


def described(result: Any) -> Any:
    """A result without the ids that differ from run to run."""
    if isinstance(result, list):
        return [described(part) for part in result]
    if isinstance(result, dict):
        return {key: described(value) for key, value in result.items()}
    if isinstance(result, BaseMessage):
        return {**result.model_dump(), "id": None}
    return result


async def outcome_of(way: Way, chain: Runnable[Any, Any], server: ScriptedServer) -> Outcome:
    try:
        result = await way(chain, QUESTION)
    except Exception as error:
        return Outcome(error=type(error), message=str(error), requests=len(server.requests))
    return Outcome(result=described(result), requests=len(server.requests))


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


def steps_of(ledger: Ledger) -> list[str]:
    return [step.kind for step in ledger.steps]


@every_way
@pytest.mark.parametrize("name", FAILURES)
async def test_failures_come_through(
    server: ScriptedServer, make: Make, way: Way, name: str
) -> None:
    failure, streams = FAILURES[name], way in (stream, astream)
    plain = make(client(server, **dict(failure.settings)))
    guarded = guard(plain)
    server.script(*failure.script)
    expected = await outcome_of(way, plain, server)
    wanted = failure.errors[streams]
    assert issubclass(expected.error or type(None), wanted or type(None))
    assert expected.requests == failure.requests[streams]
    server.script(*failure.script)
    assert await outcome_of(way, guarded, server) == expected
    (ledger,) = handle(guarded).ledgers
    error = f"{expected.error.__name__}: {expected.message}" if expected.error else ""
    assert ledger.error == error
    assert steps_of(ledger) == ["retrieval", "model"], "one logical call, however many requests"
    assert handle(guarded).last is ledger


# -- what is sent ---------------------------------------------------------------------------------


class Answer(BaseModel):
    """An answer and its source."""

    answer: str
    pages: int


@tool
def look_up(clause: str) -> str:
    """Look a clause up."""
    return clause


MODELS: dict[str, Wrap] = {
    "as it is": lambda model: model,
    "parameters": lambda model: model.bind(
        temperature=0.5, max_tokens=64, seed=7, stop=["\n\n"], logit_bias={"50256": -100}
    ),
    "tools": lambda model: model.bind_tools([look_up], tool_choice="auto", strict=True),
    "json schema": lambda model: model.with_structured_output(Answer, method="json_schema"),
    "function calling": lambda model: model.with_structured_output(
        Answer, method="function_calling", include_raw=True
    ),
    "json mode": lambda model: model.bind(response_format={"type": "json_object"}),
}


# openai's own, about what it has parsed, plain and guarded.
parsed = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@parsed
@every_way
@pytest.mark.parametrize("name", MODELS)
async def test_the_request_differs_in_the_copies_that_were_dropped(
    server: ScriptedServer, make: Make, documents: list[Document], way: Way, name: str
) -> None:
    plain = make(client(server), MODELS[name])
    guarded = guard(plain)
    expected = described(await way(plain, QUESTION))
    assert described(await way(guarded, QUESTION)) == expected
    first, second = server.requests
    assert second.path == first.path
    copy = json.dumps(f"{documents[0].page_content}\n\n")[1:-1].encode()
    assert first.content.count(copy) == 2
    assert second.content == first.content.replace(copy, b"", 1)


CONVERSATION = [
    SystemMessage("Answer briefly."),
    HumanMessage(
        [
            {"type": "text", "text": "What is in this picture?", "cache_control": {"type": "none"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]
    ),
    AIMessage("", tool_calls=[{"name": "look_up", "args": {"clause": "§ 1"}, "id": "c1"}]),
    ToolMessage("§ 1 Notice", tool_call_id="c1"),
    HumanMessage("And now?", name="ann"),
]


@parsed
@every_way
@pytest.mark.parametrize("name", MODELS)
async def test_without_evidence_the_request_is_the_same_to_the_byte(
    server: ScriptedServer, way: Way, name: str
) -> None:
    plain = MODELS[name](client(server))
    guarded = guard(plain)
    expected = described(await way(plain, CONVERSATION))
    assert described(await way(guarded, CONVERSATION)) == expected
    first, second = server.requests
    assert second == first
    assert steps_of(handle(guarded).ledgers[-1]) == ["model"]


@every_way
async def test_usage_and_callbacks_come_through(
    server: ScriptedServer, make: Make, way: Way
) -> None:
    plain = make(client(server))
    used = []
    for chain in (plain, guard(plain)):
        callback = UsageMetadataCallbackHandler()
        await way(chain.with_config(callbacks=[callback]), QUESTION)
        used.append(callback.usage_metadata)
    assert used[0] == used[1]
    ((_, usage),) = used[0].items()
    assert usage["total_tokens"] == USAGE["total_tokens"]


# -- around the client ----------------------------------------------------------------------------


@every_way
async def test_what_cannot_fit_is_never_sent(server: ScriptedServer, make: Make, way: Way) -> None:
    small = Policy(budget=Budget(window=16, reserve_output=8))
    guarded = guard(make(client(server)), small)
    with pytest.raises(BudgetExceededError):
        await way(guarded, QUESTION)
    assert server.requests == ()
    assert handle(guarded).ledgers[0].error.startswith("BudgetExceededError: ")


@every_way
async def test_retries_of_langchain_are_calls_of_the_model(
    server: ScriptedServer, make: Make, way: Way
) -> None:
    def retrying(model: ChatOpenAI) -> Runnable[Any, Any]:
        return model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)

    plain = make(client(server, max_retries=0), retrying)
    guarded = guard(plain)
    script = ("broken", "answer")
    server.script(*script)
    expected = await outcome_of(way, plain, server)
    server.script(*script)
    assert await outcome_of(way, guarded, server) == expected
    tries = ["model"] * expected.requests  # a stream is not tried again
    assert steps_of(handle(guarded).ledgers[0]) == ["retrieval", *tries]
    assert bool(handle(guarded).ledgers[0].error) == bool(expected.error)


@every_way
async def test_a_fallback_answers_in_the_same_run(
    server: ScriptedServer, make: Make, way: Way
) -> None:
    def falling_back(model: ChatOpenAI) -> Runnable[Any, Any]:
        return model.with_fallbacks([client(server, model="gpt-4o")])

    plain = make(client(server, max_retries=0), falling_back)
    guarded = guard(plain)
    script = ("broken", "answer")
    server.script(*script)
    expected = await outcome_of(way, plain, server)
    server.script(*script)
    assert await outcome_of(way, guarded, server) == expected
    assert [request.body["model"] for request in server.requests] == ["gpt-4o-mini", "gpt-4o"]
    (ledger,) = handle(guarded).ledgers
    assert steps_of(ledger) == ["retrieval", "model", "model"]
    assert (ledger.error, ledger.model) == ("", "gpt-4o")


async def test_a_stream_that_is_left_ends_its_run(server: ScriptedServer, make: Make) -> None:
    guarded = guard(make(client(server)))
    parts: Any = guarded.stream(QUESTION)
    assert next(parts) in ANSWER
    parts.close()
    asynchronous: Any = guarded.astream(QUESTION)
    assert await anext(asynchronous) in ANSWER
    await asynchronous.aclose()
    assert [ledger.error for ledger in handle(guarded).ledgers] == ["", ""]
    assert [steps_of(ledger) for ledger in handle(guarded).ledgers] == [["retrieval", "model"]] * 2


async def test_a_batch_fails_item_by_item(server: ScriptedServer, make: Make) -> None:
    guarded = guard(make(client(server, max_retries=0)))
    server.script("answer", "broken", "answer")
    config: Any = {"max_concurrency": 1}
    answers = guarded.batch([QUESTION] * 3, config, return_exceptions=True)
    assert [isinstance(answer, openai.InternalServerError) for answer in answers] == [
        False,
        True,
        False,
    ]
    assert [bool(ledger.error) for ledger in handle(guarded).ledgers] == [False, True, False]
