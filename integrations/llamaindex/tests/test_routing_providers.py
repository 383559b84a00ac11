"""Routes to models of two providers, whose tool calls differ: OpenAI's class, and Ollama's.

LlamaIndex's messages are theirs both; a conversation with calls of one is read by the other.
"""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ThinkingBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai import OpenAI

import ctxguard
from ctxguard import Policy
from ctxguard.routing import Price, Route, Router, Routes
from ctxguard_llamaindex.portable import portable
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool
from tests import ollama_server as other
from tests.ollama_server import OllamaServer
from tests.openai_server import ANSWER, ScriptedServer

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say
pytestmark = [
    pytest.mark.anyio,
    # Workflows look through their attributes, and pydantic warns of those that it has given up.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LlamaIndex's ReActAgent asks its own context what the context calls deprecated.
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]

EASY = "What is the fee?"
HARD = (
    "If 17 workers, each paid $23.50 per hour, work 8 hours a day for 12 days, and 3 of them are "
    "paid twice as much unless it is a Sunday, how much more than 9,000 is paid in total?"
)
CHEAP, DEAR = Price(input=1, output=2), Price(input=10, output=20)


def openai_client(server: ScriptedServer) -> OpenAI:
    return OpenAI(model="gpt-4o-mini", api_base=server.url, api_key="none", max_retries=0)


def ollama_client(server: OllamaServer) -> Ollama:
    return Ollama(model="qwen3", base_url=server.url, context_window=8192)


def policy(heavy: object, **settings: Any) -> Policy:
    routes = (
        Route(name="light", price=CHEAP),
        Route(name="heavy", model=heavy, price=DEAR, max_output=500),
    )
    given = {"router": Router(thresholds=(0.1,)), "state": "memory", **settings}
    return Policy(routing=Routes(routes=routes, **given), tokenizer="o200k_base")


def look_up(clause: str) -> str:
    """Look a clause up."""
    return f"clause {clause}: the notice period is thirty days"


TOOL = FunctionTool.from_defaults(look_up)


# -- one call --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["", "a", "stream_", "astream_"])
@pytest.mark.parametrize("question", [EASY, HARD])
async def test_a_model_of_another_provider_binds_the_tools_itself(
    openai_server: ScriptedServer, ollama_server: OllamaServer, way: str, question: str
) -> None:
    guarded = guard(openai_client(openai_server), policy(ollama_client(ollama_server)))
    given = getattr(guarded, f"{way}chat_with_tools")([TOOL], user_msg=question)
    if way.startswith("a"):
        given = await given
    if way == "astream_":
        given = [part async for part in given][-1]
    elif way == "stream_":
        given = list(given)[-1]
    (selection,) = guarded.get_tool_calls_from_response(given)
    assert (selection.tool_name, selection.tool_kwargs) == ("look_up", {"clause": "text"})
    calls = guarded.ctxguard.last.calls
    if question is HARD:
        assert selection.tool_id == "look_up", "as Ollama's class reads its own reply"
        (body,) = ollama_server.requests
        assert body["options"]["num_predict"] == 500
        counted = (calls[0].input, calls[0].output, calls[0].model)
        assert counted == (33, 5, "qwen3")
    assert len(calls) == 1
    assert len(openai_server.requests) == (question is EASY)


async def test_the_other_provider_answers_where_one_fails(
    openai_server: ScriptedServer, ollama_server: OllamaServer
) -> None:
    history = [ChatMessage(content="Hello."), ChatMessage(role="assistant", content="Hello!")]
    guarded = guard(openai_client(openai_server), policy(ollama_client(ollama_server)))
    openai_server.script("too many")
    reply = guarded.chat_with_tools([TOOL], user_msg=EASY, chat_history=history)
    assert guarded.get_tool_calls_from_response(reply)[0].tool_name == "look_up"
    assert len(history) == 2, "Ollama's class appends to the list that it is given"
    said = [message["content"] for message in ollama_server.requests[0]["messages"]]
    assert said == ["Hello.", "Hello!", EASY]
    ollama_server.status = 503
    openai_server.script("too many", "answer")
    guarded = guard(ollama_client(ollama_server), policy(openai_client(openai_server)))
    openai_server.script("answer")
    assert guarded.chat([ChatMessage(content=EASY)]).message.content == ANSWER
    assert [call.error for call in guarded.ctxguard.last.calls] == ["ResponseError", ""]


