"""`with guarded(policy)`: everything that runs inside, unmodified, and nothing that does not."""

from __future__ import annotations

import contextvars
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from ctxguard import (
    BudgetExceededError,
    CoverageWarning,
    Handle,
    Ledger,
    Policy,
    guard,
    guarded,
    handle,
)
from ctxguard.types import Budget
from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.beyond import MODES, SHAPES, foreign, ids

__all__ = ["foreign"]

EVERYTHING = ["a", "b", "c", "d"]
ROOTS = (BaseRetriever, BaseChatModel, VectorStore)


def last(handle: Handle) -> Ledger:
    assert handle.last is not None
    return handle.last


def _below(kind: type) -> Iterator[type]:
    yield kind
    for below in type.__subclasses__(kind):
        yield from _below(below)


def loaded() -> dict[type, dict[str, object]]:
    """Every method of every class that a block could change."""
    return {kind: dict(vars(kind)) for root in ROOTS for kind in _below(root)}


@pytest.fixture
def chain(retriever: FixedRetriever, model: ScriptedChatModel, prompt: Any, joined: Any) -> Any:
    found = retriever | RunnableLambda(joined)
    return {"context": found, "question": RunnablePassthrough()} | prompt | model


@pytest.mark.anyio
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_no_copy_reaches_is_guarded_inside(
    shape: str,
    mode: str,
    retriever: FixedRetriever,
    store: InMemoryVectorStore,
    foreign: types.ModuleType,
) -> None:
    chain: Any = SHAPES[shape](retriever, store, foreign)
    before = loaded()
    with guarded() as block:
        one_copy = ids(await MODES[mode](chain, "q"))
    assert one_copy in (["a", "c", "d"], ["b", "c", "d"])
    assert {step.kind for step in last(block).steps} == {"retrieval"}
    assert len(last(block).steps) == (2 if "batch" in mode else 1)
    assert ids(await MODES[mode](chain, "q")) == EVERYTHING
    assert loaded() == before


@pytest.mark.anyio
async def test_a_block_is_one_run_with_one_ledger(chain: Any, model: ScriptedChatModel) -> None:
    with guarded() as block:
        assert chain.invoke("q").content == "done"
        assert (await chain.ainvoke("q")).content == "done"
        assert "".join(part.content for part in chain.stream("q")).strip() == "done"
        assert "".join([part.content async for part in chain.astream("q")]).strip() == "done"
    assert [step.kind for step in last(block).steps] == ["retrieval", "model"] * 4
    assert len(block.ledgers) == 1
    assert all(str(messages).count("thirty") == 1 for messages in model.seen)
    assert not hasattr(chain, "ctxguard")


@pytest.mark.anyio
async def test_messages_fit_the_window_in_every_mode(model: ScriptedChatModel) -> None:
    long = "word " * 200
    tight = Policy(budget=Budget(window=60, reserve_output=10))
    with guarded(tight):
        with pytest.raises(BudgetExceededError):
            model.invoke(long)
        with pytest.raises(BudgetExceededError):
            await model.ainvoke(long)
        with pytest.raises(BudgetExceededError):
            list(model.stream(long))
        with pytest.raises(BudgetExceededError):
            [part async for part in model.astream(long)]
        with pytest.raises(BudgetExceededError):
            FakeListLLM(responses=["done"]).invoke(long)
    assert model.invoke(long).content == "done"


def test_an_agent_with_a_tool(model: ScriptedChatModel, retriever: FixedRetriever) -> None:
    agent: Any = create_agent(model, [create_retriever_tool(retriever, "search", "Searches.")])
    with guarded() as block:
        said = agent.invoke({"messages": [("user", "q")]})["messages"]
    assert str(said).count("thirty") == 1
    assert [step.kind for step in last(block).steps] == ["model", "retrieval", "model"]


def test_the_outermost_retriever_counts(documents: list[Document]) -> None:
    parts: list[Any] = [
        FixedRetriever(documents=documents[:2]),
        FixedRetriever(documents=documents),
    ]
    ensemble = EnsembleRetriever(retrievers=parts, weights=[0.5, 0.5], id_key=None)
    with guarded() as block:
        ensemble.invoke("q")
    assert [step.name for step in last(block).steps] == ["EnsembleRetriever"]


def test_guarded_objects_follow_their_own_policy(chain: Any, retriever: FixedRetriever) -> None:
    made = guard(chain, dedupe=None)
    alone = guard(retriever, dedupe=None)
    in_place: Any = FixedRetriever(documents=retriever.documents)
    guard(in_place, scope="process", dedupe=None)
    with guarded() as block:
        made.invoke("q")
        assert len(alone.invoke("q")) == 4
        assert len(in_place.invoke("q")) == 4
        assert len(retriever.invoke("q")) == 3
        in_place.ctxguard.unguard()
        assert len(in_place.invoke("q")) == 3
    assert [child.name for child in last(block).children] == [
        "RunnableSequence", "FixedRetriever", "FixedRetriever"
    ]  # fmt: skip
    assert sum(step.kind == "retrieval" for step in last(block).steps) == 5


