"""A real client, OpenAILike, and a server that misbehaves: a guard changes neither.

The same results, exceptions and numbers of HTTP requests, plain and guarded; the ledger says what
happened.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

import ctxguard
from ctxguard import Budget, BudgetExceededError, Ledger, Policy
from ctxguard_llamaindex.testing import call_tool
from tests.openai_server import ANSWER, USAGE, ScriptedServer

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say
pytestmark = pytest.mark.anyio

RETRIES = 2
HANG_TIMEOUT = 0.5
"""Seconds that a client waits for a server that hangs."""


@pytest.fixture
def server(openai_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """The server; LlamaIndex would wait a second or more between its own tries."""
    monkeypatch.setattr("tenacity.wait_random_exponential.__call__", lambda *_: 0.001)
    return openai_server


def client(server: ScriptedServer, **settings: Any) -> OpenAILike:
    given = {
        "model": "gpt-4o-mini",
        "max_retries": RETRIES,
        "timeout": 30,
        "temperature": 0.5,
        "additional_kwargs": {"seed": 7, "stream_options": {"include_usage": True}},
        "is_chat_model": True,
        "is_function_calling_model": True,
        "context_window": 8192,
        **settings,
    }
    return OpenAILike(api_base=server.url, api_key="none", **given)


# -- the four ways to call ------------------------------------------------------------------------


async def query(engine: Any, question: Any) -> Any:
    return str(engine.query(question))


async def aquery(engine: Any, question: Any) -> Any:
    return str(await engine.aquery(question))


async def stream(engine: Any, question: Any) -> Any:
    response = engine.query(question)
    # Up to 0.14.22 a stream without text is no stream.
    return list(response.response_gen) if hasattr(response, "response_gen") else [str(response)]


async def astream(engine: Any, question: Any) -> Any:
    response = await engine.aquery(question)
    if not hasattr(response, "response_gen"):
        return [str(response)]
    return [part async for part in response.response_gen]


Way = Callable[[Any, Any], Awaitable[Any]]
STREAMS = (stream, astream)
WAYS: tuple[Way, ...] = (query, aquery, *STREAMS)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
Make = Callable[..., Any]


@pytest.fixture
def make(index: VectorStoreIndex) -> Make:
    """An ordinary query engine around a model, for one way to call it."""

    def make(llm: OpenAILike, way: Way) -> Any:
        return index.as_query_engine(llm=llm, similarity_top_k=4, streaming=way in STREAMS)

    return make


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    requests: int


async def outcome_of(way: Way, obj: Any, asked: Any, server: ScriptedServer) -> Outcome:
    try:
        result = await way(obj, asked)
    except Exception as error:
        return Outcome(error=type(error), message=str(error), requests=len(server.requests))
    return Outcome(result=result, requests=len(server.requests))


# -- what fails -----------------------------------------------------------------------------------

Error = type[Exception] | tuple[type[Any], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A script, and what the client makes of it; a pair is without and with a stream.

    Without a stream LlamaIndex tries as often as the client inside it, once per try of its own.
    """

    script: tuple[str, ...]
    errors: tuple[Error, Error]
    requests: tuple[int, int]
    settings: tuple[tuple[str, Any], ...] = ()