async def test_what_one_provider_only_can_read_is_for_its_class(
    openai_server: ScriptedServer, ollama_server: OllamaServer
) -> None:
    guarded = guard(openai_client(openai_server), policy(ollama_client(ollama_server)))
    tool = TOOL.metadata.to_openai_tool()
    guarded.chat([ChatMessage(content=HARD)], tools=[tool])
    assert len(openai_server.requests) == 1
    decisions = guarded.ctxguard.last.decisions
    (found,) = [decision for decision in decisions if decision.stage == "route"]
    assert found.code == "route-unsuitable"
    assert "`tools` is written for OpenAI" in found.reason


@pytest.mark.parametrize("heavy", ["text", "not calling"])
async def test_a_model_that_calls_no_tools_is_not_asked_to(
    openai_server: ScriptedServer, ollama_server: OllamaServer, heavy: str
) -> None:
    models: dict[str, Any] = {
        "text": MockLLM(),
        "not calling": Ollama(
            model="old",
            base_url=ollama_server.url,
            context_window=8192,
            is_function_calling_model=False,
        ),
    }
    guarded = guard(openai_client(openai_server), policy(models[heavy]))
    guarded.chat_with_tools([TOOL], user_msg=HARD)
    assert (len(openai_server.requests), len(ollama_server.requests)) == (1, 0)
    assert "calls no tools" in guarded.ctxguard.last.decisions[0].reason


# -- agents ----------------------------------------------------------------------------------------


async def run(agent: Any, question: str) -> str:
    return str(await agent.run(user_msg=question))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("question", [EASY, HARD])
async def test_an_agent_stays_on_its_route(
    openai_server: ScriptedServer, ollama_server: OllamaServer, streaming: bool, question: str
) -> None:
    llm = openai_client(openai_server)
    agent = FunctionAgent(tools=[TOOL], llm=llm, streaming=streaming)
    guarded = guard(agent, policy(ollama_client(ollama_server)))
    answer = await run(guarded, question)
    asked = (len(openai_server.requests), len(ollama_server.requests))
    assert asked == ((2, 0) if question is EASY else (0, 2))
    assert answer.strip() == (ANSWER if question is EASY else other.ANSWER)
    (ledger,) = guarded.ctxguard.ledgers
    assert [call.route for call in ledger.calls] == 2 * ["light" if question is EASY else "heavy"]
    assert sum(decision.stage == "route" for decision in ledger.decisions) == 1


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("first", ["openai", "ollama"])
async def test_a_loop_of_tools_goes_on_with_the_other_provider(
    openai_server: ScriptedServer, ollama_server: OllamaServer, streaming: bool, first: str
) -> None:
    """The first turn is answered by one, and the second by the other, who reads its calls."""
    if first == "openai":
        openai_server.script("answer", "too many")
        llm: Any = openai_client(openai_server)
        heavy: Any = ollama_client(ollama_server)
    else:
        llm, heavy = ollama_client(ollama_server), openai_client(openai_server)

    def fails(clause: str) -> str:
        """Look a clause up."""
        ollama_server.status = 503 if first == "ollama" else 200
        return look_up(clause)

    tool = FunctionTool.from_defaults(fails, name="look_up")
    agent = AgentWorkflow(agents=[FunctionAgent(tools=[tool], llm=llm, streaming=streaming)])
    guarded = guard(agent, policy(heavy))
    answer = await run(guarded, EASY)
    assert answer.strip() == (other.ANSWER if first == "openai" else ANSWER)
    calls = guarded.ctxguard.last.calls
    assert [(call.route, bool(call.error)) for call in calls] == [
        ("light", False),
        ("light", True),
        ("heavy", False),
    ]
    if first == "openai":
        called, result = ollama_server.requests[-1]["messages"][-2:]
        assert called["tool_calls"][0]["function"]["arguments"] == {"clause": "text"}
        assert result["content"].startswith("clause text")
    else:
        called, result = openai_server.requests[-1].body["messages"][-2:]
        (call,) = called["tool_calls"]
        assert call["id"] == result["tool_call_id"] != ""
        assert call["function"]["arguments"] == '{"clause": "text"}'


