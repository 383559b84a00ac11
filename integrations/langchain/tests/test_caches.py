"""No cache serves a plain answer to a guarded object, nor one policy's answer under another."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseLLM
from langchain_core.load import dumps, loads
from langchain_core.outputs import Generation, LLMResult
from langgraph.cache.memory import InMemoryCache as GraphCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy
from pydantic import Field
from typing_extensions import TypedDict, override

from ctxguard import Budget, Policy, guard, guarded, handle
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = [
    pytest.mark.anyio,
    # What langchain-core reads back from a cache.
    pytest.mark.filterwarnings("ignore:The function `loads` is in beta"),
]

POLICIES = [
    Policy(),
    Policy.off(),
    Policy(budget=Budget(window=4000)),
    Policy(budget=Budget(window=4000, reserve_output=100)),
]


class SQLiteCache(BaseCache):
    """Answers in a file, as processes share them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ask("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")

    def _ask(self, command: str, *values: str) -> list[tuple[str]]:
        connection = sqlite3.connect(self._path)
        try:
            with connection:
                return connection.execute(command, values).fetchall()
        finally:
            connection.close()

    @override
    def lookup(self, prompt: str, llm_string: str) -> Any:
        key = f"{prompt}\n{llm_string}"
        found = self._ask("SELECT answer FROM answers WHERE key = ?", key)
        return loads(found[0][0], allowed_objects="core") if found else None

    @override
    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        key = f"{prompt}\n{llm_string}"
        self._ask("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, dumps(return_val))

    @override
    def clear(self, **kwargs: Any) -> None:
        self._ask("DELETE FROM answers")


class Counting(BaseLLM):
    """Completes with the number of the call; copies of it count together."""

    calls: list[str] = Field(default_factory=list, exclude=True)

    @property
    @override
    def _llm_type(self) -> str:
        return "counting"

    @override
    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        self.calls.extend(prompts)
        return LLMResult(generations=[[Generation(text=str(len(self.calls)))] for _ in prompts])


def chat_model(**fields: Any) -> ScriptedChatModel:
    return ScriptedChatModel(script=[str(number) for number in range(1, 100)], **fields)


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> BaseCache:
    return InMemoryCache() if request.param == "memory" else SQLiteCache(tmp_path / "answers.db")


@pytest.fixture(params=["global", "own"])
def make(request: pytest.FixtureRequest, cache: BaseCache) -> Iterator[Callable[[Any], Any]]:
    """Makes a model of a class, which uses the cache."""
    if request.param == "own":
        yield lambda kind: kind(cache=cache)
        return
    set_llm_cache(cache)
    yield lambda kind: kind()
    set_llm_cache(None)


def text(answer: Any) -> str:
    return answer if isinstance(answer, str) else answer.content


async def invoke(model: Any) -> str:
    return text(model.invoke("q"))


async def ainvoke(model: Any) -> str:
    return text(await model.ainvoke("q"))


async def batch(model: Any) -> str:
    return text(model.batch(["q"])[0])


async def abatch(model: Any) -> str:
    return text((await model.abatch(["q"]))[0])


MODES = [invoke, ainvoke, batch, abatch]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [chat_model, Counting])
async def test_each_policy_has_answers_of_its_own(kind: Any, mode: Any, make: Any) -> None:
    plain = make(kind)
    models = [plain, *(guard(plain, policy) for policy in POLICIES)]
    first = [await mode(model) for model in models]
    assert first == [str(number) for number in range(1, len(models) + 1)]
    for again in MODES:  # whoever asked first, and however
        assert [await again(model) for model in models] == first
    assert [await mode(guard(plain, replace(policy))) for policy in POLICIES] == first[1:]


@pytest.mark.parametrize("kind", [chat_model, Counting])
async def test_streams_are_not_answered_from_a_cache(kind: Any, make: Any) -> None:
    """LangChain streams past its caches, and so does a guarded model."""
    plain = make(kind)
    guarded = guard(plain)
    assert [await invoke(plain), await invoke(guarded)] == ["1", "2"]

    def streamed(model: Any) -> str:
        return "".join(map(text, model.stream("q"))).strip()

    async def astreamed(model: Any) -> str:
        items: AsyncIterator[Any] = model.astream("q")
        return "".join([text(item) async for item in items]).strip()

    cached = kind is Counting  # a completion model without a stream of its own is invoked
    assert (streamed(guarded), await astreamed(guarded)) == (("2", "2") if cached else ("3", "4"))
    assert (streamed(plain), await astreamed(plain)) == (("1", "1") if cached else ("5", "6"))


