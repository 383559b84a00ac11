"""A small server on this machine that speaks Anthropic's Messages API, beside the OpenAI one.

Plain and as server-sent events, with tools, answers of a schema and usage. What it answers depends
on the request alone; how it fails, on its script.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.openai_server import (
    RETRY_AFTER,
    Behaviour,
    Json,
    Scripted,
    ScriptedServer,
    example,
    fails,
    scripted_server,
)

ANSWER = "Thirty days, in writing."
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 5,
    "output_tokens": 7,
}
"""Tokens of the prompt that are cached are not among `input_tokens`."""


@pytest.fixture(scope="module")
def _speaking() -> Iterator[ScriptedServer]:
    with scripted_server(BEHAVIOURS) as server:
        yield server


@pytest.fixture
def anthropic_server(_speaking: ScriptedServer) -> ScriptedServer:
    """The server, answering."""
    _speaking.script("answer")
    return _speaking


# -- what it does ---------------------------------------------------------------------------------


def _answer(handler: Scripted, body: Json) -> None:
    if body.get("stream"):
        handler.stream(_events(body), named=True)
    else:
        handler.send(json.dumps(_message(body)))


def _cut(handler: Scripted, body: Json) -> None:
    if body.get("stream"):
        handler.stream(iter(list(_events(body))[:4]), complete=False, named=True)
    else:
        whole = json.dumps(_message(body))
        handler.send(whole[: len(whole) // 2], length=len(whole))


BEHAVIOURS: Mapping[str, Behaviour] = {
    "answer": _answer,
    "too many": fails(429, "rate_limit_error", "", "Too many requests.", RETRY_AFTER),
    "broken": fails(503, "api_error", "", "The server had an error.", RETRY_AFTER),
    "cut": _cut,
}
"""What the server can do, by name."""


# -- answers --------------------------------------------------------------------------------------


def _message(body: Json) -> Json:
    block, reason = _block(body)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": USAGE,
    }


def _block(body: Json) -> tuple[Json, str]:
    """What it says: a call of the first tool, or an answer in the format asked for."""
    blocks = [
        block
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    answered = any(block.get("type") == "tool_result" for block in blocks)
    if body.get("tools") and not answered:
        tool = body["tools"][0]
        called = {"id": "toolu_1", "name": tool["name"], "input": example(tool["input_schema"])}
        return {"type": "tool_use", **called}, "tool_use"
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    text = json.dumps(example(wanted["schema"])) if wanted.get("schema") else ANSWER
    return {"type": "text", "text": text}, "end_turn"


def _events(body: Json) -> Iterator[str]:
    message = _message(body)
    (block,), reason = message["content"], message["stop_reason"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield json.dumps({"type": "message_start", "message": begun})
    text = block["type"] == "text"
    empty = {**block, "text": ""} if text else {**block, "input": {}}
    yield json.dumps({"type": "content_block_start", "index": 0, "content_block": empty})
    pieces = block["text"].split(" ") if text else [json.dumps(block["input"])]
    for place, piece in enumerate(pieces):
        space = " " if text and place else ""
        delta = (
            {"type": "text_delta", "text": space + piece}
            if text
            else {"type": "input_json_delta", "partial_json": piece}
        )
        yield json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})
    yield json.dumps({"type": "content_block_stop", "index": 0})
    ended = {"stop_reason": reason, "stop_sequence": None}
    yield json.dumps({"type": "message_delta", "delta": ended, "usage": USAGE})
    yield json.dumps({"type": "message_stop"})
