"""Models: every call fits its window, whole answers and streams, with tools and without."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.llms.types import (
    AudioBlock,
    CitableBlock,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM, ChatMessage, ChatResponse, CustomLLM, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

import ctxguard
from ctxguard import Budget, BudgetExceededError, Policy
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


WORDS = "The seller keeps a record of every delivery and of every complaint about it. "
TOOL = FunctionTool.from_defaults(lambda query: query, name="search", description="Finds clauses.")


def conversation(turns: int) -> list[ChatMessage]:
    """Instructions, turns with a tool call and its result each, and a question."""
    messages = [ChatMessage(role="system", content="Answer from the contract.")]
    for turn in range(turns):
        call = call_tool("search", f"call-{turn}", query=f"clause {turn}")
        messages += [
            ChatMessage(role="user", content=f"What does clause {turn} say? {WORDS * 3}"),
            call,
            ChatMessage(
                role="tool",
                content=f"Clause {turn}: {WORDS * 10}",
                additional_kwargs={"tool_call_id": f"call-{turn}"},
            ),
            ChatMessage(role="assistant", content=f"It says {turn}. {WORDS}"),
        ]
    return [*messages, ChatMessage(role="user", content="And which clause is about notice?")]


def orphans(messages: Sequence[ChatMessage]) -> list[str]:
    """Tool results whose call is not there, and calls without a result."""
    called = {
        block.tool_call_id
        for message in messages
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    }
    answered = {
        message.additional_kwargs.get("tool_call_id")
        for message in messages
        if message.role == "tool"
    }
    return sorted(str(name) for name in called ^ answered)


def small(**options: Any) -> ScriptedLLM:
    return ScriptedLLM(context_window=1200, **options)


def methods(llm: Any, messages: list[ChatMessage]) -> dict[str, Any]:
    """Every way in which a chat model is called, as functions that return the answer's text."""

    async def read(stream: Any) -> str:
        return "".join([part.delta async for part in await stream])

    async def ask(answer: Any) -> str:
        return (await answer).message.content

    *history, last = messages
    return {
        "chat": lambda: llm.chat(messages).message.content,
        "chat, by keyword": lambda: llm.chat(messages=messages).message.content,
        "stream_chat": lambda: "".join(part.delta for part in llm.stream_chat(messages)),
        "achat": lambda: asyncio.run(ask(llm.achat(messages))),
        "astream_chat": lambda: asyncio.run(read(llm.astream_chat(messages))),
        "chat_with_tools": lambda: (
            llm.chat_with_tools([TOOL], last, chat_history=history).message.content
        ),
        "stream_chat_with_tools": lambda: "".join(
            part.delta
            for part in llm.stream_chat_with_tools([TOOL], user_msg=last, chat_history=history)
        ),
        "achat_with_tools": lambda: asyncio.run(
            ask(llm.achat_with_tools([TOOL], user_msg=last, chat_history=history))
        ),
        "astream_chat_with_tools": lambda: asyncio.run(
            read(llm.astream_chat_with_tools([TOOL], user_msg=last, chat_history=history))
        ),
    }


METHODS = list(methods(None, [ChatMessage()]))


class Direct(ScriptedLLM):
    """A model whose tool methods do not go through `chat`."""

    def chat_with_tools(self, *args: Any, **kwargs: Any) -> Any:
        given = self._prepare_chat_with_tools(*args, **kwargs)
        return ChatResponse(message=self._reply(given["messages"]))

    async def achat_with_tools(self, *args: Any, **kwargs: Any) -> Any:
        return self.chat_with_tools(*args, **kwargs)

    def stream_chat_with_tools(self, *args: Any, **kwargs: Any) -> Any:
        message = self.chat_with_tools(*args, **kwargs).message
        yield ChatResponse(message=message, delta=message.content)

    async def astream_chat_with_tools(self, *args: Any, **kwargs: Any) -> Any:
        async def read() -> Any:
            message = self.chat_with_tools(*args, **kwargs).message
            yield ChatResponse(message=message, delta=message.content)

        return read()


@pytest.mark.parametrize("kind", [ScriptedLLM, Direct])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_fits_once(name: str, kind: type[ScriptedLLM]) -> None:
    llm = kind(context_window=1200)
    messages = conversation(12)
    before = [message.model_dump() for message in messages]
    guarded = guard(llm)

    answer = methods(guarded, messages)[name]()

    assert answer.startswith("answer")
    (prompt,) = llm.prompts
    assert len(prompt) < len(messages)
    assert orphans(prompt) == []
    assert prompt[0] is messages[0]
    assert prompt[-1] is messages[-1]
    assert [message.model_dump() for message in messages] == before
    ledger = guarded.ctxguard.last
    (step,) = ledger.steps
    assert step.kind == "model"
    assert step.tokens_after <= 900 < step.tokens_before
    assert ledger.budget.window == 1200
    assert ("tools" in {segment.kind for segment in ledger.segments}) == ("tools" in name)
    assert len(guarded.ctxguard.ledgers) == 1


