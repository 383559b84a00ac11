"""What the cells of the matrix are made of: parts for a shape, ways to call it, what came of it."""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_index.core
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

from ctxguard_llamaindex.testing import Script, ScriptedLLM

__all__ = ["Cell", "Outcome", "Shape", "Way", "World", "cells", "listening", "wait_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The parts that a shape is put together from."""

    corpus: Any
    nodes: list[TextNode]
    index: VectorStoreIndex
    llm: ScriptedLLM
    folder: Path
    """Empty at first."""
    streaming: bool = False
    built: list[Any] = field(default_factory=list[Any])

    def once(self, build: Callable[[], Any]) -> Any:
        """What the first call built: an index whose ids are made up has others the next time."""
        if not self.built:
            self.built.append(build())
        return self.built[0]

    def retriever(self) -> Any:
        """Finds a passage, its copy, another version of it, and something else."""
        return self.index.as_retriever(similarity_top_k=4)

    def engine(self, mode: str = "compact", **options: Any) -> Any:
        options.setdefault("streaming", self.streaming)
        return self.index.as_query_engine(
            llm=self.llm, similarity_top_k=4, response_mode=mode, **options
        )

    def engine_tool(self, name: str = "search", **options: Any) -> QueryEngineTool:
        engine = self.engine(**options)
        return QueryEngineTool.from_defaults(engine, name=name, description="Finds clauses.")

    def retriever_tool(self, name: str = "search") -> RetrieverTool:
        retriever = self.retriever()
        return RetrieverTool.from_defaults(retriever, name=name, description="Finds clauses.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the caller of an object sees of one call."""

    kind: str = ""
    """Name of the response's class."""
    text: str = ""
    parts: tuple[str, ...] = ()
    """What was streamed: tokens of an answer, or names of a workflow's events."""
    sources: tuple[tuple[str, float | None, str], ...] = ()
    """Id, score and text of each source node, in order."""


def sources_of(nodes: Iterable[Any]) -> tuple[tuple[str, float | None, str], ...]:
    return tuple(
        (_id(item.node.node_id), item.score, item.node.get_content())
        for item in nodes
        if isinstance(item, NodeWithScore)
    )


def _id(given: str) -> str:
    """An id of the test's own; those that LlamaIndex makes up differ from call to call."""
    return "made up" if len(given) == 36 else given


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which callers use a kind of object."""

    name: str
    call: Callable[[Any, World], Coroutine[Any, Any, Outcome] | Outcome]
    streaming: bool = False
    """The object is made to stream."""
    ordered: bool = True
    """False: LlamaIndex itself uses threads here, and reports from them in any order."""
    calls: int = 1
    """How often the object is called, each a run of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of object, as users build it."""

    name: str
    make: Callable[[World], Any]
    ways: tuple[Way, ...]
    script: Script
    retrievals: int = 1
    """Logical retrievals in one call: questions that evidence was looked for, whatever inner
    retrievers took part."""
    twins: int | None = None
    """Copies in what they find; None: one in each."""
    unreached: tuple[str, ...] = ()
    """Paths that `coverage` has to report."""
    reads_before: int = 0
    """Prompts of a model inside of a retriever, which reads what is no evidence yet."""
    models: bool = True
    """Whether a model is asked."""
    slow: bool = False
    """A combination of parts that other shapes have as well."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A shape used in one way."""

    shape: Shape
    way: Way

    def __str__(self) -> str:
        return f"{self.shape.name}: {self.way.name}"


def cells(shapes: Iterable[Shape]) -> list[Any]:
    """The cells of shapes, as parameters of a test."""
    found = [Cell(shape, way) for shape in shapes for way in shape.ways]
    return [
        pytest.param(cell, id=str(cell), marks=[pytest.mark.slow] if cell.shape.slow else [])
        for cell in found
    ]


def wait_for(result: Any) -> Any:
    """The result of a coroutine, on the loop of the test; anything else as it is."""
    if not asyncio.iscoroutine(result):
        return result
    with warnings.catch_warnings():  # the policy of loops is on its way out
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.get_event_loop()
    return loop.run_until_complete(result)


# -- an ear for everything that LlamaIndex reports -------------------------------------------------


class _Events(BaseEventHandler):
    heard: list[str] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.heard.append(f"event {type(event).__name__}")


class _Spans(SimpleSpanHandler):
    heard: list[str] = Field(default_factory=list)

    def new_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        parent = kwargs.get("parent_span_id") or ""
        self.heard.append(f"span {_named(id_)} in {_named(parent)}")
        return super().new_span(id_, *args, **kwargs)

    def prepare_to_exit_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        self.heard.append(f"end {_named(id_)}")
        return super().prepare_to_exit_span(id_, *args, **kwargs)

    def prepare_to_drop_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        self.heard.append(f"drop {_named(id_)}")
        return super().prepare_to_drop_span(id_, *args, **kwargs)


def _named(span: str) -> str:
    return span.rsplit("-", 5)[0]  # without the UUID at its end


class _Callbacks(BaseCallbackHandler):
    """LlamaIndex's older callbacks, which `CallbackManager` still calls."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__([], [])
        self.heard = heard

    def on_event_start(self, event_type: Any, *args: Any, **kwargs: Any) -> str:
        self.heard.append(f"callback {event_type.value}")
        return str(kwargs.get("event_id", ""))

    def on_event_end(self, event_type: Any, *args: Any, **kwargs: Any) -> None:
        self.heard.append(f"called back {event_type.value}")

    def start_trace(self, trace_id: str | None = None) -> None:
        self.heard.append(f"trace {trace_id}")

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        self.heard.append(f"traced {trace_id}")


@dataclass(slots=True)
class Heard:
    """Names of what was reported, in order."""

    names: list[str] = field(default_factory=list[str])

    def taken(self, *, ordered: bool) -> Any:
        names = list(self.names)
        self.names.clear()
        return names if ordered else Counter(names)


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear events, spans and callbacks of every object that is made and called in the block."""
    heard, dispatcher = Heard(), get_dispatcher()
    events, spans = _Events(), _Spans()
    events.heard = spans.heard = heard.names
    before = llama_index.core.global_handler
    llama_index.core.global_handler = _Callbacks(heard.names)
    dispatcher.add_event_handler(events)
    dispatcher.add_span_handler(spans)
    try:
        yield heard
    finally:
        llama_index.core.global_handler = before
        dispatcher.event_handlers.remove(events)
        dispatcher.span_handlers.remove(spans)
