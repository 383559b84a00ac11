"""What passes a model: the window, what is cut, budgets, caches, completion models."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseLLM, FakeListLLM, FakeStreamingListLLM
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import tool
from pydantic import Field

from ctxguard import Budget, BudgetExceededError, Guard, Policy, guard, guarded, handle
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio

SMALL = Policy(budget=Budget(window=400, reserve_output=50))


def conversation(turns: int) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage("You answer briefly.", id="system")]
    for n in range(turns):
        messages.append(
            HumanMessage(f"Question number {n}, about a matter of its own?", id=f"q{n}")
        )
        messages.append(AIMessage(f"Answer number {n}, which is not very long.", id=f"a{n}"))
    return [*messages, HumanMessage("And the last question?", id="last")]


async def test_a_long_conversation_is_made_to_fit(model: ScriptedChatModel) -> None:
    guarded = guard(model, SMALL)
    messages = conversation(40)
    before = [message.model_copy(deep=True) for message in messages]
    guarded.invoke(messages)
    await guarded.ainvoke(messages)
    list(guarded.stream(messages))
    _ = [chunk async for chunk in guarded.astream(messages)]
    assert messages == before
    for seen, ledger in zip(model.seen, handle(guarded).ledgers, strict=True):
        assert seen[0] is messages[0]
        assert seen[-1] is messages[-1]
        assert 1 < len(seen) < len(messages)
        assert ledger.tokens_used <= 350
        assert ledger.model == "o200k_base"


def test_what_fits_is_handed_on_as_it_is(model: ScriptedChatModel) -> None:
    given = conversation(2)
    guarded = guard(model, SMALL)
    guarded.invoke(given)
    assert all(seen is message for seen, message in zip(model.seen[0], given, strict=True))


async def test_what_cannot_fit_says_who_uses_what(model: ScriptedChatModel) -> None:
    guarded = guard(model, SMALL)
    messages = [SystemMessage("word " * 2000), HumanMessage("q")]
    calls: list[Callable[[], Any]] = [
        lambda: guarded.invoke(messages),
        lambda: list(guarded.stream(messages)),
        lambda: guarded.bind(stop=["x"]).invoke(messages),
    ]
    for call in calls:
        with pytest.raises(BudgetExceededError, match=r"instructions +2,0"):
            call()
    with pytest.raises(BudgetExceededError):
        await guarded.ainvoke(messages)
    assert model.seen == []
    assert all(ledger.error.startswith("BudgetExceededError") for ledger in handle(guarded).ledgers)


def test_a_profile_says_how_large_the_window_is() -> None:
    model = ScriptedChatModel(profile={"max_input_tokens": 300, "max_output_tokens": 100})
    guarded = guard(model)
    guarded.invoke(conversation(40))
    last = handle(guarded).last
    assert last is not None
    assert last.budget.window == 300
    assert last.tokens_used <= 300 - last.budget.reserve


def test_a_profile_without_a_window_says_nothing() -> None:
    guarded = guard(ScriptedChatModel(profile={"max_input_tokens": 0}))
    guarded.invoke(conversation(40))
    last = handle(guarded).last
    assert last is not None
    assert last.budget.window is None


def test_tools_are_counted(model: ScriptedChatModel) -> None:
    @tool
    def search(query: str) -> str:
        """Find documents about something."""
        return query

    guarded = guard(model.bind_tools([search]))
    guarded.invoke("q")
    last = handle(guarded).last
    assert last is not None
    assert last.segments[0].kind == "tools"
    assert last.segments[0].tokens > 20


def test_a_call_and_its_results_leave_together(model: ScriptedChatModel) -> None:
    messages: list[BaseMessage] = []
    for n in range(20):
        calls: Any = [{"name": "search", "args": {"query": f"number {n}"}, "id": f"c{n}"}]
        messages.append(HumanMessage(f"Question number {n} about something else."))
        messages.append(AIMessage("", tool_calls=calls))
        messages.append(ToolMessage(f"The result of call number {n}.", tool_call_id=f"c{n}"))
    guard(model, SMALL).invoke([*messages, HumanMessage("last?")])
    made = {c["id"] for m in model.seen[0] if isinstance(m, AIMessage) for c in m.tool_calls}
    answered = {m.tool_call_id for m in model.seen[0] if isinstance(m, ToolMessage)}
    assert made == answered
    assert 0 < len(made) < 20


def test_text_blocks_are_cut_in_place(model: ScriptedChatModel) -> None:
    long = "\n".join(f"Line number {n} of a long result of a tool." for n in range(400))
    image = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
    note = {"type": "text", "text": "Read it with care.", "cache_control": {"type": "ephemeral"}}
    calls: Any = [{"name": "read", "args": {}, "id": "c"}]
    content: Any = [note, image, {"type": "text", "text": long, "id": "block"}]
    messages = [
        HumanMessage("Summarise it."),
        AIMessage("", tool_calls=calls),
        ToolMessage(content, tool_call_id="c", id="t", artifact=object()),
    ]
    guard(model, Policy(budget=Budget(window=1000, reserve_output=100))).invoke(messages)
    seen = model.seen[0][-1]
    assert isinstance(seen, ToolMessage)
    assert seen is not messages[-1]
    assert (seen.id, seen.tool_call_id, seen.artifact) == ("t", "c", messages[-1].artifact)
    blocks: Any = seen.content
    assert blocks[0] is messages[-1].content[0]
    assert blocks[1] is messages[-1].content[1]
    assert blocks[2]["id"] == "block"
    assert "left out by ctxguard" in blocks[2]["text"]
    assert len(blocks[2]["text"]) < len(long)
    assert content[2]["text"] == long


def test_evidence_gives_way_before_instructions(
    prompt: ChatPromptTemplate, model: ScriptedChatModel, joined: Callable[[list[Document]], str]
) -> None:
    documents = [
        Document(page_content=f"Clause {n} says that matter {n} is settled in part {n}.", id=str(n))
        for n in range(30)
    ]
    steps = {
        "context": FixedRetriever(documents=documents) | joined,
        "question": RunnablePassthrough(),
    }
    guarded = guard(steps | prompt | model, SMALL)
    guarded.invoke("What does clause 0 say?")
    last = handle(guarded).last
    assert last is not None
    assert last.tokens_used <= 350
    (message,) = model.seen[0]
    assert "Clause 0 says" in message.text
    assert 1 < message.text.count("says that matter") < 30
    assert message.text.endswith("Question: What does clause 0 say?")


def test_usage_and_callbacks_are_of_the_call_itself(model: ScriptedChatModel) -> None:
    heard: list[Any] = []

    class Listener(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            heard.append((serialized["name"], len(messages[0])))

        def on_llm_end(self, response: Any, **kwargs: Any) -> None:
            heard.append(response.generations[0][0].message.usage_metadata["output_tokens"])

    answer = guard(model, SMALL).invoke(conversation(40), {"callbacks": [Listener()]})
    assert heard == [("ScriptedChatModel", 82), 1]
    assert answer.usage_metadata is not None


async def test_a_model_that_calls_itself_is_fitted_once() -> None:
    class Streaming(ScriptedChatModel):
        """Answers through its stream, as many do."""

        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            from langchain_core.language_models.chat_models import generate_from_stream

            return generate_from_stream(self._stream(messages, **kwargs))

        async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            return self._generate(messages, **kwargs)

    guarded = guard(Streaming())
    guarded.invoke("q")
    await guarded.ainvoke("q")
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1]


def test_arguments_by_keyword_work(model: ScriptedChatModel) -> None:
    guarded = guard(model)
    result = guarded._generate(messages=[HumanMessage("q")], stop=None)
    assert result.generations[0].message.content == "done"
    assert len(handle(guarded).ledgers) == 1


class Broken(Guard):
    """A guard with a bug."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("a bug of the guard")


