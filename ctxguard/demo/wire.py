"""What goes over the wire to the model: recorded as sent, and answered here when there is no model.

Both frameworks talk to the model through an httpx client that is handed in. Recording there shows
the prompt that the model truly got, whatever framework or guard made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import httpx

from ctxguard.text.tokens import Tokenizer

__all__ = ["Exchange", "NoModel", "Wire"]


class Exchange:
    """One request for an answer and, once it was read, the usage that the server reported."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        """Keep what was asked.

        Args:
            body: the request's JSON.
        """
        self.prompt = _text_of(body)
        """The texts of all messages, joined with newlines."""
        self.received = bytearray()
        """The answer's bytes, as far as they were read."""

    def usage(self, name: str) -> int | None:
        """A number of the server's usage report ('prompt_tokens', …); None when it sent none."""
        for line in reversed(self.received.decode("utf-8", "replace").splitlines()):
            if line.startswith("data: {"):
                usage = _usage(line.removeprefix("data: "))
                if usage:
                    return usage.get(name)
        return None


def _usage(event: str) -> dict[str, int] | None:
    try:
        return json.loads(event).get("usage")
    except ValueError:  # the stream broke off within a line
        return None


class Wire(httpx.BaseTransport):
    """Passes requests on, and keeps those for answers."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        """Record what goes through `inner`."""
        self._inner = inner
        self.exchanges: list[Exchange] = []
        """Oldest first; the caller may empty it."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on."""
        if not request.url.path.endswith("/chat/completions"):
            return self._inner.handle_request(request)
        exchange = Exchange(json.loads(request.read()))
        self.exchanges.append(exchange)
        response = self._inner.handle_request(request)
        stream = cast("httpx.SyncByteStream", response.stream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Tee(stream, exchange.received),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _Tee(httpx.SyncByteStream):
    """A stream whose bytes are kept as they pass."""

    def __init__(self, stream: httpx.SyncByteStream, kept: bytearray) -> None:
        self._stream = stream
        self._kept = kept

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._kept.extend(part)
            yield part

    def close(self) -> None:
        self._stream.close()


class NoModel(httpx.BaseTransport):
    """Stands in for a model: an empty answer at once, and how many tokens the prompt has."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Count with this tokenizer, the texts of the messages alone."""
        self._tokenizer = tokenizer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer like an OpenAI-compatible server that streams."""
        tokens = len(self._tokenizer.encode(_text_of(json.loads(request.read()))))
        usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        lines = [
            _event([{"index": 0, "delta": {"role": "assistant", "content": ""}}], None),
            _event([{"index": 0, "delta": {}, "finish_reason": "stop"}], None),
            _event([], usage),
            "data: [DONE]\n\n",
        ]
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, content="".join(lines).encode())


def _event(choices: Sequence[Mapping[str, Any]], usage: Mapping[str, int] | None) -> str:
    data = {
        "id": "none",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "none",
        "choices": choices,
        "usage": usage,
    }
    return f"data: {json.dumps(data)}\n\n"


def _text_of(body: Mapping[str, Any]) -> str:
    """The texts of a request's messages, joined with newlines."""
    parts: list[str] = []
    for message in body.get("messages", ()):
        content: Any = message.get("content") or ""
        if isinstance(content, str):
            parts.append(content)
        else:
            parts += [str(block.get("text", "")) for block in content]
    return "\n".join(parts)
