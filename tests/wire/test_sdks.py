"""The SDKs' own objects and types in and out, and one run from evidence to prompt."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from anthropic.types import (
    MessageParam,
    TextBlock,
    TextBlockParam,
    ThinkingBlock,
    ToolParam,
    ToolUseBlock,
)
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessage,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
)
from openai.types.chat.chat_completion_message_function_tool_call import Function
from openai.types.responses import (
    FunctionTool,
    FunctionToolParam,
    ResponseFunctionToolCall,
    ResponseFunctionWebSearch,
    ResponseReasoningItem,
)
from openai.types.responses.response_function_web_search import ActionSearch

from ctxguard import BudgetExceededError, Guard, Message, Policy
from ctxguard.run import current_run
from ctxguard.testing import WordTokenizer
from ctxguard.wire import tools_text
from tests.wire.shapes import CHAT, ITEMS, MESSAGES, guard_of, words

GOOD = "The notice period of the lease is thirty days from receipt."
WEAK = "The canteen serves lunch between noon and two on weekdays."
QUESTION = "What is the notice period?"


def test_an_answer_of_chat_completions_is_sent_again_as_the_object_that_it_is() -> None:
    call = ChatCompletionMessageFunctionToolCall(
        id="call_1", type="function", function=Function(name="find", arguments='{"q": "notice"}')
    )
    answer = ChatCompletionMessage(role="assistant", content=None, tool_calls=[call])
    messages: list[ChatCompletionMessageParam | ChatCompletionMessage] = [
        {"role": "user", "content": QUESTION},
        answer,
        {"role": "tool", "tool_call_id": "call_1", "content": words(90)},
    ]
    fitted = guard_of(85).fit(messages)
    assert fitted.messages[1] is answer
    assert [d.action for d in fitted.decisions] == ["trim"]
    CHAT.validate_python([fitted.messages[0], fitted.messages[2]])
    old = guard_of(40).fit([*messages, {"role": "user", "content": words(20)}])
    assert old.positions == (3,), "the call leaves with its result"


def test_an_answer_of_the_responses_api_is_sent_again_as_the_objects_that_it_is() -> None:
    reasoning = ResponseReasoningItem(id="rs_1", summary=[], type="reasoning")
    call = ResponseFunctionToolCall(
        call_id="call_1", name="find", arguments="{}", type="function_call", id="fc_1"
    )
    question = {"role": "user", "content": QUESTION}
    output = {"type": "function_call_output", "call_id": "call_1", "output": words(90)}
    fitted = guard_of(90).fit([question, reasoning, call, output], system="Be brief.")
    assert fitted.messages[1] is reasoning
    assert fitted.messages[2] is call
    assert fitted.system == "Be brief."
    ITEMS.validate_python([fitted.messages[0], fitted.messages[3]])
    assert guard_of(40).fit([question, reasoning, call, output, question]).positions == (4,)


def test_blocks_of_an_anthropic_answer_are_sent_again_as_the_objects_that_they_are() -> None:
    thinking = ThinkingBlock(type="thinking", thinking="I should look.", signature="c2ln")
    use = ToolUseBlock(id="toolu_1", type="tool_use", name="find", input={"q": "notice"})
    answer = {"role": "assistant", "content": [thinking, TextBlock(type="text", text="."), use]}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": words(90)}
    messages = [
        {"role": "user", "content": QUESTION},
        answer,
        {"role": "user", "content": [result]},
    ]
    fitted = guard_of(110).fit(messages)
    assert fitted.messages[1] is answer
    (shorter,) = fitted.messages[2]["content"]
    assert "left out by ctxguard" in shorter["content"]
    assert {**shorter, "content": words(90)} == result
    MESSAGES.validate_python([fitted.messages[0], fitted.messages[2]])


def test_an_item_that_no_reader_knows_is_counted_as_an_object_too() -> None:
    action = ActionSearch(type="search", query=words(40), queries=[])
    search = ResponseFunctionWebSearch(
        id="x" * 99, action=action, status="completed", type="web_search_call"
    )
    fitted = guard_of().fit([{"role": "user", "content": QUESTION}, search])
    assert fitted.messages[1] is search
    assert 40 < fitted.tokens_before - guard_of().fit([fitted.messages[0]]).tokens_before < 90


def test_a_block_that_is_an_object_is_copied_where_it_is_cut() -> None:
    guard = guard_of(60, dedupe=None, rank=None, select=None)
    block = TextBlock(type="text", text=f"{GOOD}\n\n{WEAK}\n\n{words(40)}")
    with guard.run(QUESTION):
        guard.prepare(QUESTION, [GOOD, WEAK])
        fitted = guard.fit([{"role": "user", "content": [block]}], shape="anthropic")
    (cut,) = fitted.messages[0]["content"]
    assert isinstance(cut, TextBlock)
    assert cut.text == f"{GOOD}\n\n{words(40)}"
    assert WEAK in block.text


def test_openais_client_sends_what_comes_out() -> None:
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(400, json={})

    call = ChatCompletionMessageFunctionToolCall(
        id="call_1", type="function", function=Function(name="find", arguments="{}")
    )
    messages: Any = [
        {"role": "user", "content": QUESTION},
        ChatCompletionMessage(role="assistant", content=None, tool_calls=[call]),
        {"role": "tool", "tool_call_id": "call_1", "content": words(90)},
    ]
    transport = httpx.MockTransport(answer)
    with openai.OpenAI(api_key="k", http_client=httpx.Client(transport=transport)) as client:
        fitted = guard_of(80).fit(messages)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=fitted.messages)
    (body,) = sent
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][1]["tool_calls"][0]["id"] == "call_1"
    assert "left out by ctxguard" in body["messages"][2]["content"]


def test_anthropics_client_sends_what_comes_out() -> None:
    sent: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(400, json={})

    block = TextBlock(type="text", text=f"{GOOD}\n\n{WEAK}\n\n{words(40)}")
    messages: Any = [{"role": "user", "content": [block]}]
    guard, transport = guard_of(70, select=None), httpx2.MockTransport(answer)
    with (
        anthropic.Anthropic(api_key="k", http_client=httpx2.Client(transport=transport)) as client,
        guard.run(QUESTION),
    ):
        guard.prepare(QUESTION, [GOOD, WEAK])
        fitted = guard.fit(messages, system="Be brief.", shape="anthropic")
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(
                model="m", max_tokens=9, messages=fitted.messages, system=fitted.system
            )
    (body,) = sent
    assert body["system"] == "Be brief."
    assert body["messages"][0]["content"][0]["text"] == f"{GOOD}\n\n{words(40)}"


def test_one_run_connects_the_evidence_with_the_prompt() -> None:
    guard = guard_of(75)
    with guard.run(QUESTION, "answer") as run:
        found = guard.prepare(QUESTION, [GOOD, WEAK])
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": "Answer from the context."},
            {"role": "user", "content": f"{found.text}\n\n{QUESTION} {words(30)}"},
        ]
        fitted = guard.fit(messages)
    ledger = run.ledger()
    assert ledger.question == QUESTION
    assert ledger.name == "answer"
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert GOOD in str(fitted.messages[1])
    assert WEAK not in str(fitted.messages[1])
    assert [s.text for s in fitted.segments if s.kind == "evidence"] == [GOOD]
    with pytest.raises(BudgetExceededError):  # the run is over: no text is known as evidence
        guard.fit(messages)


def test_evidence_in_anthropics_system_prompt_gives_way_and_its_rules_stay() -> None:
    guard = guard_of(50, select=None)
    system: list[TextBlockParam] = [
        {"type": "text", "text": "Answer from the context."},
        {"type": "text", "text": GOOD},
        {"type": "text", "text": WEAK, "cache_control": {"type": "ephemeral"}},
    ]
    messages: list[MessageParam] = [{"role": "user", "content": f"{QUESTION} {words(10)}"}]
    with guard.run():
        guard.prepare(QUESTION, [GOOD, WEAK])
        fitted = guard.fit(messages, system=system)
    assert fitted.messages[0] is messages[0]
    assert fitted.system == [
        system[0],
        {"type": "text", "text": GOOD, "cache_control": {"type": "ephemeral"}},
    ], "an emptied block leaves, and its cache breakpoint goes to the block before"
    assert len(system) == 3


def test_an_exception_ends_the_run_and_is_noted() -> None:
    guard = Guard()
    with pytest.raises(RuntimeError), guard.run("q") as run:  # noqa: PT012 -- the run is the subject
        assert current_run() is run
        raise RuntimeError("no network")
    assert current_run() is None
    assert run.ledger().error == "RuntimeError: no network"


def test_runs_of_concurrent_tasks_do_not_mix() -> None:
    guard = Guard(Policy(tokenizer=WordTokenizer()))

    async def call(text: str) -> list[str]:
        with guard.run(text) as run:
            guard.prepare(text, [f"{GOOD} {text}"])
            await asyncio.sleep(0)
            guard.fit([{"role": "user", "content": f"{GOOD} {text}\n\n{text}"}])
        return [s.text for s in run.ledger().segments if s.kind == "evidence"]

    async def both() -> None:
        one, two = await asyncio.gather(call("one"), call("two"))
        assert one == [f"{GOOD} one"]
        assert two == [f"{GOOD} two"]

    asyncio.run(both())


def test_runs_nest() -> None:
    guard = Guard(Policy(tokenizer=WordTokenizer()))
    with guard.run("outer") as outer, guard.run("inner"):
        guard.prepare("inner", [GOOD])
    assert [child.question for child in outer.ledger().children] == ["inner"]


def test_tools_are_counted_as_the_sdk_takes_them() -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"id": {"type": "string"}}}
    chat: ChatCompletionFunctionToolParam = {
        "type": "function",
        "function": {"name": "find", "parameters": schema},
    }
    item: FunctionToolParam = {
        "type": "function", "name": "find", "parameters": schema, "strict": True
    }  # fmt: skip
    claude: ToolParam = {
        "name": "find",
        "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}},
        "cache_control": {"type": "ephemeral"},
    }
    messages: list[MessageParam] = [{"role": "user", "content": QUESTION}]
    bare = guard_of().fit(messages).tokens_before
    for tool in (chat, item, claude):
        fitted = guard_of().fit(messages, tools=[tool])
        assert fitted.tokens_before - bare == len(WordTokenizer().encode(tools_text([tool])))
        assert fitted.segments[0].kind == "tools"
    assert "cache_control" not in tools_text([claude])
    assert '"id"' in tools_text([claude])
    built = FunctionTool(type="function", name="find", parameters=schema, strict=True)
    assert sorted(tools_text([built])) == sorted(tools_text([item]))
    assert tools_text([{"name": "find", "inner": built}]).count("find") == 2
    assert guard_of().fit([Message(role="user", text="q")], tools=[chat]).segments[0].tokens > 5