def test_a_failure_of_the_guard_is_not_the_calls(model: ScriptedChatModel) -> None:
    from ctxguard_langchain.adapter import adapter

    guarded = adapter.guard(model, Broken(Policy()))
    assert guarded.invoke("q").content == "done"
    (error,) = handle(guarded).ledgers[0].errors
    assert "a bug of the guard" in error.reason
    with pytest.raises(ZeroDivisionError):
        adapter.guard(model, Broken(Policy.strict())).invoke("q")


# -- caches -------------------------------------------------------------------------------------


@pytest.fixture
def cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


async def test_a_shared_cache_keeps_guarded_and_plain_answers_apart(cache: InMemoryCache) -> None:
    plain = ScriptedChatModel(script=["first", "second", "third"])
    guarded, other = guard(plain), guard(plain, SMALL)
    assert plain.invoke("q").content == "first"
    assert guarded.invoke("q").content == "second"
    assert other.invoke("q").content == "third"
    assert plain.invoke("q").content == "first"
    assert (await guarded.ainvoke("q")).content == "second"
    assert other.invoke("q").content == "third"
    assert len(plain.seen) == 3


async def test_a_completion_models_cache_is_kept_apart_too(cache: InMemoryCache) -> None:
    plain = FakeListLLM(responses=["first", "second"])
    guarded = guard(plain)
    assert plain.invoke("q") == "first"
    assert guarded.invoke("q") == "first"  # a copy with a script of its own
    assert len(cache._cache) == 2
    assert (await guarded.ainvoke("q")) == "first"
    own = InMemoryCache()
    separate = guard(FakeListLLM(responses=["x"], cache=own))
    separate.invoke("q")
    assert len(own._cache) == 1
    assert guard(FakeListLLM(responses=["x"], cache=False)).invoke("q") == "x"