async def test_an_agent_that_calls_its_tools_in_words_takes_a_route() -> None:
    def react(name: str) -> ScriptedLLM:
        def script(messages: Any) -> str:
            if (messages[-1].content or "").startswith("Observation:"):
                return f"Thought: I can answer.\nAnswer: {name} says thirty days."
            return 'Thought: I look.\nAction: look_up\nAction Input: {"clause": "1"}\n'

        return ScriptedLLM(script=script)

    light, heavy = react("light"), react("heavy")
    guarded = guard(ReActAgent(tools=[TOOL], llm=light), policy(heavy))
    assert await run(guarded, HARD) == "heavy says thirty days."
    assert (len(light.prompts), len(heavy.prompts)) == (0, 2)


# -- a conversation that everybody can read --------------------------------------------------------


def test_a_conversation_that_is_read_already_stays() -> None:
    messages = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="§ 1?"),
        call_tool("look_up", "c1", clause="1"),
        ChatMessage(role="tool", content="§ 1", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage(role="tool", content="?", additional_kwargs={"tool_call_id": "unknown"}),
    ]
    assert all(a is b for a, b in zip(portable(messages), messages, strict=True))


def test_calls_without_ids_are_paired_with_what_they_returned() -> None:
    calls = [
        ToolCallBlock(tool_name=name, tool_kwargs={"x": 1}) for name in ("add", "look_up", "add")
    ]
    messages = [
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), *calls]),
        *(
            ChatMessage(role="tool", content=name, additional_kwargs={"tool_call_id": name})
            for name in ("look_up", "add", "add")
        ),
    ]
    said, *results = portable(messages)
    assert [type(block) for block in said.blocks] == 3 * [ToolCallBlock]
    ids: list[Any] = [block.tool_call_id for block in said.blocks]  # pyright: ignore[reportAttributeAccessIssue] -- as just seen
    assert len(set(ids)) == 3
    answered = [result.additional_kwargs["tool_call_id"] for result in results]
    assert answered == [ids[1], ids[0], ids[2]]
    assert messages[0].blocks[1] is calls[0], "nothing that was handed in is changed"


@pytest.mark.parametrize(
    ("stated", "kwargs"),
    [
        ({"id": "1", "function": {"name": "f", "arguments": '{"x": 1}'}}, {"x": 1}),
        ({"id": "1", "name": "f", "input": {"x": 1}}, {"x": 1}),
        ({"function": {"name": "f", "arguments": "half {"}}, "half {"),
        ({"function": {"name": "f", "arguments": ""}}, {}),
        ({"function": {"name": "f"}}, {}),
        ({"function": {"name": "f", "arguments": "[1]"}}, "[1]"),
    ],
)
def test_calls_in_a_providers_own_words_become_blocks(stated: Any, kwargs: Any) -> None:
    before = ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [stated]})
    (after,) = portable([before])
    assert after.additional_kwargs == {}
    call = after.blocks[-1]
    assert isinstance(call, ToolCallBlock)
    assert (call.tool_name, call.tool_kwargs) == ("f", kwargs)
    assert call.tool_call_id


@pytest.mark.parametrize("stated", [[{"what": 1}], [{"name": "f", "input": 3}], "?"])
def test_calls_that_nobody_can_read_stay(stated: Any) -> None:
    before = ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": stated})
    assert portable([before]) == [before]


def test_thinking_that_its_provider_signed_stays() -> None:
    signed = ThinkingBlock(content="Hm.", additional_information={"signature": "s"})
    message = ChatMessage(role="assistant", blocks=[signed])
    assert portable([message])[0] is message
