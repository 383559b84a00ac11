"""Input items of OpenAI's Responses API: messages, reasoning, calls and their outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ctxguard.errors import InputError
from ctxguard.types import Role
from ctxguard.wire.chat import IMAGE_TOKENS, image_tokens
from ctxguard.wire.draft import Draft
from ctxguard.wire.records import Path, Record, elements, required, text_of, value_of

__all__ = ["read_items"]

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_STANDING = frozenset(
    {"additional_tools", "compaction", "compaction_summary", "compaction_trigger"}
)
"""What stands for everything before it, or holds for everything after it: it never leaves."""
_OTHERS = frozenset({"ai", "chat", "function", "human", "system", "tool"})
"""Types of LangChain's messages, which are no items and would be taken for unknown ones."""
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


def read_items(items: Sequence[Record]) -> Iterator[Draft]:
    """What the items hold, an answer of the model as one: its reasoning, texts and calls.

    The API refuses a call without the reasoning that led to it, and reasoning without what follows.

    Raises:
        InputError: naming the field that an item cannot have so.
    """
    answer: Draft | None = None
    for index, item in enumerate(items):
        draft = _start(index, item)
        if draft.role == "assistant" and not draft.pinned and answer is not None:
            answer.parts += draft.parts
            draft = answer
        elif answer is not None:
            yield answer
            answer = None
        _read(draft, index, item)
        if draft.role != "assistant" or draft.pinned:
            yield draft
        else:
            answer = draft
    if answer is not None:
        yield answer


def _start(index: int, item: Record) -> Draft:
    """An empty draft with the item's role."""
    where, kind, given = f"messages[{index}]", value_of(item, "type"), value_of(item, "role")
    if kind is None or kind == "message":
        role = _ROLES.get(given) if isinstance(given, str) else None
        if role is None:
            names = ", ".join(_ROLES)
            raise InputError(
                f"{where}.role: expected one of {names}; got {given!r}. "
                "An item that is no message has a 'type'"
            )
    elif not isinstance(kind, str) or kind in _OTHERS:
        raise InputError(
            f"{where}.type: expected the type of an input item, got {kind!r}; LangChain's messages "
            "are guarded with guard(x)"
        )
    else:
        role = "tool" if _answered(item, where) else "assistant"
    pinned = kind in _STANDING
    return Draft(role=role, id=f"message-{index + 1}", parts=[(index, ())], pinned=pinned)


def _answered(item: Record, where: str) -> str | None:
    """The id of the call that an item answers, None when it answers none."""
    kind = value_of(item, "type")
    if kind == "function_call_output":
        return required(item, "call_id", where)
    if kind == "mcp_approval_response":
        return required(item, "approval_request_id", where)
    name = value_of(item, "call_id")
    return name if str(kind).endswith("_output") and isinstance(name, str) else None


def _read(draft: Draft, index: int, item: Record) -> None:
    where, kind = f"messages[{index}]", value_of(item, "type")
    draft.answers = _answered(item, where)
    match kind:
        case None | "message":
            _read_content(draft, index, ("content",), value_of(item, "content"), where)
        case "function_call":
            name = required(item, "call_id", where)
            draft.call(name, value_of(item, "name"), value_of(item, "arguments"))
        case "function_call_output" | "custom_tool_call_output":
            _read_content(draft, index, ("output",), value_of(item, "output"), where)
        case "reasoning":
            draft.fixed(value_of(item, "summary"))
            draft.fixed(value_of(item, "content"))
            draft.uncounted.append("reasoning")
        case "item_reference":
            draft.uncounted.append("an item that is only referred to")
        case "image_generation_call":
            draft.image(IMAGE_TOKENS)
        case "computer_call_output":
            draft.image(image_tokens(value_of(item, "output")))
        case _:
            name = value_of(item, "id" if kind == "mcp_approval_request" else "call_id")
            if draft.answers is None and isinstance(name, str):
                draft.calls.append(name)
            draft.opaque(item)


def _read_content(draft: Draft, index: int, path: Path, content: object, where: str) -> None:
    if isinstance(content, str):
        draft.text(index, path, content)
        return
    name = f"{where}.{path[0]}"
    for place, block in enumerate(elements(content, name)):
        match value_of(block, "type"):
            case kind if kind in _TEXTS:
                text = text_of(block, "text", f"{name}[{place}]")
                draft.text(index, (*path, place, "text"), text)
            case "input_image":
                draft.image(image_tokens(block))
            case "input_file" | "input_audio" as kind:
                draft.uncounted.append("audio" if kind == "input_audio" else "a file")
            case _:
                draft.opaque(block)
