"""A small OpenAI-compatible server on this machine that misbehaves on request, for both adapters.

It knows chat completions, plain and as server-sent events, with tools, response formats and usage.
What it answers depends on the request alone; how it fails, on its script.
"""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

Json = dict[str, Any]

ANSWER = "Thirty days."
HANG_SECONDS = 30.0
"""For how long a request that hangs is kept waiting; its client may leave earlier."""
USAGE = {"prompt_tokens": 21, "completion_tokens": 3, "total_tokens": 24}
RETRY_AFTER = {"Retry-After": "0.01"}
"""Seconds. Clients take it for failures of every kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What arrived."""

    path: str
    content: bytes

    @property
    def body(self) -> Json:
        return json.loads(self.content)


class ScriptedServer:
    """Answers, or fails as its script says, one entry per request; the last one holds on."""

    def __init__(self, url: str) -> None:
        self.url = url
        """What a client takes as its base URL."""
        self._lock = Lock()
        self._script: list[str] = ["answer"]
        self._requests: list[Request] = []

    def script(self, *behaviours: str) -> None:
        """Do this from now on, keys of `BEHAVIOURS`, and forget the requests so far."""
        unknown = set(behaviours) - BEHAVIOURS.keys()
        assert behaviours, "a script has at least one entry"
        assert not unknown, f"no such behaviour: {unknown}"
        with self._lock:
            self._script, self._requests = list(behaviours), []

    @property
    def requests(self) -> tuple[Request, ...]:
        """What arrived since the script was set, oldest first."""
        with self._lock:
            return tuple(self._requests)

    def take(self, request: Request) -> Behaviour:
        """Note a request, and say what to do with it."""
        with self._lock:
            self._requests.append(request)
            place = min(len(self._requests), len(self._script)) - 1
            return BEHAVIOURS[self._script[place]]


@contextmanager
def scripted_server() -> Generator[ScriptedServer]:
    """A server on a free port; it stops with the block, when its last request has ended."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = False  # so that closing it waits for them: none outlives the block
        Handler.scripted = ScriptedServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Handler.scripted
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def _running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def openai_server(_running: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """The server, answering; openai's client waits only where the server asks for it."""
    _running.script("answer")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    return _running


class _Handler(BaseHTTPRequestHandler):
    """One connection per request: what is cut or hangs has no later request to disturb."""

    protocol_version = "HTTP/1.1"
    scripted: ScriptedServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(path=self.path, content=content)
        self.close_connection = True
        behave = self.scripted.take(request)
        try:
            behave(self, request.body)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client has left

    def send(
        self,
        body: str,
        *,
        status: int = 200,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """Send one body; `length` is what is promised, if that is not its own."""
        data = body.encode()
        own = {"Content-Type": kind, "Content-Length": str(length or len(data))}
        self._head(status, own | dict(headers or {}))
        self.wfile.write(data)

    def stream(self, events: Iterator[str], *, complete: bool = True) -> None:
        """Send server-sent events; without the chunk that ends them if not complete."""
        self._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        for event in events:
            data = f"data: {event}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if complete:
            self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's own name
        """Say nothing."""


# -- what it does ---------------------------------------------------------------------------------

Behaviour = Callable[[_Handler, Json], None]


def _answer(handler: _Handler, body: Json) -> None:
    if body.get("stream"):
        handler.stream(_events(body))
    else:
        handler.send(json.dumps(_completion(body)))


def _fails(
    status: int, kind: str, code: str, message: str, headers: Mapping[str, str]
) -> Behaviour:
    error = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return lambda handler, _: handler.send(json.dumps(error), status=status, headers=headers)


def _cut(handler: _Handler, body: Json) -> None:
    if body.get("stream"):
        events = list(_events(body))
        handler.stream(iter(events[: len(events) // 2]), complete=False)
    else:
        whole = json.dumps(_completion(body))
        handler.send(whole[: len(whole) // 2], length=len(whole))


def _malformed(handler: _Handler, body: Json) -> None:
    if body.get("stream"):
        *events, broken = list(_events(body))[:3]
        handler.stream(iter([*events, broken[: len(broken) // 2]]))
    else:
        whole = json.dumps(_completion(body))
        handler.send(whole[: len(whole) // 2])


def _hang(handler: _Handler, _body: Json) -> None:
    # A client that leaves makes its connection readable: there is nothing to read but the end.
    select.select([handler.connection], [], [], HANG_SECONDS)


def _no_usage(handler: _Handler, body: Json) -> None:
    if body.get("stream"):
        handler.stream(_events({**body, "stream_options": {}}))
    else:
        completion = _completion(body)
        del completion["usage"]
        handler.send(json.dumps(completion))


def _no_choices(handler: _Handler, body: Json) -> None:
    if body.get("stream"):
        chunk = {**_chunk(body, {}), "choices": []}
        handler.stream(iter([json.dumps(chunk), "[DONE]"]))
    else:
        handler.send(json.dumps({**_completion(body), "choices": []}))


def _page(handler: _Handler, _body: Json) -> None:
    handler.send("<html><body>Please log in.</body></html>", kind="text/html")


BEHAVIOURS: Mapping[str, Behaviour] = {
    "answer": _answer,
    "too many": _fails(
        429, "requests", "rate_limit_exceeded", "Rate limit reached, try again.", RETRY_AFTER
    ),
    "broken": _fails(500, "server_error", "internal", "The server had an error.", RETRY_AFTER),
    "unavailable": _fails(503, "server_error", "overloaded", "Try again later.", RETRY_AFTER),
    "too long": _fails(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 128 tokens.",
        {},
    ),
    "cut": _cut,
    "malformed": _malformed,
    "hang": _hang,
    "no usage": _no_usage,
    "no choices": _no_choices,
    "page": _page,
}
"""What the server can do, by name."""


# -- answers --------------------------------------------------------------------------------------


def _completion(body: Json) -> Json:
    message, reason = _message(body)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {"index": 0, "message": message, "finish_reason": reason, "logprobs": None},
        ],
        "usage": USAGE,
    }


def _events(body: Json) -> Iterator[str]:
    message, reason = _message(body)
    yield json.dumps(_chunk(body, {"role": "assistant", "content": ""}))
    for word in (message["content"] or "").split(" "):
        yield json.dumps(_chunk(body, {"content": word + " "}))
    for index, call in enumerate(message.get("tool_calls", ())):
        yield json.dumps(_chunk(body, {"tool_calls": [{"index": index, **call}]}))
    yield json.dumps(_chunk(body, {}, reason))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield json.dumps({**_chunk(body, {}), "choices": [], "usage": USAGE})
    yield "[DONE]"


def _chunk(body: Json, delta: Json, reason: str | None = None) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
    }


def _message(body: Json) -> tuple[Json, str]:
    """The assistant's message: a call of the first tool, or an answer in the format asked for."""
    answered = any(message["role"] == "tool" for message in body["messages"])
    if body.get("tools") and not answered:
        function = body["tools"][0]["function"]
        arguments = json.dumps(_example(function["parameters"]))
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    content = json.dumps(_example(schema)) if schema else ANSWER
    return {"role": "assistant", "content": content}, "stop"


def _example(schema: Json) -> Json:
    """An object of a flat schema."""
    of_type: Json = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return {
        name: of_type.get(field.get("type"), "text")
        for name, field in schema.get("properties", {}).items()
    }