@pytest.mark.parametrize("name", METHODS)
def test_off_sends_what_was_given(name: str) -> None:
    llm = small()
    messages = conversation(12)
    plain = methods(llm, messages)[name]()
    assert methods(guard(llm, Policy.off()), messages)[name]() == plain
    assert llm.prompts[0] == llm.prompts[1] == messages


def test_what_fits_is_passed_on_as_it_is() -> None:
    seen: list[Any] = []

    class Watching(ScriptedLLM):
        def _reply(self, messages: Any) -> ChatMessage:
            seen.append(messages)
            return super()._reply(messages)

    messages = conversation(1)
    guard(Watching()).chat(messages)
    assert seen[0] is messages


def test_pinned_parts_that_do_not_fit(corpus: Any) -> None:
    guarded = guard(ScriptedLLM(context_window=200))
    messages = [
        ChatMessage(role="system", content=WORDS * 50),
        ChatMessage(role="user", content=corpus.question),
    ]
    with pytest.raises(BudgetExceededError, match="instructions"):
        guarded.chat(messages)
    with pytest.raises(BudgetExceededError):
        guarded.stream_chat(messages)
    with pytest.raises(BudgetExceededError):
        asyncio.run(guarded.achat(messages))
    assert [ledger.error.split(":")[0] for ledger in guarded.ctxguard.ledgers] == [
        "BudgetExceededError"
    ] * 3


def test_completion_prompts() -> None:
    llm = small(is_chat_model=False)
    guarded = guard(llm)
    assert guarded.complete("Say something.").text.startswith("answer")
    assert guarded.complete(prompt="Say something.").text.startswith("answer")
    assert "".join(part.delta for part in guarded.stream_complete("Say something.")) != ""
    assert asyncio.run(guarded.acomplete("Say something.")).text.startswith("answer")

    async def read() -> str:
        return "".join([part.delta async for part in await guarded.astream_complete("Say it.")])

    assert asyncio.run(read()).startswith("answer")
    assert len(guarded.ctxguard.ledgers) == 5
    with pytest.raises(BudgetExceededError):
        guarded.complete(WORDS * 200)


