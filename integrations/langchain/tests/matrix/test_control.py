"""Graphs that stop, go on, go back, nest and give up: runs follow, and control flow is no error."""

from __future__ import annotations

import gc
import pickle
import sqlite3
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from ctxguard import Ledger, Policy, guard, handle
from ctxguard.run import current_run
from integrations.langchain.tests.matrix.harness import QUESTION, STREAM_EVENTS, TEXTS
from integrations.langchain.tests.matrix.shapes_agents import agent, thread
from integrations.langchain.tests.matrix.shapes_graphs import (
    ASK,
    GRAPHS,
    join,
    model,
    retriever,
    sequence,
)
from integrations.langchain.tests.matrix.shapes_tools import search

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
]


def kinds(*ledgers: Ledger) -> list[list[str]]:
    return [[step.kind for step in ledger.steps] for ledger in ledgers]


def errors(guarded: Any) -> list[str]:
    return [ledger.error for ledger in handle(guarded).ledgers]


# -- checkpoints --------------------------------------------------------------------------------


def confirmed(checkpointer: Any) -> Any:
    """Retrieves, asks a person, and answers."""
    found, asked = retriever(), model()

    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", join(found.invoke(QUESTION)))]}

    def confirm(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("user", str(interrupt("sure?")))]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [asked.invoke(state["messages"])]}

    return sequence(retrieve, confirm, answer, checkpointer=checkpointer)


def subgraph_confirmed(checkpointer: Any) -> Any:
    return sequence(("inner", confirmed(None)), checkpointer=checkpointer)


def flow_confirmed(checkpointer: Any) -> Any:
    found, asked = retriever(), model()

    @task
    def find(question: str) -> str:
        return join(found.invoke(question))

    @entrypoint(checkpointer=checkpointer)
    def flow(given: Any) -> Any:
        text = find(QUESTION).result()
        said = interrupt("sure?")
        return {"messages": [asked.invoke([("system", text), ("user", str(said))])]}

    return flow


STOPPING: dict[str, Callable[[Any], Any]] = {
    "graph": confirmed,
    "subgraph": subgraph_confirmed,
    "flow": flow_confirmed,
}


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
        return
    connection = sqlite3.connect(tmp_path / "checkpoints.db", check_same_thread=False)
    yield SqliteSaver(connection)
    connection.close()


@pytest.mark.parametrize("make", STOPPING.values(), ids=STOPPING)
def test_what_was_interrupted_is_resumed(make: Any, saver: Any) -> None:
    guarded, config = guard(make(saver)), thread()
    plain, other = make(InMemorySaver()), thread()
    stopped = guarded.invoke(ASK, config)
    assert stopped["__interrupt__"][0].value == plain.invoke(ASK, other)["__interrupt__"][0].value
    ended = guarded.invoke(Command(resume="yes"), config)
    expected = plain.invoke(Command(resume="yes"), other)
    assert ended["messages"][-1].text == expected["messages"][-1].text == "done"
    assert kinds(*handle(guarded).ledgers) == [["retrieval"], ["model"]]
    assert errors(guarded) == ["", ""]
    assert TEXTS[0] in str(handle(guarded).ledgers[0].chunks)


