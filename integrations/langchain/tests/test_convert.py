"""Conversion of messages and documents: complete, without a change to what is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.tools import tool
from pydantic import BaseModel

from ctxguard import Guard, Policy
from ctxguard.window import Cut, Fitted, apply_cuts
from ctxguard_langchain import convert
from ctxguard_langchain.testing import ScriptedChatModel


def words(text: str) -> int:
    return len(text.split())


def converted(*messages: BaseMessage) -> Any:
    return convert.messages_of(messages, words)


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (SystemMessage("x"), "system"),
        (HumanMessage("x"), "user"),
        (AIMessage("x"), "assistant"),
        (AIMessageChunk(content="x"), "assistant"),
        (ToolMessage("x", tool_call_id="1"), "tool"),
        (FunctionMessage(content="x", name="f"), "tool"),
        (ChatMessage(content="x", role="developer"), "system"),
        (ChatMessage(content="x", role="Assistant"), "assistant"),
        (ChatMessage(content="x", role="anything"), "user"),
    ],
)
def test_roles(message: BaseMessage, role: str) -> None:
    assert converted(message)[0].role == role


def test_calls_and_results_are_linked() -> None:
    calls: Any = [{"name": "f", "args": {"a": 1}, "id": "1"}, {"name": "f", "args": {}, "id": "2"}]
    broken: Any = [{"name": "f", "args": "{", "id": "3", "error": "not JSON"}]
    call, result = converted(
        AIMessage("", tool_calls=calls, invalid_tool_calls=broken),
        ToolMessage("x", tool_call_id="1"),
    )
    assert call.tool_calls == ("1", "2", "3")
    assert call.extra_tokens > 0
    assert result.tool_call_id == "1"


def test_a_call_is_counted_once_however_often_it_is_written() -> None:
    calls: Any = [{"name": "search", "args": {"query": "the notice period"}, "id": "1"}]
    block = {"type": "tool_use", "id": "1", "name": "search", "input": calls[0]["args"]}
    plain, blocks = converted(AIMessage("", tool_calls=calls), AIMessage([block], tool_calls=calls))
    assert blocks.extra_tokens == plain.extra_tokens > 0


def test_what_is_no_text_is_counted() -> None:
    image: Any = {"type": "image_url", "image_url": {"url": "data:"}}
    small: Any = {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}}
    reasoning: Any = {"type": "reasoning", "reasoning": "one two three four"}
    texts: Any = [{"type": "text", "text": "one"}, "two"]
    large, low, thought, text = converted(
        *(HumanMessage(content=c) for c in ([image], [small], [reasoning], texts))
    )
    assert large.extra_tokens == convert.MEDIA_TOKENS
    assert low.extra_tokens == convert.LOW_DETAIL_TOKENS
    assert thought.extra_tokens >= 4
    assert (text.text, text.extra_tokens) == ("onetwo", 0)


def test_ids_are_unique_or_blank() -> None:
    messages = converted(HumanMessage("x", id="1"), HumanMessage("y", id="1"), HumanMessage("z"))
    assert [message.id for message in messages] == ["1", "", ""]


@given(
    blocks=st.lists(st.text(max_size=20), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 80), max_size=6, unique=True),
)
def test_blocks_are_cut_as_their_joined_text_is(blocks: list[str], places: list[int]) -> None:
    joined = "".join(blocks)
    ends = sorted(place for place in places if place <= len(joined))
    cuts = tuple(Cut(a, b, "·") for a, b in zip(ends[::2], ends[1::2], strict=False))
    content: Any = [{"type": "text", "text": text} for text in blocks]
    message = HumanMessage(content)
    given_content = json.dumps(message.content)
    fitted = Fitted(messages=(), positions=(0,), cuts={0: cuts} if cuts else {})
    (kept,) = convert.apply_fitted([message], fitted)
    shown: Any = kept.content
    assert "".join(block["text"] for block in shown) == apply_cuts(joined, cuts)
    assert json.dumps(message.content) == given_content
    (plain,) = convert.apply_fitted([HumanMessage(joined)], fitted)
    assert plain.content == apply_cuts(joined, cuts)


@given(st.lists(st.text(max_size=30), max_size=8))
def test_documents_that_are_not_touched_come_back_themselves(texts: list[str]) -> None:
    documents = [Document(page_content=text) for text in texts]
    prepared = Guard(Policy.off()).prepare("q", convert.chunks_of(documents))
    kept = convert.apply_prepared(documents, prepared)
    assert all(a is b for a, b in zip(kept, documents, strict=True))


# -- tools --------------------------------------------------------------------------------------


class Answer(BaseModel):
    """What is answered."""

    text: str


@tool
def look(query: str) -> str:
    """Look something up."""
    return query


@pytest.mark.parametrize(
    ("kwargs", "parts"),
    [
        ({}, []),
        ({"tools": [], "functions": None}, []),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ['"name": "f"']),
        ({"tools": [look, Answer]}, ["Look something up.", "What is answered."]),
        ({"functions": [{"name": "g"}]}, ['"name": "g"']),
        ({"response_format": Answer}, ["What is answered."]),
        ({"response_format": {"type": "json_object"}}, ["json_object"]),
        ({"tools": [object()]}, ["object object"]),
        ({"tools": [{(1, 2): "odd key"}]}, ["odd key"]),
    ],
)
def test_tools_become_text(kwargs: dict[str, Any], parts: list[str]) -> None:
    text = convert.tools_text(kwargs)
    assert bool(text) == bool(parts)
    assert all(part in text for part in parts)


# -- cards --------------------------------------------------------------------------------------


def test_a_card_is_what_the_model_says_of_itself() -> None:
    model = ScriptedChatModel(
        model_name="gpt-4o-mini", profile={"max_input_tokens": 5000, "max_output_tokens": 100}
    )
    card = convert.card_of(model)
    assert (card.name, card.window, card.max_output) == ("gpt-4o-mini", 5000, 100)
    assert card.source == "LangChain profile"
    assert convert.card_of(model, {"model": "other"}).name == "other"
    known = convert.card_of(ScriptedChatModel(model_name="gpt-4o-mini"))
    assert known.window is not None
    assert known.source == "genai-prices"
    assert convert.card_of(object()).name == ""


# -- questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_input",
    [
        "q?",
        {"question": "q?", "input": "other"},
        {"input": "q?"},
        {"query": "q?", "filter": 1},
        {"messages": [("user", "earlier"), ("ai", "answer"), ("user", "q?")]},
        {"messages": [{"role": "user", "content": "q?"}, {"role": "assistant", "content": "x"}]},
        {"input": {"question": "q?"}},
        [HumanMessage("earlier"), AIMessage("x"), HumanMessage("q?"), AIMessage("y")],
        [HumanMessage([{"type": "text", "text": "q?"}])],
        HumanMessage("q?"),
        StringPromptValue(text="q?"),
        ChatPromptValue(messages=[SystemMessage("s"), HumanMessage("q?")]),
    ],
    ids=repr,
)
def test_the_question_is_found(given_input: Any) -> None:
    assert convert.question_of(given_input) == "q?"


def test_what_is_no_question_is_none() -> None:
    looping: dict[str, Any] = {}
    looping["input"] = looping
    for other in (None, 3, [], {}, {"x": "y"}, [1, 2], object(), looping, iter("q")):
        assert convert.question_of(other) == ""
    assert convert.short("word " * 1000) == ""
