"""Messages of OpenAI's chat completions, which most other providers take as well."""

from __future__ import annotations

from collections.abc import Mapping

from ctxguard.errors import InputError
from ctxguard.types import Role
from ctxguard.wire.draft import Draft
from ctxguard.wire.records import Record, elements, required, text_of, value_of

__all__ = ["IMAGE_TOKENS", "image_tokens", "read_message"]

IMAGE_TOKENS = 1105
"""Counted for an image: OpenAI's price of six tiles in high detail, 85 + 6 · 170."""
LOW_DETAIL_TOKENS = 85
"""Counted for an image that asks for low detail."""
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def read_message(index: int, item: Record) -> Draft:
    """What one message holds.

    Raises:
        InputError: naming the field that a message of this shape cannot have so.
    """
    where = f"messages[{index}]"
    given = value_of(item, "role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise InputError(f"{where}.role: expected one of {', '.join(_ROLES)}; got {given!r}")
    draft = Draft(role=role, id=f"message-{index + 1}", parts=[(index, ())])
    if given == "tool":
        draft.answers = required(item, "tool_call_id", where)
    elif given == "function":
        draft.answers = _legacy(required(item, "name", where))
    _read_content(draft, index, item, where)
    if role == "assistant":
        _read_calls(draft, item, where)
    for name in ("name", "refusal", "reasoning_content", "reasoning"):
        draft.fixed(value_of(item, name))
    return draft


def _read_content(draft: Draft, index: int, item: Record, where: str) -> None:
    content = value_of(item, "content")
    if isinstance(content, str):
        draft.text(index, ("content",), content)
        return
    if content is None:
        if draft.role in ("assistant", "tool"):
            return
        raise InputError(f"{where}.content: expected a str or a list of blocks, got None")
    for place, block in enumerate(elements(content, f"{where}.content")):
        match value_of(block, "type"):
            case "text":
                text = text_of(block, "text", f"{where}.content[{place}]")
                draft.text(index, ("content", place, "text"), text)
            case "image_url":
                draft.image(image_tokens(value_of(block, "image_url")))
            case "input_audio" | "file" as kind:
                draft.uncounted.append("audio" if kind == "input_audio" else "a file")
            case _:
                draft.opaque(block)


def _read_calls(draft: Draft, item: Record, where: str) -> None:
    calls = value_of(item, "tool_calls")
    for place, call in enumerate(elements(calls or (), f"{where}.tool_calls")):
        name = required(call, "id", f"{where}.tool_calls[{place}]")
        what = value_of(call, "function") or value_of(call, "custom")
        arguments = value_of(what, "arguments") or value_of(what, "input")
        draft.call(name, value_of(what, "name"), arguments)
    call = value_of(item, "function_call")
    if call is not None:
        name = required(call, "name", f"{where}.function_call")
        draft.call(_legacy(name), name, value_of(call, "arguments"))
    if value_of(item, "audio") is not None:
        draft.uncounted.append("audio")


def image_tokens(image: object) -> int:
    """Tokens that are counted for an image, by the detail that it asks for."""
    return LOW_DETAIL_TOKENS if value_of(image, "detail") == "low" else IMAGE_TOKENS


def _legacy(name: str) -> str:
    """The id that the older function calls do not have: a result follows its call, by name."""
    return f"function {name}"
