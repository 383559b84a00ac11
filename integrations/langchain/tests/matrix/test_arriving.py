"""Retrievers and models that arrive with the call are guarded by whoever is called."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from ctxguard import CoverageWarning, guard, handle
from integrations.langchain.tests.matrix.harness import QUESTION, STREAM_EVENTS
from integrations.langchain.tests.matrix.shapes_graphs import (
    ASK,
    answered,
    model,
    retriever,
    sequence,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
    pytest.mark.filterwarnings("ignore::ctxguard.CoverageWarning"),  # nothing is there yet
]


@dataclass
class Parts:
    """What the nodes of a graph are given when it is called."""

    found: Any
    asked: Any
    answered: int = 0


def of_a_context() -> Any:
    def node(state: MessagesState, runtime: Runtime[Parts]) -> dict[str, Any]:
        runtime.context.answered += 1
        return answered(runtime.context.found.invoke(QUESTION), state, runtime.context.asked)

    graph = StateGraph(MessagesState, context_schema=Parts)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


def of_a_config() -> Any:
    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        parts = config.get("configurable", {})
        return answered(parts["found"].invoke(QUESTION), state, parts["asked"])

    return sequence(node)


def arriving(name: str) -> tuple[Any, dict[str, Any], Any]:
    """A graph, what it is called with, and the model that arrives."""
    asked, found = model(), retriever()
    if name == "config":
        return of_a_config(), {"config": {"configurable": {"found": found, "asked": asked}}}, asked
    return of_a_context(), {"context": Parts(found, asked)}, asked


async def calls(graph: Any, given: dict[str, Any]) -> list[Any]:
    """What comes out of it, in every way but those of the protocol."""
    return [
        graph.invoke(ASK, **given),
        await graph.ainvoke(ASK, **given),
        *graph.stream(ASK, **given),
        *[part async for part in graph.astream(ASK, **given)],
        *graph.batch([ASK], **given),
        *await graph.abatch([ASK], **given),
        *[e["name"] async for e in graph.astream_events(ASK, **given, version="v2")],
    ]


async def protocol_calls(graph: Any, given: dict[str, Any]) -> list[Any]:
    """What comes out of the protocol's streams."""
    stream = await graph.astream_events(ASK, **given, version="v3")
    return [
        graph.stream_events(ASK, **given, version="v3").output,
        await stream.output(),
    ]


WAYS = [
    pytest.param(calls, 7, id="calls"),
    pytest.param(protocol_calls, 2, id="stream_events v3", marks=pytest.mark.needs(*STREAM_EVENTS)),
]


@pytest.mark.parametrize("name", ["context", "config"])
@pytest.mark.parametrize(("calls", "count"), WAYS)
async def test_what_arrives_is_guarded_once(name: str, calls: Any, count: int) -> None:
    graph, given, asked = arriving(name)
    guarded = guard(graph)
    made = await calls(guarded, given)
    ledgers = handle(guarded).ledgers
    steps = [[step.kind for step in ledger.steps] for ledger in ledgers]
    assert steps == [["retrieval", "model"]] * count
    assert {len(ledger.of("drop")) for ledger in ledgers} == {2}
    assert all(any(s.kind == "evidence" for s in ledger.segments) for ledger in ledgers)
    assert {item.kind for item in handle(guarded).coverage.reached} == {"retriever", "model"}
    assert handle(guarded).coverage.complete
    assert len(asked.seen) == count
    plain, other, _ = arriving(name)
    assert texts(made) == texts(await calls(plain, other))


def texts(made: list[Any]) -> list[str]:
    return [str(getattr(part, "text", part)).partition("id=")[0] for part in made]


@pytest.mark.parametrize("name", ["context", "config"])
def test_what_arrives_stays_as_it_was(name: str) -> None:
    graph, given, asked = arriving(name)
    guard(graph).invoke(ASK, **given)
    parts = given["config"]["configurable"] if name == "config" else vars(given["context"])
    assert parts["asked"] is asked
    assert not any(hasattr(part, "ctxguard") for part in parts.values())


def test_what_cannot_be_copied_is_reported_and_used_as_it_is() -> None:
    class Sealed:
        """Whose finaliser would close what its copies use."""

        __slots__ = ("asked",)

        def __init__(self) -> None:
            self.asked = model()

        def __del__(self) -> None:
            """Close nothing."""

    def node(state: MessagesState, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"messages": [runtime.context.asked.invoke("q")]}

    guarded = guard(sequence(node))
    assert guarded.invoke(ASK, context=Sealed())["messages"][-1].text == "done"
    assert "__del__" in handle(guarded).coverage.unreached[0].reason


def test_a_context_shares_its_state_with_its_maker() -> None:
    graph, given, _ = arriving("context")
    guarded = guard(graph)
    guarded.invoke(ASK, **given)
    guarded.invoke(ASK, **given)
    assert given["context"].answered == 2


def test_a_config_by_position_is_guarded() -> None:
    graph, given, _ = arriving("config")
    guarded = guard(graph)
    guarded.invoke(ASK, given["config"])
    guarded.batch([ASK], [given["config"]])
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2, 2]


class Given(TypedDict):
    """A state that brings what is used."""

    found: Any
    asked: Any
    text: str


class GivenModel(BaseModel):
    """The same as a model of pydantic."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    found: Any
    asked: Any
    text: str = ""


def of_a_state(kind: Any) -> Any:
    def node(state: Any) -> dict[str, Any]:
        given = state if isinstance(state, dict) else vars(state)
        documents = given["found"].invoke(QUESTION)
        return {"text": given["asked"].invoke(str(documents)).text}

    graph = StateGraph(kind)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


@dataclass
class GivenData:
    """The same as a dataclass."""

    found: Any
    asked: Any
    text: str = ""


@pytest.mark.parametrize("kind", [Given, GivenModel, GivenData])
async def test_what_arrives_in_a_state_is_reported_once_and_stays_as_it_is(kind: Any) -> None:
    guarded = guard(of_a_state(kind))
    asked, found = model(), retriever()
    state = kind(found=found, asked=asked, text="")
    with pytest.warns(CoverageWarning, match="arrives in the input") as caught:
        assert guarded.invoke(state)["text"] == "done"
    assert [warning.filename for warning in caught] == [__file__]
    reported = handle(guarded).coverage.unreached
    assert [item.type for item in reported] == ["FixedRetriever", "ScriptedChatModel"]
    assert [item.path.startswith("input") for item in reported] == [True, True]
    assert not any(hasattr(part, "ctxguard") for part in (found, asked))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoverageWarning)
        guarded.invoke(state)
        await guarded.ainvoke(state)
        _ = [*guarded.stream(state), *[part async for part in guarded.astream(state)]]
    assert handle(guarded).coverage.unreached == reported
    assert {len(ledger.steps) for ledger in handle(guarded).ledgers} == {0}


def test_what_arrives_in_a_state_with_a_guard_is_guarded() -> None:
    guarded = guard(of_a_state(Given))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoverageWarning)
        guarded.invoke({"found": guard(retriever()), "asked": guard(model()), "text": ""})
    assert handle(guarded).coverage.unreached == ()