async def test_parts_of_a_chain_and_what_is_bound_to_a_model_count(make: Any) -> None:
    model = make(chat_model)
    tools = [{"type": "function", "function": {"name": "t", "parameters": {}}}]
    plain = [model, model.bind(stop=["x"]), model.bind_tools(tools), model | text]
    guarded = [guard(one) for one in plain]
    asked = model.seen
    for one in (*plain[:3], *guarded[:3]):
        one.invoke("q")
    assert len(asked) == 6
    for one in (*plain, *guarded):  # a chain asks as its model does
        one.invoke("q")
    assert len(asked) == 6


def test_a_model_that_asks_for_no_cache_gets_none(cache: BaseCache) -> None:
    set_llm_cache(cache)
    try:
        for kind in (chat_model, Counting):
            guarded = guard(kind(cache=False))
            assert [text(guarded.invoke("q")) for _ in range(2)] == ["1", "2"]
    finally:
        set_llm_cache(None)


@pytest.mark.parametrize("kind", [chat_model, Counting])
def test_a_cache_that_is_missing_is_the_same_error(kind: Any) -> None:
    with pytest.raises(ValueError, match="cache") as plain:
        kind(cache=True).invoke("q")
    with pytest.raises(ValueError, match="cache") as guarded:
        guard(kind(cache=True)).invoke("q")
    assert str(guarded.value) == str(plain.value)


def test_a_cache_can_be_given_cleared_and_taken_away(cache: BaseCache) -> None:
    guarded = guard(Counting())
    assert [guarded.invoke("q") for _ in range(2)] == ["1", "2"]
    guarded.cache = cache
    assert [guarded.invoke("q") for _ in range(2)] == ["3", "3"]
    guarded.cache.clear()
    assert [guarded.invoke("q") for _ in range(2)] == ["4", "4"]
    guarded.cache = None
    assert guarded.invoke("q") == "5"


def test_a_guarded_completion_model_s_class_makes_models_as_the_plain_class_does() -> None:
    made = type(guard(Counting()))()
    assert made.cache is None
    assert repr(made) == repr(Counting())
    assert repr(guard(Counting())) == repr(Counting())


async def test_an_async_cache_is_cleared_too() -> None:
    cache = InMemoryCache()
    guarded: Any = guard(Counting(cache=cache))
    assert await guarded.ainvoke("q") == "1"
    await guarded.cache.aclear()
    assert await guarded.ainvoke("q") == "2"


# -- LangGraph ----------------------------------------------------------------------------------


class State(TypedDict):
    question: str
    found: str


NOTICE = "The notice period for ending the supply agreement is thirty days, given in writing."


@pytest.fixture
def two_copies() -> FixedRetriever:
    return FixedRetriever(documents=[Document(NOTICE, id=name) for name in "ab"])


def compiled(retriever: FixedRetriever, asked: list[str], cache: GraphCache[Any]) -> Any:
    def search(state: State) -> dict[str, str]:
        asked.append(state["question"])
        return {"found": str(len(retriever.invoke(state["question"])))}

    graph = StateGraph(State)
    graph.add_node(search, cache_policy=CachePolicy())
    graph.add_edge(START, "search")
    return graph.compile(cache=cache)


async def test_what_a_plain_graphs_node_wrote_is_not_served_to_a_guarded_one(
    two_copies: FixedRetriever,
) -> None:
    asked: list[str] = []
    plain = compiled(two_copies, asked, GraphCache())
    guarded, other = guard(plain), guard(plain, Policy.off())
    question: Any = {"question": "q"}
    expected = ["2", "1", "2"]
    for calls in (3, 3):  # the second time from the cache
        found = [graph.invoke(question)["found"] for graph in (plain, guarded, other)]
        assert found == expected
        assert len(asked) == calls
    found = [(await graph.ainvoke(question))["found"] for graph in (plain, guarded, other)]
    assert found == expected
    assert len(asked) == 3


async def test_a_graphs_cache_is_cleared_for_the_graph_that_asks(
    two_copies: FixedRetriever,
) -> None:
    asked: list[str] = []
    plain = compiled(two_copies, asked, GraphCache())
    guarded = guard(guard(plain), Policy.off())  # guarded anew: still one prefix
    question: Any = {"question": "q"}
    for graph in (plain, guarded):
        graph.invoke(question)
    guarded.clear_cache()
    plain.invoke(question)
    assert len(asked) == 2
    guarded.invoke(question)
    assert len(asked) == 3
    await guarded.aclear_cache()
    guarded.invoke(question)
    assert len(asked) == 4
    guarded.cache.clear()  # all of it, as of the plain graph's
    plain.invoke(question)
    assert len(asked) == 5
    await guarded.cache.aclear()
    plain.invoke(question)
    assert len(asked) == 6


