"""What no copy can reach: guard() says so, and it works as before."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

from llama_index.core import ComposableGraph, PromptTemplate, Settings, SummaryIndex
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.graph_stores import SimpleGraphStore
from llama_index.core.memory import ChatMemoryBuffer, SimpleComposableMemory, VectorMemory
from llama_index.core.query_engine import ComposableGraphQueryEngine, KnowledgeGraphQueryEngine
from llama_index.core.storage import StorageContext
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from workflows.resource import Resource

from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.matrix.agents import text_of
from integrations.llamaindex.tests.matrix.retrievers import Own
from integrations.llamaindex.tests.matrix.scripts import obliging
from integrations.llamaindex.tests.matrix.ways import CHAT, QUERY_WHOLE, WORKFLOW
from integrations.llamaindex.tests.matrix.world import Shape, World

__all__ = ["SHAPES"]

OF_THE_MODULE = Own([])
BY_NAME = {"contracts": Own([])}


class Asking(Workflow):
    """A workflow with a model of its own; how it retrieves, subclasses say."""

    def __init__(self, llm: Any, index: Any = None) -> None:
        super().__init__()
        self.llm = llm
        self.index = index

    async def answer(self, found: Any) -> StopEvent:
        return StopEvent(result=str(await self.llm.acomplete(text_of(found))))


class OfTheModule(Asking):
    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return await self.answer(await OF_THE_MODULE.aretrieve(ev.question))


class ByName(Asking):
    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return await self.answer(await BY_NAME["contracts"].aretrieve(ev.question))


def closed_over(world: World) -> Any:
    retriever = world.retriever()

    class ClosedOver(Asking):
        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            return await self.answer(await retriever.aretrieve(ev.question))

    return ClosedOver(world.llm)


class OfTheClass(Asking):
    retriever = Own([])

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return await self.answer(await self.retriever.aretrieve(ev.question))


def make_retriever() -> Own:
    return Own([])


class Resourceful(Asking):
    @step
    async def go(
        self, ev: StartEvent, retriever: Annotated[Own, Resource(make_retriever)]
    ) -> StopEvent:
        return await self.answer(await retriever.aretrieve(ev.question))


class FromItsIndex(Asking):
    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return await self.answer(await self.index.as_retriever().aretrieve(ev.question))


class Making(Asking):
    """As LlamaIndex's tutorials write it: the index comes with the event, the model is made."""

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        found = [] if ev.get("index", None) is None else ev.index.as_retriever().retrieve("notice")
        llm = ScriptedLLM(script=self.llm.script)
        return StopEvent(result=str(await llm.acomplete(text_of(found) or ev.question)))


class OfSettings(Asking):
    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=str(await Settings.llm.acomplete(ev.question)))


def composed(world: World) -> Any:
    parts = [world.once(lambda: SummaryIndex(world.nodes))]
    graph = ComposableGraph.from_indices(SummaryIndex, parts, index_summaries=["clauses"])
    return ComposableGraphQueryEngine(graph, llm=world.llm)


def composed_of_engines(world: World) -> Any:
    engine = composed(world)
    engines = {
        name: index.as_query_engine(llm=world.llm)
        for name, index in engine._graph.all_indices.items()
    }
    return ComposableGraphQueryEngine(engine._graph, custom_query_engines=engines)


def graph(world: World) -> Any:
    class Store(SimpleGraphStore):
        def query(self, query: str, param_map: Any = None) -> Any:
            return "notice: thirty days"

        def get_schema(self, refresh: bool = False) -> str:
            return "nodes"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return KnowledgeGraphQueryEngine(
            storage_context=StorageContext.from_defaults(graph_store=Store()),
            llm=world.llm,
            graph_query_synthesis_prompt=PromptTemplate("Write a query: {query_str}"),
        )


def recalling(world: World) -> Any:
    memory = SimpleComposableMemory.from_defaults(
        primary_memory=ChatMemoryBuffer.from_defaults(token_limit=300),
        secondary_memory_sources=[VectorMemory.from_defaults()],
    )
    return SimpleChatEngine.from_defaults(llm=world.llm, memory=memory)


def workflow(name: str, kind: Any, *unreached: str) -> Shape:
    return Shape(
        name=f"workflow, {name}",
        make=kind if kind is closed_over else lambda world: kind(world.llm),
        ways=WORKFLOW[::2],
        script=obliging,
        unreached=unreached,
        models=kind is not Making and kind is not OfSettings,
    )


SHAPES: tuple[Shape, ...] = (
    workflow("global retriever", OfTheModule, "go:OF_THE_MODULE"),
    workflow("global dict", ByName, "go:BY_NAME['contracts']"),
    workflow("step that closes over it", closed_over, "go:retriever"),
    workflow("attribute of its class", OfTheClass, "retriever"),
    workflow("resource factory", Resourceful, "go:retriever"),
    workflow("made while it runs", Making, "go", "go"),
    workflow("model of Settings", OfSettings, "go"),
    Shape(
        name="workflow, retriever of its index",
        make=lambda world: FromItsIndex(world.llm, world.index),
        ways=WORKFLOW[::2],
        script=obliging,
        unreached=("index",),
    ),
    Shape(
        name="composable graph", make=composed, ways=QUERY_WHOLE, script=obliging, unreached=("",)
    ),
    Shape(
        name="composable graph of engines",
        make=composed_of_engines,
        ways=QUERY_WHOLE,
        script=obliging,
    ),
    Shape(name="knowledge graph", make=graph, ways=QUERY_WHOLE, script=obliging, unreached=("",)),
    Shape(
        name="chat, recalling memory",
        make=recalling,
        ways=CHAT,
        script=obliging,
        unreached=("_memory.secondary_memory_sources[0]",),
    ),
)
