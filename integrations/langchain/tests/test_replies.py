"""The text of replies: read, and told otherwise, with everything beside it as it was."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, Generation, GenerationChunk, LLMResult

from ctxguard_langchain.replies import (
    calls_tools,
    fields_of,
    more_text,
    replies_of,
    text_of,
    with_answer,
    with_replies,
    with_texts,
)
from ctxguard_langchain.schemas import note_schemas, schemas_of
from integrations.langchain.tests.speaking import Speaker, pieces

CALL: Any = {"name": "Fee", "args": {"fee": "$5"}, "id": "1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("text", False),
        (Generation(text="text"), False),
        (AIMessage(content="text"), False),
        (AIMessage(content="", tool_calls=[CALL]), True),
        (
            AIMessageChunk(
                content="",
                tool_call_chunks=[
                    {"name": None, "args": "{", "id": None, "index": 0, "type": "tool_call_chunk"}
                ],
            ),
            True,
        ),
        (AIMessage(content=[{"type": "tool_use", "id": "1"}]), True),
        (AIMessage(content=[{"type": "text", "text": "text"}, "text"]), False),
        (ChatGeneration(message=AIMessage(content="", tool_calls=[CALL])), True),
    ],
)
def test_what_calls_tools(reply: Any, expected: bool) -> None:
    assert calls_tools(reply) is expected


def test_fields_are_a_call_of_a_schema_or_the_text() -> None:
    calling = AIMessage(content="hm", tool_calls=[CALL])
    assert fields_of(calling, None) == fields_of(calling, ["Fee"]) == '{"fee": "$5"}'
    assert fields_of(calling, ["Other"]) == ""
    assert fields_of(AIMessage(content='{"fee": 5}'), ()) == fields_of('{"fee": 5}', None)


def test_an_answer_is_told_in_the_blocks_that_there_are() -> None:
    image = {"type": "image", "url": "https://example.invalid"}
    message = AIMessage(content=["One. ", image, {"type": "text", "text": "Two."}], id="1")
    assert with_answer(message, "One. Two.") is message
    assert with_answer(message, "One. Three.").content == [
        "One. ",
        image,
        {"type": "text", "text": "Three."},
    ]
    assert with_answer(message, "Three.").content == ["Three.", image]
    assert with_answer(message, "One. Two. Three.").content[-1]["text"] == "Two. Three."
    assert with_answer(message, "").content == [image]
    only = AIMessage(content=[image])
    assert with_answer(only, "One.").content == [image, {"type": "text", "text": "One."}]
    assert with_answer("One.", "Two.") == "Two."
    assert with_answer(Generation(text="One.", generation_info={"n": 1}), "Two.") == Generation(
        text="Two.", generation_info={"n": 1}
    )


def test_what_does_not_change_is_the_same_object() -> None:
    for reply in (AIMessage(content="a"), Generation(text="a"), "a", AIMessage(content=["a"])):
        assert with_texts(reply, text_of(reply)) is reply
        assert with_answer(reply, "a") is reply


def test_more_text_is_merged_into_the_text_before() -> None:
    block = {"type": "text", "text": "a", "index": 3, "annotations": []}
    chunk = AIMessageChunk(content=[{"type": "reasoning", "index": 2}, block], id="1")
    assert (chunk + more_text(chunk, "b")).text == "ab"
    assert len((chunk + more_text(chunk, "b")).content) == 2
    listed = AIMessageChunk(content=["a"])
    assert (listed + more_text(listed, "b")).text == "ab"
    assert more_text(GenerationChunk(text="a"), "b") == GenerationChunk(text="b")
    assert more_text("a", "b") == "b"
    silent = AIMessageChunk(content=[{"type": "reasoning", "index": 0}])
    assert (silent + more_text(silent, "b")).text == "b"


def test_the_replies_of_a_result_are_put_back_where_they_were() -> None:
    result = LLMResult(generations=[[Generation(text="a"), Generation(text="b")], []])
    assert with_replies(result, list(replies_of(result))) is result
    changed = with_replies(result, [Generation(text="a"), Generation(text="c")])
    assert [[one.text for one in row] for row in changed.generations] == [["a", "c"], []]
    assert list(replies_of(None)) == []
    assert with_replies(None, []) is None


def test_schemas_are_told_from_tools_by_their_names() -> None:
    from ctxguard import guard, handle

    owner = handle(guard(Speaker(replies=[pieces("a")])))
    tools: Any = [{"name": "a"}, {"type": "function", "function": {"name": "Fee"}}, Speaker]
    assert schemas_of(owner, {"tools": tools}) == frozenset()
    note_schemas(owner, ["Fee", "Other"])
    assert schemas_of(owner, {"tools": tools}) == {"Fee"}
    assert schemas_of(owner, {}) == frozenset()
