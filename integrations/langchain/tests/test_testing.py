"""The scripted chat model: tools, formats and scripts, as tests of one's own rely on them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from ctxguard_langchain.testing import ScriptedChatModel


class Reply(BaseModel):
    """A reply to a letter."""

    text: str
    pages: int
    tone: str | None = None


class ReplyDict(TypedDict):
    """A reply to a letter."""

    text: str
    pages: int


@tool
def search(query: str, limit: int, order: str = "newest") -> str:
    """Find clauses."""
    return query


@tool
def count() -> int:
    """Count the clauses."""
    return 1


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (None, ["search", "count"]),
        ("any", ["search", "count"]),
        ("count", ["count"]),
        ("none", []),
    ],
)
def test_the_tools_that_are_chosen_are_called_once(choice: str | None, called: list[str]) -> None:
    model = ScriptedChatModel().bind_tools([search, count], tool_choice=choice)
    answer: Any = model.invoke("q")
    assert [call["name"] for call in answer.tool_calls] == called
    again: Any = model.invoke([HumanMessage("q"), answer, ToolMessage("x", tool_call_id="call-0")])
    assert again.tool_calls == []


def test_arguments_fill_what_they_can_and_examples_what_is_required() -> None:
    answer: Any = ScriptedChatModel(arguments={"query": "notice"}).bind_tools([search]).invoke("q")
    assert answer.tool_calls[0]["args"] == {"query": "notice", "limit": 1}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("schema", [Reply, ReplyDict, Reply.model_json_schema()])
def test_structured_output(schema: Any, method: str) -> None:
    model = ScriptedChatModel(arguments={"text": "Yes."})
    found = model.with_structured_output(schema, method=method).invoke("q")
    values = found.model_dump(exclude_none=True) if isinstance(found, BaseModel) else found
    assert values == {"text": "Yes.", "pages": 1}
    assert isinstance(found, Reply if schema is Reply else dict)


def test_a_raw_answer_that_is_no_json_comes_with_its_error() -> None:
    model = ScriptedChatModel(script=["{}", "no JSON"])
    asked = model.with_structured_output(Reply, method="json_mode", include_raw=True)
    for said in model.script:
        found: Any = asked.invoke("q")
        assert found["raw"].content == said
        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], ValueError)
    assert model.calls[-1]["response_format"] == {"type": "json_object"}


def test_json_mode_answers_with_the_arguments() -> None:
    model = ScriptedChatModel(arguments={"text": "Yes.", "pages": 2})
    asked = model.with_structured_output(Reply, method="json_mode", include_raw=True)
    found: Any = asked.invoke("q")
    assert found["parsed"] == Reply(text="Yes.", pages=2)
    assert found["parsing_error"] is None


def test_examples_of_a_schema() -> None:
    schema = {
        "title": "Row",
        "description": "A row.",
        "type": "object",
        "properties": {
            "kind": {"enum": ["clause", "party"]},
            "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "parts": {"type": "array", "items": {"type": "string"}},
            "signed": {"type": "boolean"},
        },
    }
    found = ScriptedChatModel().with_structured_output(schema, method="json_schema").invoke("q")
    assert found == {"kind": "clause", "size": 1.0, "parts": [], "signed": True}
