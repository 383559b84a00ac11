"""A conversation that every integration can read, whoever's model said what in it.

LlamaIndex's messages are the same for all providers, but for what each leaves in them: arguments
as JSON or as a mapping, calls without an id, the provider's own objects, thinking that only its
own provider takes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    MessageRole,
    ThinkingBlock,
    ToolCallBlock,
)

from ctxguard_llamaindex.usage import field_of

__all__ = ["portable"]

_CALLS, _ANSWERS = "tool_calls", "tool_call_id"
"""Keys of `ChatMessage.additional_kwargs`."""
_SIGNED = "signature"
"""What Anthropic knows its own thinking by, and does not take any without."""


def portable(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages, with tool calls in LlamaIndex's own blocks, and an id for each.

    What is so already is the message that was handed in.
    """
    waiting: list[ToolCallBlock] = []  # with the ids that they have now
    return [_message(index, message, waiting) for index, message in enumerate(messages)]


def _message(index: int, message: ChatMessage, waiting: list[ToolCallBlock]) -> ChatMessage:
    if message.role in (MessageRole.TOOL, MessageRole.FUNCTION):
        return _answer(message, waiting)
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    read = calls or _stated(message)
    others = [block for block in message.blocks if not isinstance(block, ToolCallBlock)]
    kept = [block for block in others if not _is_foreign(block)]
    named = [_named(call, f"call_{index}_{place}") for place, call in enumerate(read)]
    waiting += named
    same = len(named) == len(calls) and all(a is b for a, b in zip(named, calls, strict=True))
    if same and len(kept) == len(others) and not (calls and _CALLS in message.additional_kwargs):
        return message
    kwargs = {name: value for name, value in message.additional_kwargs.items() if name != _CALLS}
    update: dict[str, Any] = {"blocks": [*kept, *named]}
    if named:
        update["additional_kwargs"] = kwargs
    return message.model_copy(update=update)


def _answer(message: ChatMessage, waiting: list[ToolCallBlock]) -> ChatMessage:
    """What a tool returned, under the id of its call; some integrations go by the tool's name."""
    stated: object = message.additional_kwargs.get(_ANSWERS)
    found = next((call for call in waiting if call.tool_call_id == stated), None)
    if found is None:
        found = next((call for call in waiting if not stated or call.tool_name == stated), None)
    if found is None:
        return message
    waiting.remove(found)
    if found.tool_call_id == stated:
        return message
    kwargs = {**message.additional_kwargs, _ANSWERS: found.tool_call_id}
    return message.model_copy(update={"additional_kwargs": kwargs})


def _named(call: ToolCallBlock, name: str) -> ToolCallBlock:
    given = _arguments(call.tool_kwargs)
    if call.tool_call_id and given is call.tool_kwargs:
        return call
    return call.model_copy(update={"tool_call_id": call.tool_call_id or name, "tool_kwargs": given})


def _arguments(given: object) -> Any:  # noqa: ANN401 -- of any tool
    """The arguments of a call as a mapping; what is no JSON stays as it is."""
    if not isinstance(given, str):
        return given
    try:
        read: object = json.loads(given) if given.strip() else {}
    except (ValueError, RecursionError):
        return given
    return cast("dict[str, Any]", read) if isinstance(read, dict) else given


def _stated(message: ChatMessage) -> list[ToolCallBlock]:
    """The calls that are only in a provider's own objects; none where one cannot be read."""
    stated: object = message.additional_kwargs.get(_CALLS)
    calls = (
        [_read(call) for call in cast("list[object]", stated)] if isinstance(stated, list) else []
    )
    return [call for call in calls if call is not None] if None not in calls else []


def _read(call: object) -> ToolCallBlock | None:
    said: object = field_of(call, "function") or call
    name: object = field_of(said, "name")
    given: object = field_of(said, "arguments")
    given = field_of(said, "input") if given is None else given
    if not isinstance(name, str) or not isinstance(given, str | Mapping | None):
        return None
    own: object = field_of(call, "id")
    kwargs = dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else given or {}
    return ToolCallBlock(
        tool_call_id=own if isinstance(own, str) else None, tool_name=name, tool_kwargs=kwargs
    )


def _is_foreign(block: object) -> bool:
    return isinstance(block, ThinkingBlock) and not block.additional_information.get(_SIGNED)
