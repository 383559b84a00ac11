"""`guard(x, scope="process")`: the objects themselves, for whoever holds them, and the way back."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import types
import weakref
from operator import attrgetter
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import PrivateAttr

from ctxguard import (
    CoverageWarning,
    Handle,
    Ledger,
    Policy,
    UnsupportedObjectError,
    guard,
    handle,
)
from ctxguard.process import ProcessHandle
from ctxguard.types import Budget
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.beyond import (
    MODES,
    SHAPES,
    OwnInvoke,
    foreign,
    ids,
)

__all__ = ["foreign"]


def taken(obj: Any, policy: Policy | None = None, **overrides: Any) -> Handle:
    """The handle of what is guarded in place now."""
    return handle(guard(obj, policy, scope="process", **overrides))


def last(obj: object) -> Ledger:
    """The ledger of its last call, by the object or its held."""
    found = obj if isinstance(obj, Handle) else handle(obj)
    assert found.last is not None
    return found.last


@pytest.fixture
def chain(retriever: FixedRetriever, model: ScriptedChatModel, prompt: Any, joined: Any) -> Any:
    found = retriever | RunnableLambda(joined)
    return {"context": found, "question": RunnablePassthrough()} | prompt | model


@pytest.mark.anyio
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_no_copy_reaches_is_guarded_and_put_back(
    shape: str,
    mode: str,
    retriever: FixedRetriever,
    store: InMemoryVectorStore,
    foreign: types.ModuleType,
) -> None:
    chain: Any = SHAPES[shape](retriever, store, foreign)
    assert ids(await MODES[mode](chain, "q")) == ["a", "b", "c", "d"]
    guarded = guard(chain, scope="process")
    assert guarded is chain
    one_copy = ids(await MODES[mode](chain, "q"))
    assert one_copy in (["a", "c", "d"], ["b", "c", "d"])
    ledger = last(chain)
    assert [step.kind for step in ledger.steps] == ["retrieval"]
    assert {chunk.id for chunk in ledger.dropped()} == {"a", "b"} - set(one_copy)
    assert not handle(chain).coverage.unreached
    assert handle(chain).unguard() is chain
    assert ids(await MODES[mode](chain, "q")) == ["a", "b", "c", "d"]


def test_every_class_and_private_attribute_goes_back(
    chain: Any, retriever: FixedRetriever, model: ScriptedChatModel
) -> None:
    class Noted(ScriptedChatModel):
        _note: str = PrivateAttr(default="n")

    noted = Noted()
    parts = [chain, retriever, model, noted]
    taken(RunnableLambda(lambda _: noted)).unguard()
    before = [(type(p), dict(vars(p)), copy.copy(p.__pydantic_private__)) for p in parts]
    held = taken(chain)
    assert taken(chain) is held
    assert all(
        type(part) is not kind for part, (kind, _, _) in zip(parts[:3], before, strict=False)
    )
    assert {type(part).__name__ for part in parts[:3]} == {k.__name__ for k, _, _ in before[:3]}
    held.unguard()
    held.unguard()
    assert [(type(p), dict(vars(p)), copy.copy(p.__pydantic_private__)) for p in parts] == before
    assert not hasattr(chain, "ctxguard")


def test_a_chain_is_one_run_and_others_who_hold_a_part_are_guarded(
    chain: Any, retriever: FixedRetriever, model: ScriptedChatModel
) -> None:
    guard(chain, scope="process")
    assert chain.invoke("q").content == "done"
    steps = [step.kind for step in last(chain).steps]
    assert steps == ["retrieval", "model"]
    assert str(model.seen[-1]).count("thirty") == 1
    assert len(retriever.invoke("q")) == 3
    assert last(chain).name == "FixedRetriever"
    assert handle(retriever) is handle(chain)
    piped: Any = chain | RunnableLambda(attrgetter("content"))
    assert piped.invoke("q") == "done"
    assert [step.kind for step in last(piped).steps] == ["retrieval", "model"]


def test_a_graph_an_agent_and_a_store(
    retriever: FixedRetriever, model: ScriptedChatModel, store: InMemoryVectorStore
) -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]
        found: list[Document]

    builder = StateGraph(State)
    builder.add_node("find", lambda state: {"found": retriever.invoke("q")})
    builder.add_node(
        "answer", lambda state: {"messages": [model.invoke(cast("State", state)["messages"])]}
    )
    builder.add_edge(START, "find")
    builder.add_edge("find", "answer")
    builder.add_edge("answer", END)
    graph: Any = guard(builder.compile(), scope="process")
    assert len(graph.invoke({"messages": [("user", "q")]})["found"]) == 3
    assert [step.kind for step in last(graph).steps] == ["retrieval", "model"]
    handle(graph).unguard()

    agent: Any = create_agent(model, [create_retriever_tool(retriever, "search", "Searches.")])
    guard(agent, scope="process")
    said = agent.invoke({"messages": [("user", "q")]})["messages"]
    assert str(said).count("thirty") == 1
    assert [s.kind for s in last(agent).steps] == ["model", "retrieval", "model"]
    handle(agent).unguard()

    assert guard(store, scope="process") is store
    assert taken(store) is handle(store)
    assert len(store.similarity_search("notice", k=10)) == 3
    assert len(store.as_retriever(search_kwargs={"k": 10}).invoke("notice")) == 3
    handle(store).unguard()
    assert type(store) is InMemoryVectorStore
    assert len(store.similarity_search("notice", k=10)) == 4


def test_another_policy_replaces_the_first(chain: Any, retriever: FixedRetriever) -> None:
    first = taken(chain)
    second = taken(chain, dedupe=None)
    assert second is not first
    assert second.original is chain
    chain.invoke("q")
    assert not last(second).dropped()
    assert not first.ledgers
    second.unguard()
    assert type(retriever) is FixedRetriever


def test_a_part_may_have_a_guard_of_its_own(chain: Any, retriever: FixedRetriever) -> None:
    whole = taken(chain)
    part = taken(retriever, dedupe=None)
    chain.invoke("q")
    assert not last(whole).dropped()
    assert [child.name for child in last(whole).children] == ["FixedRetriever"]
    part.unguard()
    chain.invoke("q")
    assert len(last(whole).dropped()) == 1
    whole.unguard()
    assert type(retriever) is FixedRetriever


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_two_guards_in_place_share_stays_guarded(
    order: tuple[int, int], chain: Any, retriever: FixedRetriever
) -> None:
    chains = [chain, retriever | RunnableLambda(_text)]
    handles = [taken(one) for one in chains]
    for one in chains:
        one.invoke("q")
        assert len(last(one).dropped()) == 1
    handles[order[0]].unguard()
    chains[order[1]].invoke("q")
    assert len(last(handles[order[1]]).dropped()) == 1
    handles[order[1]].unguard()
    assert type(retriever) is FixedRetriever


def _retrievals(obj: object) -> int:
    return sum(step.kind == "retrieval" for step in last(obj).steps)


@pytest.mark.parametrize("policy", [Policy(), Policy(dedupe=None)], ids=["same", "other"])
def test_a_copy_of_what_is_guarded_in_place(
    chain: Any, retriever: FixedRetriever, policy: Policy
) -> None:
    in_place = taken(chain, Policy())
    made = guard(chain, policy)
    assert made is not chain
    made.invoke("q")
    assert _retrievals(handle(made)) == 1
    assert len(last(made).dropped()) == (policy.dedupe is not None)
    assert not in_place.ledgers
    in_place.unguard()
    made.invoke("q")
    assert len(last(made).dropped()) == (policy.dedupe is not None)
    assert handle(made).unguard() is chain
    assert len(retriever.invoke("q")) == 4


def test_what_is_a_guarded_copy_may_be_guarded_in_place(
    chain: Any, store: InMemoryVectorStore
) -> None:
    made = guard(chain)
    assert guard(made, scope="process") is made
    copied, kind = handle(made), type(made)
    held = taken(made, dedupe=None)
    assert held is handle(made) is not copied
    made.invoke("q")
    assert _retrievals(held) == 1
    assert not last(held).dropped()
    assert not copied.ledgers
    held.unguard()
    made.invoke("q")
    assert type(made) is kind
    assert handle(made) is copied
    assert len(last(copied).dropped()) == 1
    view = guard(store)
    guard(view, scope="process", dedupe=None)
    assert len(view.similarity_search("notice", k=10)) == 4
    handle(view).unguard()
    assert len(view.similarity_search("notice", k=10)) == 3
    assert len(store.similarity_search("notice", k=10)) == 4


def test_a_call_in_flight_finishes_guarded(
    documents: list[Document], model: ScriptedChatModel, prompt: Any, joined: Any
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def wait(found: list[Document]) -> list[Document]:
        arrived.set()
        go_on.wait(10)
        return found

    retriever = FixedRetriever(documents=documents)
    found = retriever | RunnableLambda(wait) | RunnableLambda(joined)
    chain = {"context": found, "question": RunnablePassthrough()} | prompt | model
    held = taken(chain)
    call = threading.Thread(target=lambda: chain.invoke("q"))
    call.start()
    arrived.wait(10)
    held.unguard()
    assert len(retriever.invoke("q")) == 4, "a call that begins afterwards"
    go_on.set()
    call.join()
    assert [step.kind for step in last(held).steps] == ["retrieval", "model"]
    assert [type(part) for part in (retriever, model)] == [FixedRetriever, ScriptedChatModel]


def test_many_threads_while_guards_come_and_go(retriever: FixedRetriever) -> None:
    chain: Any = RunnableLambda(retriever.invoke)
    stop, wrong = threading.Event(), list[Any]()

    def call() -> None:
        while not stop.is_set():
            try:
                if len(chain.invoke("q")) not in (3, 4):
                    wrong.append("count")
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        taken(chain, budget=1000 + number % 2).unguard()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert type(retriever) is FixedRetriever
    assert type(chain) is RunnableLambda


def test_nothing_is_kept_alive(documents: list[Document], model: ScriptedChatModel) -> None:
    retriever = FixedRetriever(documents=documents)
    chain: Any = retriever | RunnableLambda(str) | model
    held = taken(chain)
    chain.invoke("q")
    gone = [weakref.ref(chain), weakref.ref(retriever)]
    del chain, retriever
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert held.unguard() is None
    assert type(model) is ScriptedChatModel


def test_copies_share_the_handle_and_are_inert_afterwards(
    chain: Any, retriever: FixedRetriever
) -> None:
    held = taken(chain)
    copies = [copy.deepcopy(retriever), retriever.model_copy(), copy.copy(retriever)]
    assert [len(made.invoke("q")) for made in copies] == [3] * 3
    assert all(handle(made) is held for made in copies)
    held.unguard()
    assert [len(made.invoke("q")) for made in copies] == [4] * 3
    assert len(guard(copies[0]).invoke("q")) == 3
    loaded: Any = pickle.loads(pickle.dumps(copies[0]))  # noqa: S301 -- our own bytes
    assert type(loaded) is FixedRetriever


def test_what_is_pickled_is_guarded_in_place_where_it_is_loaded(
    retriever: FixedRetriever, model: ScriptedChatModel, store: InMemoryVectorStore
) -> None:
    chain: Any = retriever | RunnableLambda(_text) | model
    guard(chain, scope="process")
    loaded: Any = pickle.loads(pickle.dumps(chain))  # noqa: S301 -- our own bytes
    assert loaded.invoke("q").content == "done"
    held = handle(loaded)
    assert isinstance(held, ProcessHandle)
    assert held is not handle(chain)
    assert [step.kind for step in last(held).steps] == ["retrieval", "model"]
    assert len(last(held).dropped()) == 1
    assert held.unguard() is loaded
    assert type(loaded.first) is FixedRetriever
    assert len(loaded.first.invoke("q")) == 4
    guard(store, scope="process")
    again: Any = pickle.loads(pickle.dumps(store))  # noqa: S301 -- our own bytes
    assert len(again.similarity_search("notice", k=10)) == 3


def _text(documents: list[Document]) -> str:
    return str(documents)


def test_what_makes_its_model_later(retriever: FixedRetriever) -> None:
    from langchain.chat_models import init_chat_model

    made: Any = init_chat_model(configurable_fields=("model",))
    guard(made, scope="process")
    assert handle(made).coverage.reached[0].kind == "model"
    handle(made).unguard()

    def ask(question: str) -> Any:
        return init_chat_model("openai:gpt-x").invoke(question)

    asking: Any = RunnableLambda(ask)
    with pytest.warns(CoverageWarning, match="with guarded"):
        guard(asking, scope="process")


def test_what_cannot_change_its_class_is_said(
    retriever: FixedRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctxguard_langchain import process

    def refuse(kind: type, **_: object) -> type:
        if kind is FixedRetriever:
            raise TypeError("layout differs")
        return hooked(kind, in_place=True)

    hooked = process.hooked
    monkeypatch.setattr(process, "hooked", refuse)
    model = FakeListLLM(responses=["done"])
    chain: Runnable[str, Any] = retriever | RunnableLambda(str) | model
    with pytest.warns(CoverageWarning, match="its class cannot be changed: layout differs"):
        guard(chain, scope="process")
    held = handle(chain)
    assert [item.kind for item in held.coverage.reached] == ["model"]
    assert chain.invoke("q") == "done"
    held.unguard()
    with pytest.raises(UnsupportedObjectError, match=r"FixedRetriever: .*layout differs"):
        guard(retriever, scope="process")
    assert type(retriever) is FixedRetriever


def test_a_model_fits_its_window(model: ScriptedChatModel) -> None:
    from ctxguard import BudgetExceededError

    guard(model, scope="process", budget=Budget(window=30, reserve_output=10))
    with pytest.raises(BudgetExceededError):
        model.invoke("word " * 100)
    handle(model).unguard()
    assert model.invoke("word " * 100).content == "done"


def test_a_method_that_was_bound_before_is_said() -> None:
    own = OwnInvoke(documents=[])
    chain: Any = RunnableLambda(own.invoke)
    with pytest.warns(CoverageWarning, match="invoke was bound before it was guarded"):
        guard(chain, scope="process")
