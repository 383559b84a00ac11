"""Conversations in the three shapes, and what makes one valid to its provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from anthropic.types import MessageParam
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from ctxguard import Budget, Guard, Policy
from ctxguard.testing import WordTokenizer
from ctxguard.wire import Shape

Item = dict[str, Any]
CHAT = TypeAdapter(list[ChatCompletionMessageParam])
ITEMS = TypeAdapter(list[ResponseInputItemParam])
MESSAGES = TypeAdapter(list[MessageParam])
EVIDENCE = ("The notice period is thirty days.", "Lunch is served at noon, on weekdays only.")
CONTEXT = "\n\n" + "\n\n".join(EVIDENCE)
IMAGE = "data:image/png;base64,iVBORw0KGgo="


def words(number: int, word: str = "word") -> str:
    return " ".join(f"{word}{index}" for index in range(number))


def guard_of(window: int | None = None, **policy: Any) -> Guard:
    """A guard that counts words, and whose whole window is the prompt's."""
    budget = Budget(window=window, reserve_output=0)
    return Guard(Policy(budget=budget, tokenizer=WordTokenizer(), on_error="raise", **policy))


@dataclass(frozen=True)
class Turn:
    """What the user says, the steps that the model takes, and its answer."""

    asked: int
    steps: tuple[tuple[int, ...], ...] = ()
    """For each step the words in the result of each of its parallel calls."""
    answered: int | None = 3
    context: str = ""
    """Evidence that stands behind what the user says."""
    image: bool = False
    beside: bool = False
    """The last results come with a word of the user's, where one message can hold both."""


results = st.lists(st.integers(0, 120), min_size=1, max_size=3).map(tuple)
turns = st.builds(
    Turn,
    asked=st.integers(1, 20),
    steps=st.lists(results, max_size=3).map(tuple),
    answered=st.integers(1, 20),
    image=st.booleans(),
    beside=st.booleans(),
)
conversations = st.builds(
    lambda before, last: [*before, replace(last, answered=None, context=CONTEXT)],
    st.lists(turns, max_size=4),
    turns,
)
"""The last turn is the one that is to be answered."""


def chat(turns: list[Turn]) -> list[Item]:
    messages: list[Item] = [{"role": "system", "content": "Answer briefly.", "x-own": 1}]
    for number, turn in enumerate(turns):
        text = words(turn.asked, f"ask{number}x") + turn.context
        image = {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}
        content = [{"type": "text", "text": text}, image] if turn.image else text
        messages.append({"role": "user", "content": content})
        for step, results in enumerate(turn.steps):
            names = [f"call_{number}_{step}_{place}" for place in range(len(results))]
            function = {"name": "look", "arguments": '{"at": 1}'}
            calls = [{"id": name, "type": "function", "function": function} for name in names]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [
                {"role": "tool", "tool_call_id": name, "content": words(size, "row")}
                for name, size in zip(names, results, strict=True)
            ]
        if turn.answered:
            messages.append({"role": "assistant", "content": words(turn.answered, "say")})
    return messages


def responses(turns: list[Turn]) -> list[Item]:
    items: list[Item] = [{"role": "developer", "content": "Answer briefly."}]
    for number, turn in enumerate(turns):
        text = words(turn.asked, f"ask{number}x") + turn.context
        image = {"type": "input_image", "image_url": IMAGE, "detail": "low"}
        content = [{"type": "input_text", "text": text}, image] if turn.image else text
        items.append({"role": "user", "content": content, "type": "message"})
        for step, results in enumerate(turn.steps):
            names = [f"call_{number}_{step}_{place}" for place in range(len(results))]
            items.append({"type": "reasoning", "id": f"rs_{number}_{step}", "summary": []})
            items += [
                {"type": "function_call", "call_id": name, "name": "look", "arguments": "{}"}
                for name in names
            ]
            items += [
                {"type": "function_call_output", "call_id": name, "output": words(size, "row")}
                for name, size in zip(names, results, strict=True)
            ]
        if turn.answered:
            said = {"type": "output_text", "text": words(turn.answered, "say"), "annotations": []}
            items.append({"type": "reasoning", "id": f"rs_{number}_last", "summary": []})
            message = {"type": "message", "role": "assistant", "id": f"msg_{number}"}
            items.append({**message, "status": "completed", "content": [said]})
    return items


def anthropic(turns: list[Turn]) -> list[Item]:
    messages: list[Item] = []
    for number, turn in enumerate(turns):
        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        blocks: list[Item] = [{"type": "text", "text": words(turn.asked, f"ask{number}x")}]
        blocks += [{"type": "text", "text": turn.context}] if turn.context else []
        blocks += [{"type": "image", "source": source}] if turn.image else []
        messages.append({"role": "user", "content": blocks})
        for step, results in enumerate(turn.steps):
            names = [f"toolu_{number}_{step}_{place}" for place in range(len(results))]
            messages.append({"role": "assistant", "content": _uses(names)})
            blocks = [
                {"type": "tool_result", "tool_use_id": name, "content": words(size, "row")}
                for name, size in zip(names, results, strict=True)
            ]
            blocks[-1]["cache_control"] = {"type": "ephemeral"}
            if turn.beside and step == len(turn.steps) - 1:
                blocks.append({"type": "text", "text": "And say why."})
            messages.append({"role": "user", "content": blocks})
        if turn.answered:
            messages.append({"role": "assistant", "content": words(turn.answered, "say")})
    return messages


def _uses(names: list[str]) -> list[Item]:
    thinking = {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"}
    uses = [{"type": "tool_use", "id": n, "name": "look", "input": {"id": 1}} for n in names]
    return [thinking, *uses]


# -- what a provider refuses ---------------------------------------------------------------------


def check_chat(messages: list[Item]) -> None:
    CHAT.validate_python(messages)
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, "a call without its result"
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    assert not waiting


def check_responses(items: list[Item]) -> None:
    ITEMS.validate_python(items)
    called = [item["call_id"] for item in items if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    assert called == answered
    for item, following in zip(items, [*items[1:], {}], strict=True):
        if item.get("type") == "reasoning":  # refused without what it led to
            assert following.get("type") in ("function_call", "message")
            assert following.get("role", "assistant") == "assistant"


def check_anthropic(messages: list[Item]) -> None:
    MESSAGES.validate_python(messages)
    assert messages[0]["role"] == "user"
    waiting: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        assert message["content"], "an empty message"
        answers = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert answers == waiting, "results come directly after their calls"
        kinds = [block["type"] == "tool_result" for block in blocks]
        assert kinds == sorted(kinds, reverse=True), "results come first in a message"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert message["role"] == "assistant" or not waiting
        assert all(b["text"].strip() for b in blocks if b["type"] == "text"), "an empty block"
    assert not waiting


@dataclass(frozen=True)
class Provider:
    """One shape: how a conversation is written in it, and what is valid."""

    shape: Shape
    write: Callable[[list[Turn]], list[Item]]
    check: Callable[[list[Item]], None]


PROVIDERS = (
    Provider("openai", chat, check_chat),
    Provider("openai-responses", responses, check_responses),
    Provider("anthropic", anthropic, check_anthropic),
)