class Completing(CustomLLM):
    """A completion model as a user writes one: chat goes through `complete`."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=1200)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=str(len(prompt)))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        return (CompletionResponse(text=word, delta=word) for word in ("a", "b"))


def test_one_logical_call_is_fitted_once() -> None:
    guarded = guard(Completing())
    guarded.chat(conversation(12))
    assert [part.delta for part in guarded.stream_chat(conversation(12))] == ["a", "b"]
    asyncio.run(guarded.achat(conversation(12)))

    async def read() -> list[str | None]:
        return [part.delta async for part in await guarded.astream_chat(conversation(12))]

    assert asyncio.run(read()) == ["a", "b"]
    assert [len(ledger.steps) for ledger in guarded.ctxguard.ledgers] == [1] * 4
    assert all(ledger.of("drop") for ledger in guarded.ctxguard.ledgers)


def test_prompts_predictions_and_structure(corpus: Any) -> None:
    class Clause(BaseModel):
        days: int

    llm = small(script=lambda messages: call_tool("Clause", days="30"))
    guarded = guard(llm)
    template = PromptTemplate("{question}")
    assert guarded.structured_predict(Clause, template, question=corpus.question).days == 30
    assert asyncio.run(
        guarded.astructured_predict(Clause, template, question=corpus.question)
    ) == Clause(days=30)
    structured = guarded.as_structured_llm(Clause)
    assert json.loads(structured.chat(conversation(1)).message.content or "") == {"days": 30}
    assert [len(ledger.steps) for ledger in guarded.ctxguard.ledgers] == [1, 1, 1]
    assert all(
        "tools" in {segment.kind for segment in ledger.segments}
        for ledger in guarded.ctxguard.ledgers
    )

    again = guard(llm.as_structured_llm(Clause))
    assert again.chat(conversation(1)).raw == Clause(days=30)
    assert [len(ledger.steps) for ledger in again.ctxguard.ledgers] == [1]

    words = guard(ScriptedLLM())
    assert words.predict(template, question=corpus.question).startswith("answer")
    assert "".join(words.stream(template, question=corpus.question)).startswith("answer")
    assert len(words.ctxguard.ledgers) == 2


def test_the_window_is_what_somebody_stated() -> None:
    class Named(ScriptedLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(model_name=self.model)

    question = [ChatMessage(role="user", content="Hello?")]
    cases = [
        (ScriptedLLM(context_window=5000, model="gpt-4o"), 5000),
        (ScriptedLLM(context_window=3900), 3900),  # the default, but somebody wrote it down
        (Named(model="gpt-4o"), 128_000),
        (Named(model="unknown"), None),
        (MockLLM(), None),
    ]
    for llm, window in cases:
        guarded = guard(llm)
        guarded.chat(question)
        assert guarded.ctxguard.last.budget.window == window
    guarded = guard(ScriptedLLM(context_window=5000), budget=Budget(window=2000))
    guarded.chat(question)
    assert guarded.ctxguard.last.budget.window == 2000


def test_blocks_that_are_not_text_count_and_stay() -> None:
    llm = ScriptedLLM(context_window=16_000)
    picture = ImageBlock(url="https://example.com/picture.png")
    message = ChatMessage(
        role="user",
        blocks=[
            TextBlock(text="What is in the picture?"),
            picture,
            ImageBlock(url="https://example.com/small.png", detail="low"),
            AudioBlock(url="https://example.com/sound.wav", format="wav"),
            CitableBlock(title="Contract", source="a.md", content=[TextBlock(text=WORDS * 10)]),
        ],
    )
    thought = ChatMessage(
        role="assistant", blocks=[ThinkingBlock(content=WORDS * 3), TextBlock(text="A cat.")]
    )
    guarded = guard(llm)
    guarded.chat([thought, message])
    assert llm.prompts[-1] == [thought, message]
    tokens: Counter[str] = Counter()
    for segment in guarded.ctxguard.last.segments:
        tokens[segment.kind] += segment.tokens
    assert 2125 + 85 + 256 < tokens["question"] < 2900
    assert tokens["history"] > 40


def test_calls_without_blocks_and_without_ids() -> None:
    """OpenAI's older form, and models that give their calls no id: results still follow them."""

    def turn(number: int, call: dict[str, Any], answer: dict[str, Any]) -> list[ChatMessage]:
        return [
            ChatMessage(role="user", content=f"What does clause {number} say?"),
            ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [call]}),
            ChatMessage(role="tool", content=WORDS * 20, additional_kwargs=answer),
            ChatMessage(role="assistant", content=f"It says {number}."),
        ]

    function = {"name": "search", "arguments": "{}"}
    messages = [ChatMessage(role="system", content="Answer.")]
    for number in range(4):
        call_id = f"call-{number}"
        messages += turn(number, {"id": call_id, "function": function}, {"tool_call_id": call_id})
    for number in range(4, 8):
        messages += turn(number, {"function": function}, {})
    messages.append(ChatMessage(role="user", content="And the last one?"))
    llm = small()
    guard(llm).chat(messages)
    (prompt,) = llm.prompts
    kept = [message.role.value for message in prompt]
    assert kept.count("tool") == sum("tool_calls" in m.additional_kwargs for m in prompt) > 0
    assert len(prompt) < len(messages)


def test_a_last_message_that_leaves_or_changes(corpus: Any) -> None:
    """The message of the user is no part of the history that goes on, whatever became of it."""
    llm = Direct(context_window=400)
    guarded = guard(llm)
    result = ChatMessage(role="tool", content=WORDS * 60, additional_kwargs={"tool_call_id": "1"})
    history = [ChatMessage(content=corpus.question), call_tool("search", "1", query="notice")]
    guarded.chat_with_tools([TOOL], user_msg=result, chat_history=history)
    (prompt,) = llm.prompts
    assert prompt[:2] == history
    assert "left out by ctxguard" in (prompt[2].content or "")
    assert len(prompt) == 3
    guarded.chat_with_tools([TOOL], user_msg="Hello?")
    guarded.chat_with_tools([TOOL], chat_history=history)
    assert [len(prompt) for prompt in llm.prompts[1:]] == [1, 2]


def test_messages_that_cannot_be_read() -> None:
    class Lenient(ScriptedLLM):
        def chat(self, messages: Any, **kwargs: Any) -> Any:
            return ChatResponse(message=ChatMessage(content="yes"))

    odd: Any = [{"role": "user", "content": "Hello?"}]
    guarded = guard(Lenient())
    assert guarded.chat(odd).message.content == "yes"
    (error,) = guarded.ctxguard.last.errors
    assert "AttributeError" in error.reason
    with pytest.raises(AttributeError):
        guard(Lenient(), Policy.strict()).chat(odd)
    assert guarded.complete(ChatMessage(content="no prompt")) is not None


