"""The only file that converts framework types: Document and Chunk, BaseMessage and Message.

Conversion never mutates what it is given. What ctxguard did not change comes back as the same
object; what it changed comes back as a copy with its id, class and other blocks intact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from numbers import Real
from pathlib import PurePath
from typing import Any, TypeGuard, cast

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import PromptValue
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from ctxguard.guard import Prepared
from ctxguard.models import ModelCard, model_card
from ctxguard.types import Chunk, JsonValue, Message, Role
from ctxguard.window import Cut, Fitted, apply_cuts
from ctxguard_langchain.dynamic import Dynamic, class_of

__all__ = [
    "ALSO_IN",
    "CALL_BLOCKS",
    "apply_fitted",
    "apply_prepared",
    "are_documents",
    "asked_messages",
    "card_of",
    "chunks_of",
    "messages_of",
    "prompt_message",
    "question_of",
    "results_of",
    "short",
    "texts_of",
    "tools_text",
]

ALSO_IN = "ctxguard_also_in"
"""Metadata key of a kept document: the sources of its copies that were left out."""
_SOURCES = ("source", "file_path", "file_name", "filename", "file", "url", "path")
_SCORES = ("relevance_score", "score")
_QUESTIONS = ("question", "query", "input", "messages", "text")
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "ai": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
CALL_BLOCKS = frozenset({"tool_use", "tool_call", "function_call", "input_json_delta"})
"""Types of content blocks by which a model calls tools of the caller's."""
_MEDIA_BLOCKS = frozenset(
    {"image", "image_url", "input_image", "audio", "input_audio", "video", "file"}
)
MEDIA_TOKENS = 1105
"""Counted for an image or a file: OpenAI's price of six tiles in high detail, 85 + 6 · 170."""
LOW_DETAIL_TOKENS = 85
"""Counted for an image that asks for low detail."""
LONGEST_QUESTION = 2000
"""Characters. A longer input is rather a prompt or a document than what is asked."""
_DEPTH = 6
_PLAIN = frozenset({str, int, float, bool, type(None)})


# -- documents ----------------------------------------------------------------------------------


def are_documents(value: object) -> TypeGuard[list[Document]]:
    """Whether this is what a retriever should return."""
    return isinstance(value, list) and all(
        isinstance(item, Document) for item in cast("list[object]", value)
    )


def chunks_of(documents: Iterable[Document]) -> list[Chunk]:
    """Chunks for documents, best-ranked first; one without an id is named by its position."""
    return [
        Chunk(
            id=str(document.id or "") or f"document-{index + 1}",
            text=document.page_content,
            source=_source(document.metadata),
            score=_score(document.metadata),
            metadata={str(key): _json(value) for key, value in document.metadata.items()},
        )
        for index, document in enumerate(documents)
    ]


def apply_prepared(documents: Sequence[Document], prepared: Prepared) -> list[Document]:
    """The documents that were kept, in their new order; only what changed is a copy."""
    kept: list[Document] = []
    for position, chunk in zip(prepared.positions, prepared.chunks, strict=True):
        document = documents[position]
        update: dict[str, Any] = {}
        if chunk.text != document.page_content:
            update["page_content"] = chunk.text
        if chunk.also_in:
            update["metadata"] = {**document.metadata, ALSO_IN: list(chunk.also_in)}
        kept.append(document.model_copy(update=update) if update else document)
    return kept


def _source(metadata: Mapping[str, Any]) -> str:
    for key in _SOURCES:
        value = metadata.get(key)
        if isinstance(value, str | PurePath) and str(value):
            return str(value)
    return ""


def _score(metadata: Mapping[str, Any]) -> float | None:
    for key in _SCORES:
        value = metadata.get(key)
        if _is_number(value):
            return float(value)
    return None


def _shown(value: object) -> str:
    try:
        return str(value)[:200]
    except Exception:
        return f"<{class_of(value).__name__}>"


def _is_number(value: object) -> TypeGuard[float]:
    """Whether this is a real number; numpy's scalars are, True is not."""
    if type(value) in _PLAIN:  # asking an abstract class takes a microsecond
        return type(value) in (int, float)
    return isinstance(value, Real) and value is not True and value is not False


