"""What a real client sends and gives back: plain and guarded, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import create_retriever_tool, tool
from pydantic import BaseModel

from ctxguard import guard, handle
from ctxguard_langchain.testing import FixedRetriever
from integrations.langchain.tests.clients import (
    NOTICE,
    QUESTION,
    Way,
    Wrap,
    chain_of,
    client,
    described,
    documents,
    every_way,
    steps_of,
)
from tests.openai_server import USAGE, ScriptedServer

pytestmark = pytest.mark.anyio


# -- what is sent ---------------------------------------------------------------------------------


class Answer(BaseModel):
    """An answer and its source."""

    answer: str
    pages: int


@tool
def look_up(clause: str) -> str:
    """Look a clause up."""
    return clause


MODELS: dict[str, Wrap] = {
    "as it is": lambda model: model,
    "parameters": lambda model: model.bind(
        temperature=0.5, max_tokens=64, seed=7, stop=["\n\n"], logit_bias={"50256": -100}
    ),
    "tools": lambda model: model.bind_tools([look_up], tool_choice="auto", strict=True),
    "json schema": lambda model: model.with_structured_output(Answer, method="json_schema"),
    "function calling": lambda model: model.with_structured_output(
        Answer, method="function_calling", include_raw=True
    ),
    "json mode": lambda model: model.bind(response_format={"type": "json_object"}),
}


# openai's own, about what it has parsed, plain and guarded.
parsed = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@parsed
@every_way
@pytest.mark.parametrize("name", MODELS)
async def test_the_request_differs_in_the_copies_that_were_dropped(
    openai_server: ScriptedServer, way: Way, name: str
) -> None:
    plain = chain_of(client(openai_server), MODELS[name])
    guarded = guard(plain)
    expected = described(await way(plain, QUESTION))
    assert described(await way(guarded, QUESTION)) == expected
    first, second = openai_server.requests
    assert second.path == first.path
    copy = json.dumps(f"{NOTICE}\n\n")[1:-1].encode()
    assert first.content.count(copy) == 2
    assert second.content == first.content.replace(copy, b"", 1)


CONVERSATION = [
    SystemMessage("Answer briefly."),
    HumanMessage(
        [
            {"type": "text", "text": "What is in this picture?", "cache_control": {"type": "none"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]
    ),
    AIMessage("", tool_calls=[{"name": "look_up", "args": {"clause": "§ 1"}, "id": "c1"}]),
    ToolMessage("§ 1 Notice", tool_call_id="c1"),
    HumanMessage("And now?", name="ann"),
]


@parsed
@every_way
@pytest.mark.parametrize("name", MODELS)
async def test_without_evidence_the_request_is_the_same_to_the_byte(
    openai_server: ScriptedServer, way: Way, name: str
) -> None:
    plain = MODELS[name](client(openai_server))
    guarded = guard(plain)
    expected = described(await way(plain, CONVERSATION))
    assert described(await way(guarded, CONVERSATION)) == expected
    first, second = openai_server.requests
    assert second == first
    assert steps_of(handle(guarded).ledgers[-1]) == ["model"]


@every_way
async def test_usage_and_callbacks_come_through(openai_server: ScriptedServer, way: Way) -> None:
    plain = chain_of(client(openai_server))
    used = []
    for chain in (plain, guard(plain)):
        callback = UsageMetadataCallbackHandler()
        await way(chain.with_config(callbacks=[callback]), QUESTION)
        used.append(callback.usage_metadata)
    assert used[0] == used[1]
    ((_, usage),) = used[0].items()
    assert usage["total_tokens"] == USAGE["total_tokens"]


# -- agents ---------------------------------------------------------------------------------------


@every_way
async def test_an_agent_asks_the_same_but_for_the_copies(
    openai_server: ScriptedServer, way: Way
) -> None:
    retriever = FixedRetriever(documents=documents())
    found = create_retriever_tool(retriever, "search", "Find clauses.")
    plain = create_agent(client(openai_server), [found], system_prompt="Answer briefly.")
    guarded: Any = guard(plain)
    for agent in (plain, guarded):
        await way(agent, {"messages": [HumanMessage(QUESTION, id="q")]})
    before, after = openai_server.requests[:2], openai_server.requests[2:]
    assert len(before) == len(after) == 2
    assert after[0] == before[0]
    copy = json.dumps(f"{NOTICE}\n\n")[1:-1].encode()
    assert before[1].content.count(copy) == 2
    assert after[1].content == before[1].content.replace(copy, b"", 1)
    (ledger,) = guarded.ctxguard.ledgers
    assert steps_of(ledger) == ["model", "retrieval", "model"]