@pytest.mark.parametrize("make", STOPPING.values(), ids=STOPPING)
async def test_what_was_interrupted_is_resumed_in_a_stream(make: Any, tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
        guarded, config = guard(make(saver)), thread()
        stopped = [part async for part in guarded.astream(ASK, config, stream_mode="updates")]
        assert "__interrupt__" in stopped[-1]
        resumed = guarded.astream(Command(resume="yes"), config, stream_mode="values")
        assert [part async for part in resumed][-1]["messages"][-1].text == "done"
        assert kinds(*handle(guarded).ledgers) == [["retrieval"], ["model"]]
        assert errors(guarded) == ["", ""]


def test_a_checkpoint_of_a_plain_graph_is_resumed_guarded(saver: Any) -> None:
    plain, config = confirmed(saver), thread()
    plain.invoke(ASK, config)
    guarded = guard(plain)
    assert guarded.get_state(config).next == ("confirm",)
    assert guarded.invoke(Command(resume="yes"), config)["messages"][-1].text == "done"
    assert plain.get_state(config).values == guarded.get_state(config).values
    assert kinds(*handle(guarded).ledgers) == [["model"]]


def test_going_back_in_time_runs_again_from_there(saver: Any) -> None:
    guarded, config = guard(confirmed(saver)), thread()
    guarded.invoke(ASK, config)
    guarded.invoke(Command(resume="yes"), config)
    history = list(guarded.get_state_history(config))
    start = next(state for state in history if state.next == ("retrieve",))
    guarded.invoke(None, start.config)
    asked = next(state for state in history if state.next == ("answer",))
    said = {"messages": [HumanMessage("Who pays?")]}
    forked = guarded.update_state(asked.config, said, as_node="confirm")
    assert guarded.invoke(None, forked)["messages"][-1].text == "done"
    assert kinds(*handle(guarded).ledgers) == [["retrieval"], ["model"], ["retrieval"], ["model"]]
    assert errors(guarded) == ["", "", "", ""]


def test_a_static_breakpoint_stops_and_goes_on(saver: Any) -> None:
    guarded, config = guard(GRAPHS["closures"].make()), thread()
    guarded.checkpointer = saver
    guarded.invoke(ASK, config, interrupt_before=["answer"])
    guarded.invoke(None, config)
    assert kinds(*handle(guarded).ledgers) == [["retrieval"], ["model"]]


def test_checkpoints_hold_nothing_of_the_guard(saver: Any) -> None:
    guarded, config = guard(confirmed(saver)), thread()
    guarded.invoke(ASK, config)
    assert b"ctxguard" not in pickle.dumps(list(saver.list(config)))


# -- nested -------------------------------------------------------------------------------------


def nested() -> dict[str, Any]:
    """A guarded retriever in a guarded tool in a guarded agent in a guarded graph."""
    found = guard(retriever())

    @tool
    def look(query: str) -> str:
        """Find documents."""
        return join(found.invoke(query))

    guarded_tool = guard(look)
    guarded_agent = guard(agent(guarded_tool))
    graph = StateGraph(MessagesState)
    graph.add_node("agent", guarded_agent)
    graph.add_edge(START, "agent")
    return {
        "retriever": found,
        "tool": guarded_tool,
        "agent": guarded_agent,
        "graph": guard(graph.compile()),
    }


def _tree(ledger: Ledger) -> Any:
    return (*[step.kind for step in ledger.steps],), [_tree(child) for child in ledger.children]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_nested_guards_apply_the_policy_once(mode: str) -> None:
    parts = nested()
    called = getattr(parts["graph"], mode)(ASK)
    if mode == "ainvoke":
        await called
    elif mode == "stream":
        list(called)
    elif mode == "astream":
        _ = [part async for part in called]
    (ledger,) = handle(parts["graph"]).ledgers
    once = ("model", "retrieval", "model")
    found = ("retrieval",)
    assert _tree(ledger) == (once, [(once, [(found, [(found, [])])])])
    assert len(ledger.of("drop")) == 2
    for name in ("retriever", "tool", "agent"):
        assert len(handle(parts[name]).ledgers) == 1


async def test_a_guarded_tool_in_a_plain_agent_is_still_guarded() -> None:
    guarded = guard(search)
    plain = agent(guarded)
    plain.invoke(ASK)
    await plain.ainvoke(ASK)
    assert kinds(*handle(guarded).ledgers) == [["retrieval"], ["retrieval"]]


def test_policies_of_nested_guards_do_not_mix() -> None:
    found = guard(retriever(), Policy.off())
    guarded = guard(sequence(("node", lambda state: {"messages": [join(found.invoke("q"))]})))
    guarded.invoke(ASK)
    assert not handle(guarded).ledgers[0].of("drop")


# -- control flow -------------------------------------------------------------------------------

FOUND = retriever()


def test_a_guarded_subgraph_interrupts_and_commands_its_parent() -> None:
    def leave(state: MessagesState) -> Command[Any]:
        update = {"messages": [("user", str(interrupt("sure?")))]}
        return Command(goto="other", graph=Command.PARENT, update=update)

    inner = guard(
        sequence(("retrieve", lambda _: {"messages": join(FOUND.invoke(QUESTION))}), leave)
    )
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner, destinations=("other",))
    graph.add_node("other", lambda state: {"messages": [("ai", "there")]})
    graph.add_edge(START, "inner")
    outer, config = graph.compile(checkpointer=InMemorySaver()), thread()
    assert "__interrupt__" in outer.invoke(ASK, config)
    assert outer.invoke(Command(resume="yes"), config)["messages"][-1].text == "there"
    assert errors(inner) == ["", ""]


async def test_an_interrupt_in_a_tool_passes(saver: Any) -> None:
    @tool
    def ask_first(query: str) -> str:
        """Find documents, if somebody agrees."""
        return f"{interrupt('sure?')}: {join(FOUND.invoke(query))}"

    guarded, config = guard(agent(ask_first, checkpointer=saver)), thread()
    assert "__interrupt__" in guarded.invoke(ASK, config)
    assert guarded.invoke(Command(resume="yes"), config)["messages"][-2].text.startswith("yes")
    assert kinds(*handle(guarded).ledgers) == [["model"], ["retrieval", "model"]]
    assert errors(guarded) == ["", ""]


def test_an_error_is_raised_and_noted_in_every_ledger_around() -> None:
    def fail(state: MessagesState) -> dict[str, Any]:
        FOUND.invoke(QUESTION)
        raise LookupError("no such clause")

    inner = guard(sequence(fail))
    guarded = guard(sequence(("inner", inner)))
    with pytest.raises(LookupError):
        guarded.invoke(ASK)
    assert errors(guarded) == errors(inner) == ["LookupError: no such clause"]
    assert handle(guarded).ledgers[0].children == handle(inner).ledgers


# -- streams that nobody reads ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["closures", "functional API", "subgraph in a subgraph"])
@pytest.mark.parametrize(
    "version", ["v2", pytest.param("v3", marks=pytest.mark.needs(*STREAM_EVENTS))]
)
async def test_a_stream_that_nobody_reads_leaves_nothing_behind(name: str, version: str) -> None:
    guarded = guard(GRAPHS[name].make())
    made: list[Any] = [
        guarded.stream(ASK),
        guarded.astream(ASK),
        guarded.transform(iter([ASK])),
    ]
    if version == "v3":
        made.append(guarded.stream_events(ASK, version="v3"))
        made.append(await guarded.astream_events(ASK, version="v3"))
    else:
        made.append(guarded.astream_events(ASK, version="v2"))
    assert current_run() is None
    assert handle(guarded).last is None
    gone = [weakref.ref(stream) for stream in made]
    del made
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
    assert handle(guarded).ledgers == ()


async def test_a_stream_that_is_left_in_the_middle_ends_well() -> None:
    guarded = guard(GRAPHS["sync and async"].make())
    for part in guarded.stream(ASK, stream_mode="messages"):
        assert part
        break
    stream: AsyncIterator[Any] = guarded.astream(ASK, stream_mode="messages")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    gc.collect()
    assert current_run() is None
    assert errors(guarded) == ["", ""]
