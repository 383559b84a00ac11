"""Messages of Anthropic's API: content blocks, tool results inside of the user's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ctxguard.errors import InputError
from ctxguard.wire.draft import SYSTEM, Draft
from ctxguard.wire.records import Path, Record, elements, required, text_of, value_of

__all__ = ["read_message", "read_system"]

IMAGE_TOKENS = 1600
"""Counted for an image: the largest that Anthropic does not scale down, width · height / 750."""
_UNCOUNTED: Mapping[str, str] = {
    "container_upload": "a file",
    "redacted_thinking": "redacted thinking",
}


def read_system(system: object) -> Draft:
    """The system prompt that is an argument of its own: a text or blocks.

    Raises:
        InputError: it is neither.
    """
    draft = Draft(role="system", id="system", parts=[(SYSTEM, ())])
    if isinstance(system, str):
        draft.text(SYSTEM, (), system)
    else:
        _read_blocks(draft, SYSTEM, (), elements(system, "system"), "system")
    return draft


def read_message(index: int, item: Record) -> Iterator[Draft]:
    """What one message holds: each tool result is a Message, and all else together is one.

    Raises:
        InputError: naming the field that a message of this shape cannot have so.
    """
    where, role = f"messages[{index}]", value_of(item, "role")
    if role not in ("user", "assistant", "system"):
        raise InputError(
            f"{where}.role: expected user, assistant or system; got {role!r}. Anthropic's tool "
            "results are blocks of the user's messages"
        )
    content = value_of(item, "content")
    name = f"message-{index + 1}"
    blocks = () if isinstance(content, str) else elements(content, f"{where}.content")
    if any(value_of(block, "type") == "tool_result" for block in blocks):
        yield from _read_results(index, name, blocks)
        return
    draft = Draft(role=role, id=name, parts=[(index, ())])
    _read_content(draft, index, ("content",), content, f"{where}.content")
    yield draft


def _read_results(index: int, name: str, blocks: Sequence[Record]) -> Iterator[Draft]:
    """A Message for each result, and one for what the user says besides."""
    results: list[Draft] = []
    others: list[int] = []
    for place, block in enumerate(blocks):
        if value_of(block, "type") == "tool_result":
            results.append(_read_result(index, place, block))
        else:
            others.append(place)
    # Without a word of the user's, an image beside the results is no question of its own.
    said = any(value_of(blocks[place], "type") == "text" for place in others)
    rest = Draft(role="user", id=f"{name}.rest", parts=[]) if said else results[-1]
    for place in others:
        path: Path = ("content", place)
        rest.parts.append((index, path))
        _read_block(rest, index, path, blocks[place], f"messages[{index}].content[{place}]")
    yield from results
    if said:
        yield rest


def _read_result(index: int, place: int, block: Record) -> Draft:
    where = f"messages[{index}].content[{place}]"
    path: Path = ("content", place)
    draft = Draft(
        role="tool",
        id=f"message-{index + 1}.{place + 1}",
        parts=[(index, path)],
        answers=required(block, "tool_use_id", where),
    )
    content = value_of(block, "content")
    if content is not None:
        _read_content(draft, index, (*path, "content"), content, f"{where}.content")
    return draft


def _read_content(draft: Draft, index: int, path: Path, content: object, where: str) -> None:
    if isinstance(content, str):
        draft.text(index, path, content)
    else:
        _read_blocks(draft, index, path, elements(content, where), where)


def _read_blocks(
    draft: Draft, index: int, path: Path, blocks: Sequence[Record], where: str
) -> None:
    for place, block in enumerate(blocks):
        _read_block(draft, index, (*path, place), block, f"{where}[{place}]")


def _read_block(draft: Draft, index: int, path: Path, block: Record, where: str) -> None:
    match value_of(block, "type"):
        case "text":
            draft.text(index, (*path, "text"), text_of(block, "text", where))
        case "image":
            draft.image(IMAGE_TOKENS)
        case "document":
            draft.fixed(value_of(block, "title"))
            draft.fixed(value_of(block, "context"))
            _read_document(draft, index, (*path, "source"), value_of(block, "source"), where)
        case "search_result":
            draft.fixed(value_of(block, "title"))
            draft.fixed(value_of(block, "source"))
            content = value_of(block, "content")
            _read_content(draft, index, (*path, "content"), content, f"{where}.content")
        case "thinking":
            draft.fixed(value_of(block, "thinking"))
        case "tool_use":
            name = required(block, "id", where)
            draft.call(name, value_of(block, "name"), value_of(block, "input"))
        case "server_tool_use":
            draft.fixed({"name": value_of(block, "name"), "input": value_of(block, "input")})
        case kind if kind in _UNCOUNTED:
            draft.uncounted.append(_UNCOUNTED[kind])
        case _:
            draft.opaque(block)


def _read_document(draft: Draft, index: int, path: Path, source: Record, where: str) -> None:
    match value_of(source, "type"):
        case "text":
            draft.text(index, (*path, "data"), text_of(source, "data", f"{where}.source"))
        case "content":
            content = value_of(source, "content")
            _read_content(draft, index, (*path, "content"), content, f"{where}.source.content")
        case _:
            draft.uncounted.append("a document")
