"""`with guarded(policy)`: everything that runs inside, unmodified, and nothing that does not."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex, get_response_synthesizer
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from ctxguard import BudgetExceededError, Handle, Ledger, Policy, guard, guarded, handle
from ctxguard.types import Budget
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


class Fixed(BaseRetriever):
    def __init__(self, texts: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.texts = texts

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=text)) for text in self.texts]


class OwnRetrieve(Fixed):
    """Does more after what its base does."""

    def retrieve(self, str_or_query_bundle: Any) -> list[NodeWithScore]:
        return [*super().retrieve(str_or_query_bundle), *self._retrieve(QueryBundle("q"))]


def last(held: Handle) -> Ledger:
    assert held.last is not None
    return held.last


def kinds(held: Handle) -> list[str]:
    return [step.kind for step in last(held).steps]


def _below(kind: type) -> Iterator[type]:
    yield kind
    for below in type.__subclasses__(kind):
        yield from _below(below)


def loaded() -> dict[type, dict[str, object]]:
    """Every method of every class that a block could change."""
    roots = (BaseRetriever, BaseLLM, BaseQueryEngine)
    return {kind: dict(vars(kind)) for root in roots for kind in _below(root)}


@pytest.fixture
def retriever(corpus: Any) -> Fixed:
    return Fixed([corpus.notice, corpus.notice, corpus.other_notice])


@pytest.fixture
def engine(retriever: Fixed, llm: ScriptedLLM) -> Any:
    return RetrieverQueryEngine.from_args(retriever, llm=llm)


@pytest.mark.anyio
async def test_an_engine_in_every_mode(engine: Any, retriever: Fixed, llm: ScriptedLLM) -> None:
    streaming = RetrieverQueryEngine(retriever, get_response_synthesizer(llm=llm, streaming=True))
    before = loaded()
    with guarded() as block:
        assert len(engine.query("q").source_nodes) == 2
        assert len((await engine.aquery("q")).source_nodes) == 2
        response: Any = streaming.query("q")
        assert "".join(response.response_gen)
        response = await streaming.aquery("q")
        assert [part async for part in response.response_gen]
    assert kinds(block) == ["retrieval", "model"] * 4
    assert len(block.ledgers) == 1
    assert all(str(prompt).count("thirty") == 1 for prompt in llm._prompts)
    assert loaded() == before
    assert len(engine.query("q").source_nodes) == 3
    assert not hasattr(engine, "ctxguard")


def test_what_an_index_makes_while_it_is_used(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    with guarded() as block:
        nodes = index.as_query_engine(llm=llm, similarity_top_k=4).query("notice").source_nodes
    assert len(nodes) == 3
    assert kinds(block) == ["retrieval", "model"]


@pytest.mark.anyio
async def test_an_agent_and_a_workflow(retriever: Fixed, engine: Any, llm: ScriptedLLM) -> None:
    def search(messages: Any) -> Any:
        said = messages[-1].role == "user"
        return call_tool("search", query="q") if said else str(messages[-1].content)

    def find(query: str) -> str:
        """Find something."""
        return str([node.text for node in retriever.retrieve(query)])

    tool = FunctionTool.from_defaults(find, name="search", description="Searches.")

    class Own(Workflow):
        @step
        async def answer(self, event: StartEvent) -> StopEvent:
            return StopEvent(str(await engine.aquery("q")))

    agent = FunctionAgent(tools=[tool], llm=ScriptedLLM(script=search))
    with guarded() as block:
        assert str(await agent.run("q")).count("thirty") == 1
        await Own().run()
    assert kinds(block) == ["model", "retrieval", "model", "retrieval", "model"]


def test_a_chat_engine(retriever: Fixed, llm: ScriptedLLM) -> None:
    chat = ContextChatEngine.from_defaults(
        retriever=retriever, llm=llm, memory=ChatMemoryBuffer.from_defaults(llm=llm)
    )
    with guarded() as block:
        chat.chat("q")
        assert "".join(chat.stream_chat("q").response_gen)
    assert kinds(block) == ["retrieval", "model"] * 2


@pytest.mark.anyio
async def test_prompts_fit_the_window_in_every_mode(llm: ScriptedLLM) -> None:
    long = "word " * 200
    messages = [ChatMessage(long)]
    with guarded(Policy(budget=Budget(window=60, reserve_output=10))):
        for call in (
            lambda: llm.complete(long),
            lambda: llm.chat(messages),
            lambda: list(llm.stream_chat(messages)),
            lambda: list(llm.stream_complete(long)),
            lambda: llm.chat_with_tools([], long),
        ):
            with pytest.raises(BudgetExceededError):
                call()
        with pytest.raises(BudgetExceededError):
            await llm.achat(messages)
        with pytest.raises(BudgetExceededError):
            await llm.acomplete(long)
        with pytest.raises(BudgetExceededError):
            await llm.astream_chat(messages)
    assert llm.complete(long).text


@pytest.mark.anyio
async def test_retrievers_count_once(retriever: Fixed, llm: ScriptedLLM, corpus: Any) -> None:
    fusion = QueryFusionRetriever([retriever, retriever], llm=llm, num_queries=1, use_async=False)
    own = OwnRetrieve([corpus.notice])
    with guarded() as block:
        fusion.retrieve("q")
        assert len(own.retrieve("q")) == 1
        assert len(await retriever.aretrieve("q")) == 2
    names = [step.name for step in last(block).steps]
    assert names == ["QueryFusionRetriever", "OwnRetrieve", "Fixed"]


def test_an_engine_inside_of_a_retriever_has_evidence_of_its_own(
    engine: Any, llm: ScriptedLLM
) -> None:
    class Pointing(BaseRetriever):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return [NodeWithScore(node=IndexNode(text="inside", index_id="i", obj=engine))]

    with guarded() as block:
        Pointing().retrieve("q")
    assert [step.name for step in last(block).steps if step.kind == "retrieval"] == [
        "Fixed",
        "Pointing",
    ]
    assert str(llm._prompts[0]).count("thirty") == 1


def test_guarded_objects_follow_their_own_policy(engine: Any, corpus: Any) -> None:
    made = guard(engine, dedupe=None)
    in_place = Fixed([corpus.notice, corpus.notice])
    held = handle(guard(in_place, scope="process", dedupe=None))
    with guarded() as block:
        assert len(made.query("q").source_nodes) == 3
        assert len(in_place.retrieve("q")) == 2
        assert len(engine.query("q").source_nodes) == 2
        held.unguard()
        assert len(in_place.retrieve("q")) == 1
    assert [child.name for child in last(block).children] == ["RetrieverQueryEngine", "Fixed"]
    assert sum(step.kind == "retrieval" for step in last(block).steps) == 4


@pytest.mark.anyio
async def test_who_is_outside_sees_nothing(retriever: Fixed) -> None:
    found: dict[str, int] = {}
    began = asyncio.Event()

    def ask(name: str) -> None:
        found[name] = len(retriever.retrieve("q"))

    async def other_task() -> None:
        await began.wait()
        ask("other task")

    other = asyncio.create_task(other_task())
    with guarded():
        began.set()
        await other
        context = contextvars.copy_context()
        plain = threading.Thread(target=ask, args=("raw thread",))
        copied = threading.Thread(target=lambda: context.run(ask, "copied context"))
        for thread in (plain, copied):
            thread.start()
            thread.join()
        await asyncio.to_thread(ask, "to_thread")
    assert found == {"other task": 3, "raw thread": 3, "copied context": 2, "to_thread": 2}


def test_classes_that_are_defined_meanwhile(retriever: Fixed, corpus: Any) -> None:
    before = loaded()
    with guarded() as block:

        class Late(Fixed):
            def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
                return super()._retrieve(query_bundle)

        class LateModel(ScriptedLLM):
            def chat(self, messages: Any, **kwargs: Any) -> Any:
                return super().chat(messages, **kwargs)

        late = Late([corpus.notice, corpus.notice])
        assert len(late.retrieve("q")) == 1
        LateModel().chat([ChatMessage("q")])
    assert kinds(block) == ["retrieval", "model"]
    assert len(late.retrieve("q")) == 2
    now = loaded()
    assert {kind: now[kind] for kind in before} == before


def test_events_and_spans_are_as_before(engine: Any, heard: Any) -> None:
    events, spans = heard
    engine.query("q")
    plain_events, plain_spans = list(events), list(spans)
    events.clear()
    spans.clear()
    with guarded():
        engine.query("q")
    assert list(events) == plain_events
    assert list(spans) == plain_spans


def test_a_tool_that_is_an_engine(engine: Any) -> None:
    tool = QueryEngineTool.from_defaults(engine, name="ask", description="Asks.")
    with guarded() as block:
        tool.call("q")
    assert kinds(block) == ["retrieval", "model"]
