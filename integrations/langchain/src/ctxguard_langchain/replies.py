"""The text of what a model returns or yields: read, and told otherwise.

A reply is a message, a generation or a string, whole or a chunk of a stream. What is no text in it
(reasoning, tool calls, usage, ids) is never touched, and what does not change is the same object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)

from ctxguard_langchain.convert import CALL_BLOCKS, texts_of
from ctxguard_langchain.dynamic import Dynamic

__all__ = [
    "calls_tools",
    "fields_of",
    "is_last",
    "message_of",
    "more_text",
    "replies_of",
    "text_of",
    "with_answer",
    "with_replies",
    "with_texts",
]

Content = str | list[str | dict[Any, Any]]
_ABOUT_TEXT = ("annotations", "citations", "logprobs")
"""Keys of a text block that speak of its very words."""


def message_of(reply: object) -> BaseMessage | None:
    """The message that a reply is or holds; None for a completion model's."""
    if isinstance(reply, ChatGeneration):
        return reply.message
    return reply if isinstance(reply, BaseMessage) else None


def text_of(reply: Dynamic) -> list[str]:
    """The texts of a reply, one for each block of text that it has."""
    message = message_of(reply)
    if message is not None:
        return [text for _, text in texts_of(message.content)]
    return [reply.text if isinstance(reply, Generation) else str(reply)]


def calls_tools(reply: Dynamic) -> bool:
    """Whether a reply, or this chunk of one, calls tools of the caller's."""
    message = message_of(reply)
    if message is None:
        return False
    if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        return True
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return True
    content = message.content
    if not isinstance(content, str) and any(
        isinstance(block, dict) and block.get("type") in CALL_BLOCKS for block in content
    ):
        return True
    return bool(message.additional_kwargs.get("function_call"))


def fields_of(reply: Dynamic, schemas: Iterable[str] | None) -> str:
    """The JSON text of a structured reply: its call of a schema, else its text; else blank.

    Args:
        reply: a whole one.
        schemas: the names of the tools that stand for one; None: every tool does.
    """
    message = message_of(reply)
    names = None if schemas is None else set(schemas)
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            if names is None or call["name"] in names:
                return json.dumps(call["args"], ensure_ascii=False, default=str)
    return "" if calls_tools(reply) else "".join(text_of(reply))


def is_last(reply: Dynamic) -> bool:
    """Whether a chunk says that it is the last one of its message."""
    return getattr(message_of(reply), "chunk_position", None) == "last"


# -- told otherwise -----------------------------------------------------------------------------


def with_texts(reply: Dynamic, texts: Sequence[str]) -> Dynamic:
    """A reply with these texts in place of its own, block by block."""
    if list(texts) == text_of(reply):
        return reply
    message = message_of(reply)
    if message is None:
        return _completed(reply, "".join(texts))
    return _with_content(reply, _replaced(message.content, texts))


def with_answer(reply: Dynamic, answer: str) -> Dynamic:
    """A whole reply that says something else: the blocks that begin it as before stay."""
    if "".join(text_of(reply)) == answer:
        return reply
    message = message_of(reply)
    if message is None:
        return _completed(reply, answer)
    if isinstance(message.content, str):
        return _with_content(reply, answer)
    return _with_content(reply, _answered(message.content, answer))


def more_text(reply: Dynamic, text: str) -> Dynamic:
    """A further chunk with text, to follow this one of the same stream."""
    message = message_of(reply)
    if message is None:
        return GenerationChunk(text=text) if isinstance(reply, Generation) else text
    content = message.content
    more: Content = text
    if not isinstance(content, str):
        index = next((place for place, _ in reversed(list(texts_of(content)))), None)
        more = [_more_block(None if index is None else content[index], text)]
    made = AIMessageChunk(content=more, id=message.id)
    return ChatGenerationChunk(message=made) if isinstance(reply, ChatGeneration) else made


def _completed(reply: Dynamic, text: str) -> Dynamic:
    return reply.model_copy(update={"text": text}) if isinstance(reply, Generation) else text


def _with_content(reply: Dynamic, content: Content) -> Dynamic:
    old = cast("BaseMessage", message_of(reply))
    message = old.model_copy(update={"content": content})
    if not isinstance(reply, ChatGeneration):
        return message
    text = ChatGeneration(message=message).text
    return reply.model_copy(update={"message": message, "text": text})


def _replaced(content: Content, texts: Sequence[str]) -> Content:
    if isinstance(content, str):
        return texts[0]
    new = list(content)
    for (index, old), text in zip(texts_of(content), texts, strict=True):
        block = new[index]
        if text != old:
            new[index] = text if isinstance(block, str) else {**block, "text": text}
    return new


def _answered(content: list[str | dict[Any, Any]], answer: str) -> Content:
    """The answer in the blocks of text that there are; what is left over is no block any more."""
    rest, new = answer, list[str | dict[Any, Any]]()
    texts = dict(texts_of(content))
    last = max(texts, default=-1)
    for index, block in enumerate(content):
        text = texts.get(index)
        if text is None or (rest.startswith(text) and index != last):
            new.append(block)
            rest = rest.removeprefix(text or "")
        elif rest:
            new.append(block if text == rest else _block(block, rest))
            rest = ""
    return [*new, {"type": "text", "text": rest}] if rest else new


def _block(block: str | dict[Any, Any], text: str) -> str | dict[Any, Any]:
    if isinstance(block, str):
        return text
    return {**{k: v for k, v in block.items() if k not in _ABOUT_TEXT}, "text": text}


def _more_block(block: str | dict[Any, Any] | None, text: str) -> str | dict[Any, Any]:
    """A block that is merged into the one before, which is told by its index."""
    if isinstance(block, str):
        return text
    index = {} if block is None or "index" not in block else {"index": block["index"]}
    return {"type": "text", "text": text, **index}


# -- the replies of one call --------------------------------------------------------------------


def replies_of(result: Dynamic) -> Iterator[Dynamic]:
    """Every reply in what a method of a model returned."""
    if isinstance(result, ChatResult):
        yield from result.generations
    elif isinstance(result, LLMResult):
        for generations in result.generations:
            yield from generations
    elif isinstance(result, BaseMessage | str):
        yield result


def with_replies(result: Dynamic, replies: Sequence[Dynamic]) -> Dynamic:
    """The result with these replies in place of its own."""
    if all(new is old for new, old in zip(replies, replies_of(result), strict=True)):
        return result
    left = iter(replies)
    if isinstance(result, ChatResult):
        return result.model_copy(update={"generations": list(left)})
    if isinstance(result, LLMResult):
        made = [[next(left) for _ in generations] for generations in result.generations]
        return result.model_copy(update={"generations": made})
    return next(left)