def test_a_block_in_a_block(retriever: FixedRetriever) -> None:
    with guarded() as outer:
        with guarded(dedupe=None) as inner:
            assert len(retriever.invoke("q")) == 4
        assert len(retriever.invoke("q")) == 3
    assert [child.run_id for child in last(outer).children] == [last(inner).run_id]


def test_who_is_outside_sees_nothing(retriever: FixedRetriever) -> None:
    found: dict[str, int] = {}
    with pytest.warns(CoverageWarning):  # what it uses is not there yet
        made: Any = guard(RunnableLambda(lambda _: HIDDEN[-1].invoke("q")))
    HIDDEN.append(retriever)

    def ask(name: str) -> None:
        found[name] = len(retriever.invoke("q"))

    with guarded():
        context = contextvars.copy_context()
        plain = threading.Thread(target=ask, args=("raw thread",))
        copied = threading.Thread(target=lambda: context.run(ask, "copied context"))
        other = threading.Thread(target=lambda: found.update(guarded=len(made.invoke("q"))))
        for thread in (plain, copied, other):
            thread.start()
            thread.join()
        with ContextThreadPoolExecutor(1) as pool:
            pool.submit(ask, "pool of LangChain").result()
    assert found == {
        "raw thread": 4,
        "guarded": 4,
        "copied context": 3,
        "pool of LangChain": 3,
    }


HIDDEN: list[Any] = []


@pytest.mark.anyio
async def test_classes_that_are_defined_meanwhile(documents: list[Document]) -> None:
    before = loaded()
    with guarded() as block:

        class Late(AsyncFixedRetriever):
            async def _aget_relevant_documents(self, query: str, **_: Any) -> list[Document]:
                return list(self.documents)

        class LateModel(ScriptedChatModel):
            def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
                return super()._generate(messages, *args, **kwargs)

        late = Late(documents=documents)
        assert len(await late.ainvoke("q")) == 3
        LateModel().invoke("q")
    assert [step.kind for step in last(block).steps] == ["retrieval", "model"]
    assert len(await late.ainvoke("q")) == 4
    now = loaded()
    assert {kind: now[kind] for kind in before} == before


def test_what_is_made_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain.chat_models import init_chat_model

    made = ScriptedChatModel()
    monkeypatch.setattr("langchain.chat_models.base._init_chat_model_helper", lambda *_, **__: made)
    configurable = init_chat_model(configurable_fields=("model",))
    asking: Runnable[str, Any] = RunnableLambda(lambda q: init_chat_model("any").invoke(q))
    with guarded() as block:
        asking.invoke("q")
        configurable.invoke("q", {"configurable": {"model": "any"}})
    assert [step.kind for step in last(block).steps] == ["model"] * 2


def test_a_stream_that_is_read_later_is_no_part_of_the_block(model: ScriptedChatModel) -> None:
    with guarded() as block:
        begun, not_begun = model.stream("q"), model.stream("q")
        next(begun)
    assert [*begun]
    assert [*not_begun]
    assert [step.kind for step in last(block).steps] == ["model"]


@pytest.fixture
def cache() -> Iterator[InMemoryCache]:
    made = InMemoryCache()
    set_llm_cache(made)
    yield made
    set_llm_cache(None)


def test_a_shared_cache_keeps_answers_apart(cache: InMemoryCache) -> None:
    model = ScriptedChatModel(script=["plain", "inside", "other policy"])
    assert model.invoke("q").content == "plain"
    with guarded():
        assert model.invoke("q").content == "inside"
        assert model.invoke("q").content == "inside"
        with guarded(dedupe=None):
            assert model.invoke("q").content == "other policy"
    assert model.invoke("q").content == "plain"
    completion = FakeListLLM(responses=["plain", "inside"])
    assert completion.invoke("q") == "plain"
    with guarded():
        assert completion.invoke("q") == "inside"
        assert completion.invoke("q") == "inside"
        assert guard(completion).invoke("q") == "inside", "the same policy"
    assert completion.invoke("q") == "plain"


def test_a_decorated_function(retriever: FixedRetriever) -> None:
    @guarded()
    def find(question: str) -> int:
        return len(retriever.invoke(question))

    assert find("q") == 3
    assert last(handle(find)).name == "find"


def test_an_error_inside_is_the_users(retriever: FixedRetriever) -> None:
    class Failing(FixedRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            raise ConnectionError("no index")

    before = loaded()
    with pytest.raises(ConnectionError, match="no index"), guarded() as block:
        Failing().invoke("q")
    assert last(block).error == "ConnectionError: no index"
    assert loaded() == before


def test_what_a_block_cannot_see_is_said() -> None:
    with guarded() as block:
        pass
    told = {item.path: item.type for item in block.coverage.unreached}
    assert told["threads"] == "threading.Thread"
    assert "RemoteGraph" in told["processes"]
    assert {item.type for item in block.coverage.reached} >= {"BaseRetriever", "BaseChatModel"}
