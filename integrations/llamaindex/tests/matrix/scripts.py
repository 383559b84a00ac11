"""What the model answers: the structure that a shape needs, else a checksum of its prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage

from ctxguard_llamaindex.testing import call_tool, checksum

__all__ = ["calling", "coding", "obliging", "reasoning", "searching", "searching_twice"]

_ANSWERS = (
    # what the prompt says, and what it wants to hear
    ("choices are given below", '[{"choice": 1, "reason": "it fits"}]'),
    (
        "sub_question",
        json.dumps(
            {"items": [{"sub_question": "What is the notice period?", "tool_name": "search"}]}
        ),
    ),
    ("previous bad answer", "YES"),
    ("YES or NO", "NO"),
    ("lookahead", "unused"),
    ("Provide keywords", "KEYWORDS: notice, period, payment"),
    (
        "A list of documents is shown below",
        "Doc: 1, Relevance: 9\nDoc: 2, Relevance: 8\nDoc: 3, Relevance: 7\nDoc: 4, Relevance: 6",
    ),
    ("search queries", "notice period\npayment invoice"),
    (
        "Structured Request Schema",
        '```json\n{"query": "notice period", "filters": [], "top_k": 4}\n```',
    ),
    ("numbered list", "ANSWER: 1"),
)


def obliging(messages: Sequence[ChatMessage]) -> str:
    """The structured answers that engines need, a checksum of the prompt for all others."""
    text = "\n".join(message.content or "" for message in messages)
    return next((reply for asked, reply in _ANSWERS if asked in text), "") or checksum(messages)


def calling(name: str, **arguments: Any) -> Any:
    """A script that always calls one tool, as for structured output."""
    return lambda _messages: call_tool(name, **arguments)


def _answers(messages: Sequence[ChatMessage]) -> int:
    """How many results of tools stand behind the last question."""
    last = max(i for i, message in enumerate(messages) if message.role == "user")
    return sum(message.role == "tool" for message in messages[last:])


def searching(messages: Sequence[ChatMessage]) -> Any:
    """Search once, then answer."""
    if _is_inner(messages) or _answers(messages):
        return checksum(messages)
    return call_tool("search", query="notice period")


def searching_twice(messages: Sequence[ChatMessage]) -> Any:
    """Two calls of the tool in one answer, then the answer."""
    if _is_inner(messages) or _answers(messages):
        return checksum(messages)
    blocks = [
        ToolCallBlock(tool_call_id=f"call-{n}", tool_name="search", tool_kwargs={"query": query})
        for n, query in enumerate(("notice period", "payment due"))
    ]
    return ChatMessage(role="assistant", blocks=blocks)


def _is_inner(messages: Sequence[ChatMessage]) -> bool:
    """Whether an engine inside of a tool asks, and no agent."""
    return "Context information is below" in (messages[-1].content or "")


def reasoning(messages: Sequence[ChatMessage]) -> str:
    """Search once, then answer, in ReAct's words."""
    if _is_inner(messages):
        return checksum(messages)
    if any((message.content or "").startswith("Observation:") for message in messages):
        return f"Thought: I can answer.\nAnswer: {checksum(messages)}"
    return 'Thought: I must search.\nAction: search\nAction Input: {"query": "notice period"}'


def coding(messages: Sequence[ChatMessage]) -> str:
    """The same in CodeAct's words."""
    ran = any("Result of executing" in (message.content or "") for message in messages)
    return checksum(messages) if ran else "<execute>\nsearch('notice period')\n</execute>"