ALL = RETRIES * (1 + RETRIES)
IMPATIENT = (("timeout", HANG_TIMEOUT), ("max_retries", 1))
FAILURES = {
    "429 twice": Failure(
        script=("too many", "too many", "answer"), errors=(None, None), requests=(3, 3)
    ),
    "429 for ever": Failure(
        script=("too many",),
        errors=(openai.RateLimitError, openai.RateLimitError),
        requests=(ALL, 1 + RETRIES),
    ),
    "500 once": Failure(script=("broken", "answer"), errors=(None, None), requests=(2, 2)),
    "500 for ever": Failure(
        script=("broken",),
        errors=(openai.InternalServerError, openai.InternalServerError),
        requests=(ALL, 1 + RETRIES),
    ),
    "cut in the middle": Failure(
        script=("cut",),
        errors=(openai.APIConnectionError, httpx.RemoteProtocolError),
        requests=(ALL, 1),
    ),
    # A synthesizer logs any ValueError that a model raises while it listens, and has no response;
    # up to 0.14.22 it listens to streams, too.
    "malformed": Failure(
        script=("malformed",),
        errors=(None, (json.JSONDecodeError, type(None))),
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
    "a page": Failure(script=("page",), errors=(AttributeError, None), requests=(1, 1)),
    "no choices": Failure(script=("no choices",), errors=(IndexError, None), requests=(1, 1)),
}


NAMES = [pytest.param(name, marks=pytest.mark.slow if name == "hangs" else ()) for name in FAILURES]


def steps_of(ledger: Ledger) -> list[str]:
    return [step.kind for step in ledger.steps]


@every_way
@pytest.mark.parametrize("name", NAMES)
async def test_failures_come_through(
    server: ScriptedServer, make: Make, corpus: Any, way: Way, name: str
) -> None:
    failure, streams = FAILURES[name], way in STREAMS
    plain = make(client(server, **dict(failure.settings)), way)
    guarded = guard(plain)
    server.script(*failure.script)
    expected = await outcome_of(way, plain, corpus.question, server)
    wanted = failure.errors[streams]
    assert issubclass(expected.error or type(None), wanted or type(None))
    assert expected.requests == failure.requests[streams]
    server.script(*failure.script)
    assert await outcome_of(way, guarded, corpus.question, server) == expected
    (ledger,) = guarded.ctxguard.ledgers
    error = f"{expected.error.__name__}: {expected.message}" if expected.error else ""
    assert ledger.error == error
    assert steps_of(ledger) == ["retrieval", "model"], "one logical call, however many requests"
    assert guarded.ctxguard.last is ledger


# -- what is sent ---------------------------------------------------------------------------------


@every_way
async def test_the_request_differs_in_the_copies_that_were_dropped(
    server: ScriptedServer, make: Make, corpus: Any, way: Way
) -> None:
    plain = make(client(server), way)
    guarded = guard(plain)
    assert await way(plain, corpus.question) == await way(guarded, corpus.question)
    first, second = server.requests
    assert second.path == first.path
    copies = [json.dumps(f"file_name: {name}.md\n\n{corpus.notice}\n\n")[1:-1] for name in "ab"]
    assert [first.content.count(copy.encode()) for copy in copies] == [1, 1]
    dropped = copies[1].encode()
    assert second.content == first.content.replace(dropped, b"", 1)


class Answer(BaseModel):
    """An answer and its source."""

    answer: str
    pages: int


def look_up(clause: str) -> str:
    """Look a clause up."""
    return clause


TOOL = FunctionTool.from_defaults(look_up)
CONVERSATION = [
    ChatMessage(role="system", content="Answer briefly."),
    ChatMessage(
        role="user",
        blocks=[
            TextBlock(text="What is in this picture?"),
            ImageBlock(url="data:image/png;base64,iVBORw0KGgo=", detail="low"),
        ],
    ),
    call_tool("look_up", "c1", clause="§ 1"),
    ChatMessage(role="tool", content="§ 1 Notice", additional_kwargs={"tool_call_id": "c1"}),
    ChatMessage(role="user", content="And now?"),
]


async def chat(llm: OpenAILike) -> Any:
    return llm.chat(CONVERSATION, top_p=0.9)


async def achat(llm: OpenAILike) -> Any:
    return await llm.achat(CONVERSATION, top_p=0.9)


async def stream_chat(llm: OpenAILike) -> Any:
    return list(llm.stream_chat(CONVERSATION))


async def astream_chat(llm: OpenAILike) -> Any:
    return [part async for part in await llm.astream_chat(CONVERSATION)]


async def chat_with_tools(llm: OpenAILike) -> Any:
    return llm.chat_with_tools([TOOL], "Look it up.", CONVERSATION[:1], tool_required=True)


async def astream_chat_with_tools(llm: OpenAILike) -> Any:
    made = await llm.astream_chat_with_tools([TOOL], "Look it up.", allow_parallel_tool_calls=True)
    return [part async for part in made]


async def json_object(llm: OpenAILike) -> Any:
    return await llm.achat(CONVERSATION, response_format={"type": "json_object"})


async def structured(llm: OpenAILike) -> Any:
    return llm.as_structured_llm(Answer).chat(CONVERSATION[:1]).raw


async def complete(llm: OpenAILike) -> Any:
    return llm.complete("What is the notice period?")


CALLS = (
    chat,
    achat,
    stream_chat,
    astream_chat,
    chat_with_tools,
    astream_chat_with_tools,
    json_object,
    structured,
    complete,
)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_without_evidence_the_request_is_the_same_to_the_byte(
    server: ScriptedServer, call: Callable[[OpenAILike], Awaitable[Any]]
) -> None:
    plain = client(server)
    guarded = guard(plain)
    expected = await call(plain)
    assert await call(guarded) == expected
    first, second = server.requests
    assert second == first
    assert [steps_of(ledger) for ledger in guarded.ctxguard.ledgers] == [["model"]]


async def test_usage_comes_through(server: ScriptedServer) -> None:
    guarded = guard(client(server))
    assert (await chat(guarded)).raw.usage.total_tokens == USAGE["total_tokens"]
    assert (await astream_chat(guarded))[-1].raw.usage.total_tokens == USAGE["total_tokens"]


# -- around the client ----------------------------------------------------------------------------


async def test_a_model_raises_what_a_synthesizer_hides(server: ScriptedServer) -> None:
    guarded = guard(client(server))
    server.script("malformed")
    for call in (chat, achat, stream_chat, astream_chat):
        with pytest.raises(json.JSONDecodeError):
            await call(guarded)
        assert guarded.ctxguard.last.error.startswith("JSONDecodeError: ")
    assert len(guarded.ctxguard.ledgers) == len(server.requests) == 4


@every_way
async def test_what_cannot_fit_is_never_sent(
    server: ScriptedServer, make: Make, corpus: Any, way: Way
) -> None:
    small = Policy(budget=Budget(window=60, reserve_output=8))
    guarded = guard(make(client(server), way), small)
    with pytest.raises(BudgetExceededError):
        await way(guarded, corpus.question)
    assert server.requests == ()
    assert guarded.ctxguard.last.error.startswith("BudgetExceededError: ")


async def test_a_stream_that_is_left_ends_its_run(
    server: ScriptedServer, make: Make, corpus: Any
) -> None:
    guarded = guard(make(client(server), stream))
    parts = guarded.query(corpus.question).response_gen
    assert next(part for part in parts if part) in ANSWER
    parts.close()
    (ledger,) = guarded.ctxguard.ledgers
    assert (ledger.error, steps_of(ledger)) == ("", ["retrieval", "model"])
