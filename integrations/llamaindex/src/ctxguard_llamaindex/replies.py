"""What models and synthesizers of LlamaIndex reply: its text, and the reply with another one.

Nothing that is handed in is changed: a reply that has to differ is a copy, whose thinking, calls,
raw data and whatever else are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeGuard, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from ctxguard.types import Chunk, Message
from ctxguard.verification import Reply
from ctxguard_llamaindex.convert import calls_of
from ctxguard_llamaindex.usage import field_of, load_of

__all__ = [
    "Spoken",
    "asked_messages",
    "calls_tools",
    "delta_of",
    "follows",
    "is_fields",
    "is_spoken",
    "reply_of",
    "results_of",
    "text_of",
    "with_text",
]

Spoken: TypeAlias = "ChatResponse | CompletionResponse | str"
"""What is read as a reply, whole or as a part of a stream."""

_OBSERVATIONS = ("Observation:", "Result of executing the code")
"""How agents that call their tools in words begin the message of a user with the result."""
_ROLES: Mapping[str, MessageRole] = {
    "system": MessageRole.SYSTEM,
    "assistant": MessageRole.ASSISTANT,
    "tool": MessageRole.USER,
}


def is_spoken(part: object) -> TypeGuard[Spoken]:
    """Whether it is something that is read as a reply."""
    return isinstance(part, str | ChatResponse | CompletionResponse)


def text_of(reply: Spoken) -> str:
    """The words of a whole reply, or of a stream up to this part of it."""
    if isinstance(reply, str):
        return reply
    return reply.text if isinstance(reply, CompletionResponse) else reply.message.content or ""


def delta_of(part: Spoken, before: str) -> str:
    """What a part of a stream adds.

    Args:
        part: it says so itself, or has all of the text so far.
        before: the text of the parts before.
    """
    if isinstance(part, str):
        return part
    if part.delta is not None:
        return part.delta
    text = text_of(part)
    return text[len(before) :] if text.startswith(before) else text


def calls_tools(reply: Spoken) -> bool:
    """Whether a reply asks for tools to be called."""
    return isinstance(reply, ChatResponse) and bool(calls_of(reply.message))


def is_fields(text: str) -> bool:
    """Whether a text is JSON for a program: an object or a list, in a code block or not."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    if not text.startswith(("{", "[")):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def with_text(reply: Spoken, text: str, delta: str | None = None) -> Spoken:
    """A copy of a reply with another text.

    Args:
        reply: whole, or a part of a stream.
        text: all of it.
        delta: what a part of a stream adds; None: it is whole.
    """
    if isinstance(reply, str):
        return text if delta is None else delta
    update: dict[str, Any] = {} if delta is None else {"delta": delta}
    if isinstance(reply, CompletionResponse):
        return reply.model_copy(update={**update, "text": text})
    return reply.model_copy(update={**update, "message": _with_text(reply.message, text)})


def follows(last: Spoken, text: str, delta: str) -> Spoken:
    """One more part of a stream, after its last one, that only adds text."""
    part = with_text(last, text, delta)
    if isinstance(part, ChatResponse):
        # Readers add up the thinking of the parts, as they do their text.
        kwargs = cast("dict[str, Any]", part.additional_kwargs)  # pyright: ignore[reportUnknownMemberType] -- a bare dict there
        kept = {name: value for name, value in kwargs.items() if name != "thinking_delta"}
        return part.model_copy(update={"additional_kwargs": kept})
    return part


def _with_text(message: ChatMessage, text: str) -> ChatMessage:
    """A copy of a message with other words, where its first stood, else after its thinking."""
    if text == (message.content or ""):
        return message
    blocks = list[Any](message.blocks)
    places = [place for place, block in enumerate(blocks) if isinstance(block, TextBlock)]
    if places:
        said = blocks[places[0]].model_copy(update={"text": text})
        first = places[0]
    else:
        said = TextBlock(text=text)
        first = sum(isinstance(block, ThinkingBlock) for block in blocks)
    rest = [block for place, block in enumerate(blocks) if place not in places]
    rest.insert(first, said)
    return message.model_copy(update={"blocks": rest})


# -- prompts -------------------------------------------------------------------------------------


def results_of(messages: Iterable[ChatMessage]) -> list[Chunk]:
    """What tools returned, as far as a prompt holds it."""
    chunks: list[Chunk] = []
    for index, message in enumerate(messages):
        text = message.content or ""
        if message.role in (MessageRole.TOOL, MessageRole.FUNCTION) or (
            message.role == MessageRole.USER and text.startswith(_OBSERVATIONS)
        ):
            stated = message.additional_kwargs.get("tool_call_id")
            chunks.append(Chunk(id=str(stated or f"tool-{index}"), text=text))
    return [chunk for chunk in chunks if chunk.text]


def asked_messages(messages: Iterable[Message]) -> list[ChatMessage]:
    """Messages of ctxguard in LlamaIndex's terms."""
    return [
        ChatMessage(role=_ROLES.get(message.role, MessageRole.USER), content=message.text)
        for message in messages
    ]


def reply_of(response: object) -> Reply | str | None:
    """What a model, or a function in its place, replied in ctxguard's terms.

    Raises:
        TypeError: it is no reply.
    """
    if response is None or isinstance(response, str | Reply):
        return response
    if isinstance(response, ChatResponse | CompletionResponse):
        return Reply(text=text_of(response), tokens=_tokens(response))
    raise TypeError(f"expected a reply of a model, got {type(response).__name__}")


def _tokens(response: ChatResponse | CompletionResponse) -> int | None:
    """Tokens of prompt and answer, where the provider's own reply says so."""
    load = load_of(response)
    if load is not None:
        return load.input + load.output
    raw: object = response.raw
    stated = cast("dict[str, Any]", response.additional_kwargs)  # pyright: ignore[reportUnknownMemberType] -- a bare dict there
    totals = (field_of(usage, "total_tokens") for usage in (stated, field_of(raw, "usage"), raw))
    return next((total for total in totals if isinstance(total, int)), None)
