"""Chat engines of every mode: one run per turn, streams included, history in its window."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer
from workflows.handler import WorkflowHandler

import ctxguard
from ctxguard.run import current_run
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


MODES = ["context", "condense_plus_context", "condense_question", "simple"]


def make(mode: str, index: Any, llm: ScriptedLLM, **options: Any) -> Any:
    # The default memory keeps an SQLite connection that it never closes.
    options.setdefault("memory", ChatMemoryBuffer.from_defaults(token_limit=8000))
    if mode == "simple":
        return SimpleChatEngine.from_defaults(llm=llm, **options)
    return index.as_chat_engine(chat_mode=mode, llm=llm, similarity_top_k=4, **options)


def chat(engine: Any) -> Any:
    return lambda text: str(engine.chat(text))


def achat(engine: Any) -> Any:
    async def ask(text: str) -> str:
        return str(await engine.achat(text))

    return lambda text: asyncio.run(ask(text))


def stream_chat(engine: Any) -> Any:
    return lambda text: "".join(engine.stream_chat(text).response_gen)


def astream_chat(engine: Any) -> Any:
    async def ask(text: str) -> str:
        response = await engine.astream_chat(text)
        return "".join([word async for word in response.async_response_gen()])

    return lambda text: asyncio.run(ask(text))


WAYS = [chat, achat, stream_chat, astream_chat]


@pytest.mark.parametrize("way", WAYS)
def test_the_last_ledger_is_that_of_the_last_turn(
    way: Any, index: Any, llm: Any, corpus: Any
) -> None:
    guarded = guard(make("context", index, llm))
    guarded.chat("Hello?")
    way(guarded)(corpus.question)
    assert guarded.ctxguard.ledgers[-1].question == corpus.question


@pytest.mark.parametrize("way", [chat, stream_chat])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_leaks_into_the_caller(
    mode: str, way: Any, index: Any, llm: Any, corpus: Any
) -> None:
    guarded = guard(make(mode, index, llm))
    way(guarded)(corpus.question)
    assert current_run() is None
    assert len(guarded.ctxguard.ledgers) == 1


def test_the_conversation_goes_on_in_the_copy(index: Any, llm: Any, corpus: Any) -> None:
    engine = make("context", index, llm)
    engine.chat(corpus.question)
    guarded = guard(engine)
    assert [m.content for m in guarded.chat_history] == [m.content for m in engine.chat_history]
    guarded.chat("And when is payment due?")
    assert len(guarded.chat_history) == 4


def test_a_long_history_fits(index: Any, corpus: Any) -> None:
    llm = ScriptedLLM(context_window=1500)
    history = [
        ChatMessage(role=role, content=f"{number}: {corpus.payment * 4}")
        for number in range(20)
        for role in ("user", "assistant")
    ]
    engine = SimpleChatEngine.from_defaults(
        llm=llm, memory=ChatMemoryBuffer.from_defaults(history, token_limit=100_000)
    )
    engine.chat(corpus.question)
    assert len(llm.prompts[-1]) == 41
    guarded = guard(engine)
    guarded.chat(corpus.question)
    assert len(llm.prompts[-1]) < 20
    assert llm.prompts[-1][-1].content == corpus.question
    ledger = guarded.ctxguard.last
    assert ledger.tokens_used <= 1500 - 375
    assert {decision.code for decision in ledger.of("drop")} == {"over-window"}


def test_a_model_in_the_memory_is_guarded_too(llm: Any) -> None:
    memory = ChatSummaryMemoryBuffer.from_defaults(llm=llm, token_limit=300)
    guarded = guard(SimpleChatEngine.from_defaults(llm=llm, memory=memory))
    paths = {reached.path for reached in guarded.ctxguard.coverage.reached}
    assert paths == {"_llm"}  # the same model in both places
    assert guarded._memory.llm is guarded._llm
    assert memory.llm is llm


def test_a_stream_that_nobody_reads_ends_its_run(index: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(make("context", index, llm))
    response = guarded.stream_chat(corpus.question)
    response.write_response_to_history_thread.join()
    (ledger,) = guarded.ctxguard.ledgers
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert str(response).startswith("answer")
    assert type(response).__name__ == "StreamingAgentChatResponse"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stream_that_breaks_notes_it(corpus: Any) -> None:
    def breaks(messages: Any) -> str:
        raise ConnectionError("gone")

    class Late(ScriptedLLM):
        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            yield from ()
            breaks(messages)

    guarded = guard(make("simple", None, Late()))
    response = guarded.stream_chat(corpus.question)
    with pytest.raises(ConnectionError, match="gone"):
        list(response.response_gen)
    assert guarded.ctxguard.ledgers[-1].error == "ConnectionError: gone"


class Bare(BaseChatEngine):
    """An engine whose streams nobody writes to a memory."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    def chat(self, message: str, chat_history: Any = None) -> Any:
        return StreamingAgentChatResponse()

    def stream_chat(self, message: str, chat_history: Any = None) -> Any:
        stream = self.llm.stream_chat([ChatMessage(content=message)])
        return StreamingAgentChatResponse(chat_stream=stream, is_writing_to_memory=False)

    async def achat(self, message: str, chat_history: Any = None) -> Any:
        return object.__new__(WorkflowHandler)

    async def astream_chat(self, message: str, chat_history: Any = None) -> Any:
        stream = await self.llm.astream_chat([ChatMessage(content=message)])
        return StreamingAgentChatResponse(achat_stream=stream, is_writing_to_memory=False)

    def reset(self) -> None: ...

    @property
    def chat_history(self) -> list[ChatMessage]:
        return []


@pytest.mark.parametrize("way", [stream_chat, astream_chat])
def test_streams_that_are_only_read(way: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(Bare(llm))
    assert way(guarded)(corpus.question).startswith("answer")
    (ledger,) = guarded.ctxguard.ledgers
    assert [step.kind for step in ledger.steps] == ["model"]


def test_responses_without_a_stream(llm: Any, corpus: Any) -> None:
    guarded = guard(Bare(llm))
    guarded.chat(corpus.question)
    asyncio.run(guarded.achat(corpus.question))
    assert len(guarded.ctxguard.ledgers) == 2


def test_two_streams_at_once_do_not_mix(index: Any, llm: Any, corpus: Any) -> None:
    plain = index.as_query_engine(llm=llm, similarity_top_k=4, streaming=True)
    guarded = guard(plain)
    first = guarded.query(corpus.question)
    second = guarded.query("When is payment due after the invoice?")
    words = list(zip(first.response_gen, second.response_gen, strict=True))
    list(first.response_gen)
    assert len(words) == len(list(plain.query(corpus.question).response_gen))
    ledgers = {ledger.question: ledger for ledger in guarded.ctxguard.ledgers}
    assert set(ledgers) == {corpus.question, "When is payment due after the invoice?"}
    for ledger in ledgers.values():
        assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