def test_a_functional_graphs_tasks_are_kept_apart(two_copies: FixedRetriever) -> None:
    asked: list[str] = []

    @task(cache_policy=CachePolicy())
    def search(question: str) -> int:
        asked.append(question)
        return len(two_copies.invoke(question))

    @entrypoint(cache=GraphCache())
    def plain(question: str) -> int:
        return search(question).result()

    guarded = guard(plain)
    for _ in range(2):
        assert (plain.invoke("q"), guarded.invoke("q")) == (2, 1)
    assert len(asked) == 2


def around(inner: Any, cache: GraphCache[Any]) -> Any:
    """A plain graph with a cache, whose only node is another graph."""
    graph = StateGraph(State)
    graph.add_node("inner", inner, cache_policy=CachePolicy())
    graph.add_edge(START, "inner")
    return graph.compile(cache=cache)


@pytest.mark.parametrize("scope", ["copy", "process"])
def test_a_plain_graph_keeps_what_a_guarded_node_wrote_apart(
    scope: Any, two_copies: FixedRetriever
) -> None:
    asked: list[str] = []
    cache: GraphCache[Any] = GraphCache()
    parts = [compiled(two_copies.model_copy(), asked, GraphCache()) for _ in range(3)]
    policies = [Policy(), Policy.off()]
    made = [
        guard(part, policy, scope=scope) for part, policy in zip(parts[1:], policies, strict=True)
    ]
    graphs = [around(part, cache) for part in (parts[0], *made)]
    question: Any = {"question": "q"}
    for _ in range(2):  # the second time from the cache
        assert [graph.invoke(question)["found"] for graph in graphs] == ["2", "1", "2"]
        assert len(asked) == 3


async def test_a_graph_guarded_in_place_has_keys_of_its_own_until_it_is_unguarded(
    two_copies: FixedRetriever,
) -> None:
    asked: list[str] = []
    cache: GraphCache[Any] = GraphCache()
    graph = compiled(two_copies, asked, cache)
    question: Any = {"question": "q"}
    assert graph.invoke(question)["found"] == "2"
    guard(graph, scope="process")
    for _ in range(2):
        assert graph.invoke(question)["found"] == "1"
        assert (await graph.ainvoke(question))["found"] == "1"
    assert len(asked) == 2
    assert guard(graph, Policy.off(), scope="process").cache is not cache
    assert graph.invoke(question)["found"] == "2"
    assert len(asked) == 3
    assert handle(graph).unguard().cache is cache
    assert graph.invoke(question)["found"] == "2"
    assert len(asked) == 3


def test_a_graph_inside_of_one_guarded_in_place_has_them_too(two_copies: FixedRetriever) -> None:
    asked: list[str] = []
    cache: GraphCache[Any] = GraphCache()
    inner = compiled(two_copies, asked, cache)
    outer = around(inner, GraphCache())
    question: Any = {"question": "q"}
    assert inner.invoke(question)["found"] == "2"
    guard(outer, scope="process")
    assert (outer.invoke(question)["found"], inner.invoke(question)["found"]) == ("1", "1")
    assert len(asked) == 2
    handle(outer).unguard()
    assert inner.cache is cache
    assert inner.invoke(question)["found"] == "2"


def test_calls_that_begin_after_unguard_use_the_plain_keys_at_once(
    two_copies: FixedRetriever,
) -> None:
    asked: list[str] = []
    graph = compiled(two_copies, asked, GraphCache())
    question: Any = {"question": "q"}
    guard(graph, scope="process")
    in_flight = graph.stream(question, stream_mode="values")
    next(in_flight)
    handle(graph).unguard()
    assert graph.invoke(question)["found"] == "2"
    assert list(in_flight)[-1]["found"] == "1"
    assert graph.invoke(question)["found"] == "2"
    assert len(asked) == 2


async def test_a_block_keeps_what_nodes_wrote_inside_of_it_apart(
    two_copies: FixedRetriever,
) -> None:
    asked: list[str] = []
    graph = compiled(two_copies, asked, GraphCache())
    question: Any = {"question": "q"}
    for calls in (2, 2):
        assert graph.invoke(question)["found"] == "2"
        with guarded(Policy()):
            assert graph.invoke(question)["found"] == "1"
            assert (await graph.ainvoke(question))["found"] == "1"
        assert len(asked) == calls
    with guarded(Policy()):
        assert guard(graph, Policy.off()).invoke(question)["found"] == "2"
    assert len(asked) == 3


def test_what_a_guarded_graph_does_not_have_is_missed_as_before(
    two_copies: FixedRetriever,
) -> None:
    plain = compiled(two_copies, [], GraphCache())
    with pytest.raises(AttributeError) as expected:
        _ = plain.nothing
    with pytest.raises(AttributeError) as missed:
        _ = guard(plain).nothing
    assert str(missed.value) == str(expected.value)
