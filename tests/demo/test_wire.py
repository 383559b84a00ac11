from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest

from ctxguard.demo.wire import NoModel, Wire


class Words:
    """Counts words."""

    name = "words"
    exact = True

    def encode(self, text: str) -> Sequence[int]:
        return [len(word) for word in text.split()]


def ask(client: httpx.Client, *contents: object) -> httpx.Response:
    messages = [{"role": "user", "content": content} for content in contents]
    return client.post("http://127.0.0.1/v1/chat/completions", json={"messages": messages})


def test_without_a_model_the_prompt_is_counted_and_the_answer_is_empty() -> None:
    wire = Wire(NoModel(Words()))
    with httpx.Client(transport=wire) as client:
        lines = ask(client, "one two", "three").text.split("\n\n")
    assert lines[-2] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == ""
    (exchange,) = wire.exchanges
    assert exchange.prompt == "one two\nthree"
    assert exchange.usage("prompt_tokens") == 3
    assert exchange.usage("completion_tokens") == 0


def test_text_blocks_are_read_like_text() -> None:
    wire = Wire(NoModel(Words()))
    with httpx.Client(transport=wire) as client:
        ask(client, [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], None)
    assert wire.exchanges[0].prompt == "one\ntwo\n"


def test_other_requests_pass_unrecorded() -> None:
    wire = Wire(httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.path)))
    with httpx.Client(transport=wire) as client:
        assert client.get("http://127.0.0.1/health").text == "/health"
    assert not wire.exchanges


def test_the_answer_passes_unchanged_and_reports_its_usage() -> None:
    body = 'data: {"choices": [], "usage": {"prompt_tokens": 12}}\n\ndata: [DONE]\n\n'
    wire = Wire(httpx.MockTransport(lambda _: httpx.Response(200, stream=Parts(body))))
    with httpx.Client(transport=wire) as client:
        assert ask(client, "x").text == body
    assert wire.exchanges[0].usage("prompt_tokens") == 12


@pytest.mark.parametrize("body", ["", 'data: {"choices": []}\n\n', "data: {broken"])
def test_an_answer_without_usage_has_none(body: str) -> None:
    wire = Wire(httpx.MockTransport(lambda _: httpx.Response(200, stream=Parts(body))))
    with httpx.Client(transport=wire) as client:
        ask(client, "x")
    assert wire.exchanges[0].usage("prompt_tokens") is None


class Parts(httpx.SyncByteStream):
    """A body that arrives in pieces."""

    def __init__(self, body: str) -> None:
        self._body = body.encode()

    def __iter__(self):
        for start in range(0, len(self._body), 7):
            yield self._body[start : start + 7]
