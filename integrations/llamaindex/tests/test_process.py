"""`guard(x, scope="process")`: the objects themselves, for whoever holds them, and the way back."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool

from ctxguard import (
    BudgetExceededError,
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
from ctxguard_llamaindex import CtxGuardPostprocessor
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


class Fixed(BaseRetriever):
    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts
        self.found: Callable[[], None] = lambda: None

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.found()
        return [NodeWithScore(node=TextNode(text=text)) for text in self.texts]


HELD: dict[str, BaseRetriever] = {}


class Holder:
    """Keeps its retriever where no copy of its instances goes."""

    retriever: Any = None

    def find(self, query: str) -> str:
        """Find something."""
        return str([node.text for node in type(self).retriever.retrieve(query)])


def find_globally(query: str) -> str:
    """Find something."""
    return str([node.text for node in HELD["retriever"].retrieve(query)])


@pytest.fixture
def retriever(corpus: Any) -> Fixed:
    return Fixed([corpus.notice, corpus.notice, corpus.other_notice])


@pytest.fixture
def engine(retriever: Fixed, llm: ScriptedLLM) -> Any:
    return RetrieverQueryEngine.from_args(retriever, llm=llm)


def taken(obj: Any, policy: Policy | None = None, **overrides: Any) -> Handle:
    """The handle of what is guarded in place now."""
    return handle(guard(obj, policy, scope="process", **overrides))


def last(obj: object) -> Ledger:
    found = obj if isinstance(obj, Handle) else handle(obj)
    assert found.last is not None
    return found.last


def kinds(obj: object) -> list[str]:
    return [step.kind for step in last(obj).steps]


@pytest.mark.anyio
async def test_an_engine_in_place_and_back(engine: Any, retriever: Fixed, llm: ScriptedLLM) -> None:
    parts = [engine, retriever, llm, engine._response_synthesizer]
    before = [(type(part), dict(vars(part))) for part in parts]
    held = taken(engine)
    assert taken(engine) is held is handle(retriever) is handle(llm)
    assert len(engine.query("q").source_nodes) == 2
    assert len((await engine.aquery("q")).source_nodes) == 2
    assert kinds(engine) == ["retrieval", "model"]
    assert len(retriever.retrieve("q")) == 2
    assert kinds(retriever) == ["retrieval"]
    assert held.unguard() is engine
    held.unguard()
    assert [(type(part), dict(vars(part))) for part in parts] == before
    assert len(engine.query("q").source_nodes) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["global", "class", "object"])
async def test_an_agent_whose_tools_no_copy_reaches(
    where: str, retriever: Fixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HELD, "retriever", retriever)
    monkeypatch.setattr(Holder, "retriever", retriever)
    bound = types.SimpleNamespace(retriever=retriever)

    def find_held(query: str) -> str:
        """Find something."""
        return str([node.text for node in bound.retriever.retrieve(query)])

    functions = {"global": find_globally, "class": Holder().find, "object": find_held}
    tool = FunctionTool.from_defaults(functions[where], name="search", description="Searches.")

    def search(messages: Any) -> Any:
        said = messages[-1].role == "user"
        return call_tool("search", query="q") if said else str(messages[-1].content)

    agent = FunctionAgent(tools=[tool], llm=ScriptedLLM(script=search))
    held = taken(agent)
    assert held.coverage.complete
    assert str(await agent.run("q")).count("thirty") == 1
    assert kinds(agent) == ["model", "retrieval", "model"]
    held.unguard()
    assert str(await agent.run("q")).count("thirty") == 2
    assert type(agent) is FunctionAgent


def test_a_chat_engine_streams(retriever: Fixed, llm: ScriptedLLM) -> None:
    chat = ContextChatEngine.from_defaults(
        retriever=retriever, llm=llm, memory=ChatMemoryBuffer.from_defaults(llm=llm)
    )
    held = taken(chat)
    response = chat.stream_chat("q")
    assert "".join(response.response_gen)
    assert kinds(chat) == ["retrieval", "model"]
    held.unguard()
    assert type(chat) is ContextChatEngine


def test_the_model_of_settings(retriever: Fixed, llm: ScriptedLLM, corpus: Any) -> None:
    class Asking:
        def query(self, question: str) -> str:
            return str(Settings.llm.complete(question))

    tool = FunctionTool.from_defaults(Asking().query, name="ask", description="Asks.")
    agent = FunctionAgent(tools=[tool], llm=ScriptedLLM())
    held = taken(agent)
    assert handle(llm) is held
    held.unguard()
    assert type(llm) is ScriptedLLM
    Settings._llm = None
    with pytest.warns(CoverageWarning, match=r"Settings\.llm"):
        taken(agent)


def test_a_model_fits_its_window(llm: ScriptedLLM) -> None:
    held = taken(llm, budget=Budget(window=30, reserve_output=10))
    with pytest.raises(BudgetExceededError):
        llm.complete("word " * 100)
    held.unguard()
    assert llm.complete("word " * 100).text


def test_policies_replace_each_other_and_nest(engine: Any, retriever: Fixed) -> None:
    first = taken(engine)
    second = taken(engine, dedupe=None)
    assert second is not first
    assert len(engine.query("q").source_nodes) == 3
    assert not first.ledgers
    part = taken(retriever)
    assert len(engine.query("q").source_nodes) == 2
    assert [child.name for child in last(second).children] == ["Fixed"]
    part.unguard()
    assert handle(retriever) is second
    second.unguard()
    assert type(retriever) is Fixed


@pytest.mark.parametrize("policy", [Policy(), Policy(dedupe=None)], ids=["same", "other"])
def test_copies_of_what_is_guarded_in_place(engine: Any, policy: Policy) -> None:
    count = 2 if policy.dedupe else 3
    held = taken(engine, Policy())
    made = guard(engine, policy)
    assert made is not engine
    for _ in range(2):
        assert len(made.query("q").source_nodes) == count
        assert kinds(made) == ["retrieval", "model"]
        held.unguard()
    assert not held.ledgers
    assert handle(made).original is engine


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_two_guards_in_place_share_stays_guarded(
    order: tuple[int, int], engine: Any, retriever: Fixed
) -> None:
    other = RetrieverQueryEngine.from_args(retriever, llm=ScriptedLLM())
    engines = [engine, other]
    handles = [taken(one) for one in engines]
    assert [len(one.query("q").source_nodes) for one in engines] == [2, 2]
    handles[order[0]].unguard()
    assert len(engines[order[1]].query("q").source_nodes) == 2
    assert kinds(handles[order[1]]) == ["retrieval", "model"]
    handles[order[1]].unguard()
    assert type(retriever) is Fixed


def test_a_guarded_copy_in_place(engine: Any) -> None:
    made = guard(engine)
    copied = handle(made)
    assert guard(made, scope="process") is made
    held = taken(made, dedupe=None)
    assert len(made.query("q").source_nodes) == 3
    assert not copied.ledgers
    held.unguard()
    assert handle(made) is copied
    assert len(made.query("q").source_nodes) == 2


def test_a_call_in_flight_finishes_guarded(engine: Any, retriever: Fixed, llm: ScriptedLLM) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        arrived.set()
        go_on.wait(10)

    retriever.found = wait
    held = taken(engine)
    call = threading.Thread(target=lambda: engine.query("q"))
    call.start()
    arrived.wait(10)
    held.unguard()
    retriever.found = lambda: None
    assert len(retriever.retrieve("q")) == 3, "a call that begins afterwards"
    go_on.set()
    call.join()
    assert kinds(held) == ["retrieval", "model"]
    assert (type(retriever), type(llm)) == (Fixed, ScriptedLLM)


def test_nothing_is_kept_alive(corpus: Any) -> None:
    retriever = Fixed([corpus.notice])
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    held = taken(engine)
    gone = [weakref.ref(engine), weakref.ref(retriever)]
    del engine, retriever
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert held.unguard() is None


def test_copies_and_pickles(corpus: Any) -> None:
    retriever = Fixed([corpus.notice, corpus.notice])
    retriever.found = _nothing
    engine: Any = RetrieverQueryEngine.from_args(retriever, llm=MockLLM(max_tokens=3))
    held = taken(engine)
    copied = copy.deepcopy(engine)
    loaded: Any = pickle.loads(pickle.dumps(engine))  # noqa: S301 -- its own pickle
    again = handle(loaded)
    assert handle(copied) is held
    assert isinstance(again, ProcessHandle)
    assert again is not held
    assert len(loaded.query("q").source_nodes) == 1
    assert kinds(loaded) == ["retrieval", "model"]
    assert again.unguard() is loaded
    assert type(loaded) is RetrieverQueryEngine
    assert len(loaded.query("q").source_nodes) == 2
    held.unguard()
    assert len(copied.query("q").source_nodes) == 2
    plain: Any = pickle.loads(pickle.dumps(copied))  # noqa: S301 -- its own pickle
    assert type(plain) is RetrieverQueryEngine
    assert len(guard(copied).query("q").source_nodes) == 1


def _nothing() -> None:
    """Found something."""


def test_what_cannot_be_guarded_in_place_is_said(
    engine: Any, index: VectorStoreIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctxguard_llamaindex import walk

    def refuse(obj: object, held: ProcessHandle, *, root: bool) -> None:
        if isinstance(obj, Fixed):
            raise TypeError("layout differs")
        take(obj, held, root=root)

    take = walk.take
    monkeypatch.setattr(walk, "take", refuse)
    with pytest.warns(CoverageWarning, match="its class cannot be changed: layout differs"):
        held = taken(engine)
    assert [item.kind for item in held.coverage.reached] == ["model"]
    held.unguard()
    for obj, message in (
        (engine._retriever, "layout differs"),
        (index, "as_query_engine"),
        (IngestionPipeline(transformations=[]), "ingestion"),
        (CtxGuardPostprocessor(), "policy of its own"),
    ):
        with pytest.raises(UnsupportedObjectError, match=message):
            taken(obj)
    assert type(engine._retriever) is Fixed


@pytest.mark.anyio
async def test_many_calls_while_guards_come_and_go(engine: Any) -> None:
    counts = set[int]()

    async def call() -> None:
        for _ in range(5):
            counts.add(len((await engine.aquery("q")).source_nodes))

    calls = [asyncio.create_task(call()) for _ in range(4)]
    while not all(task.done() for task in calls):
        held = taken(engine)
        await asyncio.sleep(0)
        held.unguard()
        await asyncio.sleep(0)
    assert counts <= {2, 3}
    assert type(engine) is RetrieverQueryEngine


def test_a_method_that_was_bound_before_is_said(llm: ScriptedLLM, retriever: Fixed) -> None:
    tools = [
        FunctionTool.from_defaults(function, name=name, description="Works.")
        for name, function in (("ask", llm.chat), ("find", retriever.retrieve))
    ]
    agent = FunctionAgent(tools=list(tools), llm=ScriptedLLM())
    with pytest.warns(CoverageWarning, match="chat.* was bound before its object was guarded"):
        held = taken(agent)
    assert [item.type for item in held.coverage.unreached] == ["chat"]