def test_older_tool_calls_and_functions() -> None:
    """Calls as a provider's own objects, and schemas under their first name."""

    class ProvidersCall(BaseModel):
        id: str
        name: str = "search"

    messages = [
        ChatMessage(role="user", content="What does clause 1 say?"),
        ChatMessage(
            role="assistant", additional_kwargs={"tool_calls": [ProvidersCall(id="call-1")]}
        ),
        ChatMessage(role="tool", content="One.", additional_kwargs={"tool_call_id": "call-1"}),
        ChatMessage(
            role="assistant",
            blocks=[call_tool("a", "2").blocks[0], ImageBlock(url="https://example.com/x.png")],
        ),
    ]
    guarded = guard(ScriptedLLM())
    guarded.chat(messages, functions=[{"name": "search"}])
    kinds = {segment.kind for segment in guarded.ctxguard.last.segments}
    assert {"tools", "question"} <= kinds


def test_what_is_cut_from_blocks(corpus: Any) -> None:
    """Evidence that leaves a message takes a block that held nothing else with it."""
    from ctxguard.types import Message
    from ctxguard.window import Cut, Fitted
    from ctxguard_llamaindex.convert import with_fitted

    blocks = [
        TextBlock(text="keep "),
        TextBlock(text="gone"),
        ImageBlock(url="https://example.com/x.png"),
        TextBlock(text="!"),
    ]
    message = ChatMessage(role="user", blocks=blocks)
    kept = Message(role="user", text="keep !")
    fitted = Fitted(messages=(kept,), positions=(0,), cuts={0: (Cut(5, 9),)})
    (new,) = with_fitted([message], fitted)
    assert new.blocks == [blocks[0], blocks[2], blocks[3]]
    assert message.blocks == blocks


def test_a_stream_ends_its_run_when_it_is_closed() -> None:
    guarded = guard(ScriptedLLM(script=lambda messages: "one two three"))
    stream = guarded.stream_chat([ChatMessage(content="Count.")])
    assert next(stream).delta == "one "
    assert guarded.ctxguard.ledgers == ()
    stream.close()
    (ledger,) = guarded.ctxguard.ledgers
    assert ledger.error == ""


@pytest.mark.anyio
async def test_an_async_stream_ends_its_run_when_it_is_closed() -> None:
    guarded = guard(ScriptedLLM(script=lambda messages: "one two three"))
    stream = await guarded.astream_chat([ChatMessage(content="Count.")])
    assert (await anext(stream)).delta == "one "
    await stream.aclose()
    assert len(guarded.ctxguard.ledgers) == 1


def test_a_stream_that_breaks() -> None:
    class Breaking(ScriptedLLM):
        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            yield ChatResponse(message=ChatMessage(content="one"), delta="one")
            raise ConnectionError("gone")

    guarded = guard(Breaking())
    stream = guarded.stream_chat([ChatMessage(content="Count.")])
    next(stream)
    with pytest.raises(ConnectionError, match="gone"):
        next(stream)
    assert guarded.ctxguard.last.error == "ConnectionError: gone"


def test_streams_read_in_turn_do_not_mix() -> None:
    guarded = guard(ScriptedLLM(script=lambda messages: messages[-1].content or ""))
    first = guarded.stream_chat([ChatMessage(content="one two three")])
    second = guarded.stream_chat([ChatMessage(content="four five six")])
    pairs = [(a.delta, b.delta) for a, b in zip(first, second, strict=True)]
    assert [a for a, _ in pairs] == ["one ", "two ", "three"]
    assert [b for _, b in pairs] == ["four ", "five ", "six"]
    first.close()
    questions = [ledger.question for ledger in guarded.ctxguard.ledgers]
    assert sorted(questions) == ["four five six", "one two three"]
    assert [len(ledger.steps) for ledger in guarded.ctxguard.ledgers] == [1, 1]


def test_a_model_inside_a_model_is_fitted_where_the_prompt_is_complete() -> None:
    class Wrapping(ScriptedLLM):
        """Adds to every prompt before it hands it on."""

        inner: LLM

        def chat(self, messages: Any, **kwargs: Any) -> Any:
            return self.inner.chat([*messages[:-1], ChatMessage(content=WORDS * 5), messages[-1]])

    inner = small()
    guarded = guard(Wrapping(inner=inner, context_window=100_000))
    guarded.chat(conversation(12))
    assert guarded.ctxguard.last.steps[-1].tokens_after <= 900
    assert [r.path for r in guarded.ctxguard.coverage.reached] == ["", "inner"]


def test_no_run_is_left_behind() -> None:
    from ctxguard.run import current_run

    guarded = guard(ScriptedLLM(script=lambda messages: "one two"))
    stream = guarded.stream_chat([ChatMessage(content="Count.")])
    assert current_run() is None
    for _ in stream:
        assert current_run() is None
    assert current_run() is None
