"""A small Ollama-compatible server on this machine: tool calls and streams in another format.

Arguments are objects and not JSON, calls have no ids, streams are lines and not events, usage is
counted by other names.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

__all__ = ["ANSWER", "USAGE", "OllamaServer"]

Json = dict[str, Any]

ANSWER = "Thirty days, in writing."
USAGE = {"prompt_eval_count": 33, "eval_count": 5}


class OllamaServer:
    """Answers, or refuses with a status."""

    def __init__(self, url: str) -> None:
        self.url = url
        """What a client takes as its base URL."""
        self.status = 200
        self._lock = Lock()
        self._requests: list[Json] = []

    @property
    def requests(self) -> tuple[Json, ...]:
        """The bodies that arrived, oldest first."""
        with self._lock:
            return tuple(self._requests)

    def take(self, body: Json) -> None:
        """Note a request."""
        with self._lock:
            self._requests.append(body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: OllamaServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        self.server_state.take(body)
        if self.server_state.status != 200:
            self._send(self.server_state.status, json.dumps({"error": "not now"}))
        else:
            lines = list(_replies(body)) if body.get("stream") else [_reply(body)]
            self._send(200, "".join(json.dumps(line) + "\n" for line in lines))

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's own name
        """Say nothing."""


def _reply(body: Json) -> Json:
    """A call of the first tool, unless one has answered; else an answer."""
    answered = any(message["role"] == "tool" for message in body["messages"])
    message: Json = {"role": "assistant", "content": ANSWER}
    if body.get("tools") and not answered:
        function = body["tools"][0]["function"]
        given = {
            name: 1 if field.get("type") == "integer" else "text"
            for name, field in function["parameters"]["properties"].items()
        }
        call = {"function": {"name": function["name"], "arguments": given}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
    return {"model": body["model"], "message": message, "done": True, **USAGE}


def _replies(body: Json) -> Iterator[Json]:
    whole = _reply(body)
    for word in whole["message"]["content"].split(" "):
        part = {"role": "assistant", "content": word + " "}
        yield {"model": body["model"], "message": part, "done": False}
    yield {**whole, "message": {**whole["message"], "content": ""}}


@contextmanager
def _serving() -> Generator[OllamaServer]:
    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = False  # so that closing it waits for them: none outlives the block
        Handler.server_state = OllamaServer(f"http://127.0.0.1:{http.server_address[1]}")
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Handler.server_state
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def ollama_server() -> Iterator[OllamaServer]:
    """The server, answering."""
    with _serving() as server:
        yield server
