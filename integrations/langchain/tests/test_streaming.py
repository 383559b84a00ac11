"""Streams stream, are the same as without a guard, and leave nothing behind in their consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import Field

from ctxguard import Policy, guard, handle
from ctxguard.run import current_run
from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio

Joined = Callable[[list[Document]], str]


class Gated(ScriptedChatModel):
    """Says when its last word was made, to see what came before it."""

    made: list[str] = Field(default_factory=list)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        for word in ("one", "two", "three"):
            self.made.append(word)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        for chunk in self._stream(messages):
            yield chunk


@pytest.fixture
def gated() -> Gated:
    return Gated(made=[])


def answering(
    retriever: Any, prompt: ChatPromptTemplate, model: Any, joined: Joined
) -> Runnable[Any, Any]:
    steps = {"context": retriever | joined, "question": RunnablePassthrough()}
    return steps | prompt | model | StrOutputParser()


@pytest.fixture
def chain(
    retriever: FixedRetriever, prompt: ChatPromptTemplate, gated: Gated, joined: Joined
) -> Runnable[Any, Any]:
    return answering(retriever, prompt, gated, joined)


def test_the_first_token_arrives_before_the_last_is_made(
    chain: Runnable[Any, Any], gated: Gated
) -> None:
    stream = guard(chain).stream("q")
    first = next(stream)
    while not first:
        first = next(stream)
    assert first == "one"
    assert "three" not in gated.made
    assert "".join(stream) == "twothree"


async def test_the_first_token_arrives_early_in_an_async_stream(
    chain: Runnable[Any, Any], gated: Gated
) -> None:
    async for part in guard(chain).astream("q"):
        if part:
            assert part == "one"
            break
    assert "three" not in gated.made


# -- the same events ----------------------------------------------------------------------------


async def events(runnable: Runnable[Any, Any], given: Any) -> list[dict[str, Any]]:
    """Every event, without the ids and times that are drawn for each run."""
    names: dict[str, str] = {}
    found = []
    async for event in runnable.astream_events(given, version="v2"):
        shown = dict(event)
        shown["run_id"] = names.setdefault(event["run_id"], f"run {len(names)}")
        shown["parent_ids"] = [
            names.setdefault(p, f"run {len(names)}") for p in event["parent_ids"]
        ]
        shown["data"] = blurred(event["data"])
        shown["metadata"] = blurred(event.get("metadata"))
        found.append(shown)
    return found


def blurred(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: blurred(v) for k, v in value.items() if "checkpoint_ns" not in k}
    if isinstance(value, list | tuple):
        return [blurred(item) for item in value]
    return value.model_copy(update={"id": None}) if isinstance(value, BaseMessage) else value


@pytest.mark.parametrize("policy", [Policy.off(), Policy()])
async def test_a_chain_has_the_same_events(
    retriever: FixedRetriever, gated: Gated, joined: Joined, policy: Policy
) -> None:
    retriever.documents = retriever.documents[2:]  # nothing to leave out, so that all is the same
    prompt = ChatPromptTemplate.from_template("{context}")
    # One branch only: with two, they tell of themselves in any order.
    chain = {"context": retriever | joined} | prompt | gated | StrOutputParser()
    plain = await events(chain, "q")
    assert await events(guard(chain, policy), "q") == plain
    kinds = {event["event"] for event in plain}
    assert {"on_retriever_end", "on_chat_model_stream", "on_chain_stream"} <= kinds


async def test_a_retriever_and_a_model_have_the_same_events(
    documents: list[Document], model: ScriptedChatModel
) -> None:
    for plain in (
        FixedRetriever(documents=documents),
        AsyncFixedRetriever(documents=documents),
        model,
        model.bind(stop=["x"]),
        model.with_config(tags=["t"], metadata={"m": 1}, run_name="named"),
    ):
        assert await events(guard(plain, Policy.off()), "q") == await events(plain, "q")


def graph(retriever: FixedRetriever, model: ScriptedChatModel, joined: Joined) -> Any:
    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", joined(retriever.invoke("q")))]}

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_sequence([retrieve, answer])
    built.add_edge(START, "retrieve")
    return built.compile()


async def test_a_graph_has_the_same_events(
    retriever: FixedRetriever, model: ScriptedChatModel, joined: Joined
) -> None:
    plain = graph(retriever, model, joined)
    given = {"messages": [("user", "q")]}
    expected = await events(plain, given)
    assert await events(guard(plain, Policy.off()), given) == expected


@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3` is in beta")
@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
async def test_a_model_streams_protocol_events(model: ScriptedChatModel) -> None:
    guarded = guard(model)
    stream = guarded.stream_events("x", version="v3")
    assert str(stream.text) == str(model.stream_events("x", version="v3").text)
    awaited = await guarded.astream_events("x", version="v3")
    assert str(await awaited.text) == str(stream.text)
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1]


@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
@pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")
async def test_a_graph_streams_protocol_events(
    retriever: FixedRetriever, model: ScriptedChatModel, joined: Joined
) -> None:
    guarded = guard(graph(retriever, model, joined))
    run = await guarded.astream_events({"messages": [("user", "q")]}, version="v3")
    output = await run.output()
    assert output["messages"][-1].text.strip() == "done"
    assert [step.kind for step in handle(guarded).ledgers[0].steps] == ["retrieval", "model"]


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
async def test_a_log_stream_is_one_run(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    patches = [patch async for patch in guarded.astream_log("q")]
    assert patches
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2]


# -- nothing leaks ------------------------------------------------------------------------------


def test_nothing_is_active_between_two_steps(chain: Runnable[Any, Any]) -> None:
    for _ in guard(chain).stream("q"):
        assert current_run() is None
    assert current_run() is None


async def test_nothing_is_active_between_two_async_steps(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    async for _ in guarded.astream("q"):
        assert current_run() is None
    async for _ in guarded.astream_events("q"):
        assert current_run() is None


def test_two_interleaved_streams_have_their_own_runs(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    first, second = guarded.stream("first question"), guarded.stream("second question")
    for _ in zip(first, second, strict=True):
        pass
    ledgers = handle(guarded).ledgers
    assert {ledger.question for ledger in ledgers} == {"first question", "second question"}
    assert [len(ledger.steps) for ledger in ledgers] == [2, 2]


async def test_two_interleaved_async_streams_have_their_own_runs(
    chain: Runnable[Any, Any],
) -> None:
    guarded = guard(chain)
    first, second = guarded.astream("first question"), guarded.astream("second question")
    for _ in range(3):
        await anext(first)
        await anext(second)
    _ = [part async for part in first], [part async for part in second]
    ledgers = handle(guarded).ledgers
    assert {ledger.question for ledger in ledgers} == {"first question", "second question"}


def test_a_stream_that_is_closed_early_ends_well(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    stream: Any = guarded.stream("q")
    next(stream)
    stream.close()
    assert [(len(ledger.steps), ledger.error) for ledger in handle(guarded).ledgers] == [(2, "")]


async def test_an_async_stream_that_is_closed_early_ends_well(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    stream: Any = guarded.astream("q")
    await anext(stream)
    await stream.aclose()
    assert [(len(ledger.steps), ledger.error) for ledger in handle(guarded).ledgers] == [(2, "")]


async def test_a_stream_whose_steps_run_in_different_tasks_works(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    stream: Any = guarded.astream("q")
    parts: list[str] = []
    while True:
        try:
            parts.append(await asyncio.create_task(anext(stream)))
        except StopAsyncIteration:
            break
    assert "".join(parts) == "onetwothree"
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2]


def test_the_consumers_context_variables_are_seen_inside(documents: list[Document]) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    retriever = FixedRetriever(documents=documents)
    plain = RunnableLambda(retriever.invoke) | (lambda _: variable.get())
    guarded = guard(plain)
    variable.set("set before")
    assert list(guarded.stream("q")) == ["set before"]


def test_an_error_in_a_stream_is_raised_and_noted(
    retriever: FixedRetriever, prompt: ChatPromptTemplate, joined: Joined
) -> None:
    class Failing(ScriptedChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            yield ChatGenerationChunk(message=AIMessageChunk(content="one"))
            raise ConnectionError("gone")

    guarded = guard(answering(retriever, prompt, Failing(), joined))
    with pytest.raises(ConnectionError):
        list(guarded.stream("q"))
    last = handle(guarded).last
    assert last is not None
    assert last.error == "ConnectionError: gone"


# -- composed -----------------------------------------------------------------------------------


async def test_composing_keeps_the_run(chain: Runnable[Any, Any]) -> None:
    guarded = guard(chain)
    for composed in (
        guarded | str.upper,
        guarded.pipe(str.upper),
        guarded.with_config(tags=["x"]),
        guarded.bind(),
        guarded.with_retry(),
        guarded.with_types(input_type=str),
        guarded.with_fallbacks([RunnableLambda(str.upper)]),
        RunnablePassthrough() | guarded,
        str.strip | guarded,
        (RunnablePassthrough() | str.strip) | guarded,
        (RunnablePassthrough() | str.strip).pipe(guarded),
        RunnableLambda(str.strip) | guarded,
    ):
        before = len(handle(guarded).ledgers)
        assert composed.invoke("q").lower() == "done"
        assert (await composed.ainvoke("q")).lower() == "done"
        assert "".join(composed.stream("q")).lower() == "onetwothree"
        assert "".join([part async for part in composed.astream("q")]).lower() == "onetwothree"
        new = handle(guarded).ledgers[before:]
        assert [[step.kind for step in ledger.steps] for ledger in new] == [
            ["retrieval", "model"]
        ] * 4


def test_picking_and_assigning_keep_the_run(
    retriever: FixedRetriever, model: ScriptedChatModel, joined: Joined
) -> None:
    plain = RunnablePassthrough.assign(context=lambda given: joined(retriever.invoke(given["q"])))
    guarded = guard(
        plain | RunnablePassthrough.assign(answer=lambda given: model.invoke(given["context"]))
    )
    picked = guarded.pick("answer")
    assert picked.invoke({"q": "q"}).content == "done"
    assigned = guarded.assign(shout=lambda given: given["answer"].content.upper())
    assert assigned.invoke({"q": "q"})["shout"] == "DONE"
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2, 2]


def test_a_composed_stream_still_streams(chain: Runnable[Any, Any], gated: Gated) -> None:
    composed = guard(chain) | StrOutputParser()
    parts = composed.stream("q")
    first = next(parts)
    while not first:
        first = next(parts)
    assert (first, "three" in gated.made) == ("one", False)