def _json(value: object, depth: int = 0) -> JsonValue:
    """A value as JSON can hold it, else as a short text, so that a ledger can be copied."""
    if type(value) in _PLAIN or isinstance(value, str | bool | int | float):
        return cast("JsonValue", value)
    if isinstance(value, Mapping) and depth < _DEPTH:
        items = cast("Mapping[object, object]", value).items()
        return {str(key): _json(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH:
        return [_json(item, depth + 1) for item in cast("Iterable[object]", value)]
    return _shown(cast("object", value))


# -- messages -----------------------------------------------------------------------------------


def messages_of(messages: Sequence[BaseMessage], count: Callable[[str], int]) -> list[Message]:
    """Messages for a chat model's input, in order.

    Args:
        messages: what the model is called with.
        count: tokens of a text; for tool-call arguments and other blocks that are not text.
    """
    seen: set[str] = set()
    converted: list[Message] = []
    for message in messages:
        name = str(message.id or "")
        converted.append(_message(message, "" if name in seen else name, count))
        seen.add(name)
    return converted


def prompt_message(prompt: str) -> Message:
    """A Message for the prompt of a model that completes text."""
    return Message(role="user", text=prompt)


def apply_fitted(messages: list[BaseMessage], fitted: Fitted) -> list[BaseMessage]:
    """The messages that were kept; only those that were cut are copies."""
    if not fitted.cuts and fitted.positions == tuple(range(len(messages))):
        return messages
    kept: list[BaseMessage] = []
    for position in fitted.positions:
        message = messages[position]
        cuts = fitted.cuts.get(position)
        if cuts:
            message = message.model_copy(update={"content": _cut_content(message.content, cuts)})
        kept.append(message)
    return kept


def _message(message: BaseMessage, name: str, count: Callable[[str], int]) -> Message:
    return Message(
        role=_role(message),
        text="".join(text for _, text in texts_of(message.content)),
        id=name,
        tool_calls=_call_ids(message),
        tool_call_id=message.tool_call_id if isinstance(message, ToolMessage) else None,
        extra_tokens=sum(_extra_tokens(message, count)),
    )


def _role(message: BaseMessage) -> Role:
    kind = message.type.removesuffix("MessageChunk").lower()
    if kind == "chat":
        kind = str(getattr(message, "role", "")).lower()
    return _ROLES.get(kind, "user")


def _call_ids(message: BaseMessage) -> tuple[str, ...]:
    if not isinstance(message, AIMessage):
        return ()
    calls = (*message.tool_calls, *message.invalid_tool_calls)
    return tuple(name for call in calls if (name := call.get("id")))


def results_of(messages: Iterable[object], without: Set[str] = frozenset()) -> list[Chunk]:
    """What the tools of a conversation returned, a chunk for each result.

    Args:
        messages: the conversation.
        without: names of tools that only say again what the model told them.
    """
    return [
        Chunk(
            id=f"tool-{message.tool_call_id or number}",
            text="\n".join(text for _, text in texts_of(message.content)),
            source=message.name or "",
        )
        for number, message in enumerate(messages)
        if isinstance(message, ToolMessage)
        and message.status != "error"
        and message.name not in without
    ]


def asked_messages(messages: Iterable[Message]) -> list[BaseMessage]:
    """LangChain's messages for those with which a repair asks."""
    kinds = {"system": SystemMessage, "assistant": AIMessage}
    return [kinds.get(message.role, HumanMessage)(message.text) for message in messages]


def texts_of(content: str | list[str | dict[Any, Any]]) -> Iterator[tuple[int, str]]:
    """The text blocks of a message's content, with their index."""
    for index, block in enumerate([content] if isinstance(content, str) else content):
        if isinstance(block, str):
            yield index, block
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            yield index, block["text"]


def _cut_content(
    content: str | list[str | dict[Any, Any]], cuts: Sequence[Cut]
) -> str | list[str | dict[Any, Any]]:
    """The content with its text cut in place; every other block is the same object."""
    if isinstance(content, str):
        return apply_cuts(content, cuts)
    new = list(content)
    offset = 0
    for index, text in texts_of(content):
        shorter = apply_cuts(text, cuts, offset)
        offset += len(text)
        if shorter != text:
            block = new[index]
            new[index] = shorter if isinstance(block, str) else {**block, "text": shorter}
    return new


def _extra_tokens(message: BaseMessage, count: Callable[[str], int]) -> Iterator[int]:
    """Tokens of what is not text: names, tool calls, media, reasoning."""
    if message.name:
        yield count(message.name)
    calls = isinstance(message, AIMessage) and bool(
        message.tool_calls or message.invalid_tool_calls
    )
    if isinstance(message, AIMessage):
        for call in (*message.tool_calls, *message.invalid_tool_calls):
            yield count(_dump({"name": call.get("name"), "arguments": call.get("args")}))
    for block in [] if isinstance(message.content, str) else message.content:
        if isinstance(block, dict):
            yield _block_tokens(block, count, calls=calls)


def _block_tokens(block: Mapping[str, Any], count: Callable[[str], int], *, calls: bool) -> int:
    kind = block.get("type")
    if kind == "text" or (calls and kind in CALL_BLOCKS):
        return 0
    if kind in _MEDIA_BLOCKS:
        image: Any = block.get("image_url")
        place = cast("Mapping[str, Any]", image if isinstance(image, Mapping) else block)
        detail = place.get("detail")
        return LOW_DETAIL_TOKENS if detail == "low" else MEDIA_TOKENS
    return count(_dump(block))


# -- what surrounds a call ----------------------------------------------------------------------


def tools_text(kwargs: Mapping[str, Any]) -> str:
    """The tool schemas and the response format of a call as JSON, blank without any."""
    parts = [
        _dump([_schema(tool) for tool in cast("Iterable[object]", tools)])
        for key in ("tools", "functions")
        if isinstance(tools := kwargs.get(key), list | tuple) and tools
    ]
    if kwargs.get("response_format"):
        parts.append(_dump(_schema(kwargs["response_format"])))
    return "\n".join(parts)


def _schema(tool: Dynamic) -> object:
    """A tool as the provider gets it; what cannot be converted counts as its own text."""
    if isinstance(tool, BaseTool | type) or callable(tool):
        try:
            return convert_to_openai_tool(tool)
        except Exception:
            return tool
    return tool


def _dump(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no strings, cycles
        return str(value)


def card_of(model: object, kwargs: Mapping[str, Any] | None = None) -> ModelCard:
    """What a LangChain model says of itself: its name, and its profile's limits.

    `max_input_tokens` of a profile is taken as the whole window. Some models take that much input
    *besides* their output; for them this is cautious by the reserve for the answer.
    """
    profile: object = getattr(model, "profile", None)
    limits = cast("Mapping[str, object]", profile if isinstance(profile, Mapping) else {})
    window = _tokens(limits.get("max_input_tokens"))
    return model_card(
        _model_name(model, kwargs or {}),
        window=window,
        max_output=_tokens(getattr(model, "max_tokens", None))
        or _tokens(limits.get("max_output_tokens")),
        source="LangChain profile" if window else "",
    )


def _model_name(model: object, kwargs: Mapping[str, Any]) -> str:
    names = (kwargs.get("model"), *(getattr(model, name, None) for name in _MODEL_NAMES))
    return next((name for name in names if isinstance(name, str) and name), "")


_MODEL_NAMES = ("model_name", "model", "model_id", "azure_deployment", "deployment_name")


def _tokens(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if value > 0 else None


def question_of(value: object, depth: int = 0) -> str:
    """What is asked, as far as a chain's input says: a text, the last user message, a usual key."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseMessage):
        return "".join(text for _, text in texts_of(value.content))
    if isinstance(value, PromptValue):
        return question_of(value.to_messages())
    if depth < _DEPTH and isinstance(value, Mapping):
        mapping = cast("Mapping[str, object]", value)
        found = (question_of(mapping[key], depth + 1) for key in _QUESTIONS if key in mapping)
        return next((question for question in found if question), "")
    if isinstance(value, list | tuple):
        return _last_user_text(cast("Sequence[object]", value))
    return ""


def short(question: str) -> str:
    """The question if it is short enough to be one, and not a whole prompt; else blank."""
    return question if len(question) <= LONGEST_QUESTION else ""


def _last_user_text(messages: Sequence[object]) -> str:
    for message in reversed(messages):
        if isinstance(message, BaseMessage) and message.type == "human":
            return question_of(message)
        role, text = _loose(message)
        if role in ("user", "human"):
            return text
    return ""


def _loose(message: object) -> tuple[str, str]:
    """Role and text of a message written as a dict or a pair, as LangChain accepts them."""
    if isinstance(message, Mapping):
        mapping = cast("Mapping[str, object]", message)
        role, text = mapping.get("role") or mapping.get("type"), mapping.get("content")
    elif isinstance(message, tuple) and len(cast("tuple[object, ...]", message)) == 2:
        role, text = cast("tuple[object, object]", message)
    else:
        return "", ""
    return (role, text) if isinstance(role, str) and isinstance(text, str) else ("", "")