# -- completion models --------------------------------------------------------------------------


class Counting(BaseLLM):
    """A completion model that answers many prompts in one call."""

    calls: list[list[str]] = Field(default_factory=list)

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        self.calls.append(list(prompts))
        return LLMResult(generations=[[Generation(text=str(len(p)))] for p in prompts])

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        self.calls.append([prompt])
        yield GenerationChunk(text=str(len(prompt)))

    @property
    def _llm_type(self) -> str:
        return "counting"

    model_name: str = "o200k_base"


async def test_a_completion_model_is_guarded() -> None:
    model = Counting(calls=[])
    guarded = guard(model)
    assert guarded.invoke("four") == "4"
    assert await guarded.ainvoke("four") == "4"
    assert list(guarded.stream("four")) == ["4"]
    assert [part async for part in guarded.astream("four")] == ["4"]
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1, 1, 1]
    assert guarded.batch(["a", "bb"]) == ["1", "2"]
    assert model.calls[-1] == ["a", "bb"]  # still one call of the model
    last = handle(guarded).last
    assert last is not None
    assert [step.kind for step in last.steps] == ["model", "model"]


async def test_a_completion_model_in_a_chain_gives_way(
    prompt: ChatPromptTemplate, joined: Callable[[list[Document]], str]
) -> None:
    documents = [
        Document(page_content=f"Clause {n} says that matter {n} is settled in part {n}.", id=str(n))
        for n in range(30)
    ]
    model = Counting(calls=[])
    steps = {
        "context": FixedRetriever(documents=documents) | joined,
        "question": RunnablePassthrough(),
    }
    guarded = guard(steps | prompt | model, SMALL)
    guarded.invoke("What does clause 0 say?")
    await guarded.ainvoke("What does clause 0 say?")
    for (sent,) in model.calls:
        assert "Clause 0 says" in sent
        assert "Clause 29 says" not in sent


def test_a_completion_model_streams() -> None:
    guarded = guard(FakeStreamingListLLM(responses=["abc"]))
    assert list(guarded.stream("q")) == ["a", "b", "c"]
    with pytest.raises(BudgetExceededError):
        guard(FakeStreamingListLLM(responses=["abc"]), SMALL).invoke("word " * 2000)


class OwnEntryPoints(ScriptedChatModel):
    """Answers without the methods that every model has."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 -- LangChain's name
        return self._answer(self._convert_input(input).to_messages(), kwargs)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 -- LangChain's name
        return self._answer(self._convert_input(input).to_messages(), kwargs)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 -- LangChain's name
        yield self._answer(self._convert_input(input).to_messages(), kwargs)

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 -- LangChain's name
        yield self._answer(self._convert_input(input).to_messages(), kwargs)


class OwnCompletion(FakeListLLM):
    """A completion model that never comes to the method below."""

    seen: list[str] = Field(default_factory=list[str])

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> str:  # noqa: A002 -- LangChain's name
        self.seen.append(self._convert_input(input).to_string())
        return "done"


@pytest.mark.parametrize("scope", ["copy", "process", "block"])
async def test_a_model_whose_own_entry_points_go_past_the_others(scope: Any) -> None:
    old = [HumanMessage("an old question " * 40), AIMessage("an old answer"), HumanMessage("q")]
    policy = Policy(budget=Budget(window=80, reserve_output=10))
    model: Any = OwnEntryPoints()
    completion: Any = OwnCompletion(responses=["done"])
    with contextlib.ExitStack() as stack:
        if scope == "block":
            stack.enter_context(guarded(policy))
        else:
            model, completion = (guard(one, policy, scope=scope) for one in (model, completion))
        model.invoke(old)
        await model.ainvoke(old)
        list(model.stream(old))
        [part async for part in model.astream(old)]
        model.invoke("as it came")
        with pytest.raises(BudgetExceededError):
            model.invoke("word " * 200)
        completion.invoke("short")
        with pytest.raises(BudgetExceededError):
            completion.invoke("word " * 200)
    assert [[message.content for message in seen] for seen in model.seen] == [
        *[["q"]] * 4,
        ["as it came"],
    ]
    assert completion.seen == ["short"]
