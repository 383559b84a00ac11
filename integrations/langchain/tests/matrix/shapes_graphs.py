"""Graphs as people write them: whatever a node, a task or a tool may be."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send

from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.matrix.failing import fails_first
from integrations.langchain.tests.matrix.graph_modes import SYNC
from integrations.langchain.tests.matrix.harness import DOCUMENTS, QUESTION, STREAM_EVENTS, Shape

__all__ = [
    "ASK",
    "GLOBAL",
    "GRAPHS",
    "OTHER",
    "OTHERS",
    "PARALLEL",
    "TWO",
    "answer_globally",
    "answered",
    "join",
    "model",
    "retriever",
    "row",
    "sequence",
]

ASK: Any = {"messages": [HumanMessage(QUESTION, id="ask")]}
OTHERS = [
    Document(page_content=text, id=f"{number}-{copy}")
    for number, text in enumerate(
        (
            "Either party may appoint an auditor who reads the books once a year.",
            "The seller delivers to the port of Rotterdam and bears the risk until then.",
        )
    )
    for copy in range(2)
]
"""Four, as `DOCUMENTS`, of other texts: two retrievals of the same would meet in one prompt."""


def join(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def retriever(documents: list[Document] = DOCUMENTS) -> FixedRetriever:
    return FixedRetriever(documents=documents)


def model(*script: str) -> ScriptedChatModel:
    return ScriptedChatModel(script=list(script))


GLOBAL, OTHER = retriever(), retriever(OTHERS)
MODEL = model()
NAMED = {"retrievers": [GLOBAL], "model": MODEL}


def sequence(*nodes: Any, state: Any = MessagesState, **options: Any) -> Any:
    """A graph of nodes in a row."""
    graph = StateGraph(state)
    named = [node if isinstance(node, tuple) else (node.__name__, node) for node in nodes]
    graph.add_sequence(named)
    graph.add_edge(START, named[0][0])
    return graph.compile(**options)


def answered(documents: list[Document], state: Any, asked: Any) -> dict[str, Any]:
    return {"messages": [asked.invoke([("system", join(documents)), *state["messages"]])]}


# -- what a node may be -------------------------------------------------------------------------


def of_closures() -> Any:
    found, asked = retriever(), model()

    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", join(found.invoke(QUESTION)))]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [asked.invoke(state["messages"])]}

    return sequence(retrieve, answer)


def of_coroutines() -> Any:
    found, asked = AsyncFixedRetriever(documents=DOCUMENTS), model()

    async def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", join(await found.ainvoke(QUESTION)))]}

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await asked.ainvoke(state["messages"])]}

    return sequence(retrieve, answer)


def of_both() -> Any:
    found, asked = retriever(), model()

    def answer(state: MessagesState) -> dict[str, Any]:
        return answered(found.invoke(QUESTION), state, asked)

    async def aanswer(state: MessagesState) -> dict[str, Any]:
        documents = await found.ainvoke(QUESTION)
        return {"messages": [await asked.ainvoke([("system", join(documents))])]}

    return sequence(("answer", RunnableLambda(answer, aanswer)))


def retrieve_globally(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("system", join(GLOBAL.invoke(QUESTION)))]}


def answer_globally(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke(state["messages"])]}


def answer_by_name(state: MessagesState) -> dict[str, Any]:
    return answered(NAMED["retrievers"][0].invoke(QUESTION), state, NAMED["model"])


class Application:
    """Whose methods are nodes."""

    def __init__(self) -> None:
        self.found = retriever()
        self.parts = {"model": model()}

    def node(self, state: MessagesState) -> dict[str, Any]:
        return answered(self.found.invoke(QUESTION), state, self.parts["model"])

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        return self.node(state)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A node that is data."""

    found: FixedRetriever
    asked: ScriptedChatModel

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        return answered(self.found.invoke(QUESTION), state, self.asked)


def with_parts(state: MessagesState, *, found: FixedRetriever, asked: Any) -> dict[str, Any]:
    return answered(found.invoke(QUESTION), state, asked)


def of_partials() -> Any:
    return sequence(("node", functools.partial(with_parts, found=retriever(), asked=model())))


def of_chains() -> Any:
    asked = (lambda state: state["messages"]) | RunnableLambda(model().invoke)
    return sequence(
        ("retrieve", (lambda _: QUESTION) | retriever() | join | (lambda text: {"messages": text})),
        ("answer", asked | (lambda answer: {"messages": [answer]})),
    )


def that_retries() -> Any:
    found, asked, failed = retriever(), model(), set[object]()

    def node(state: MessagesState) -> dict[str, Any]:
        documents = found.invoke(QUESTION)
        if fails_first(failed):
            raise ConnectionError("once")
        return answered(documents, state, asked)

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ConnectionError)
    graph.add_node("node", node, retry_policy=policy)
    graph.add_edge(START, "node")
    return graph.compile()


def that_writes() -> Any:
    found, asked = retriever(), model()

    def node(state: MessagesState) -> dict[str, Any]:
        write = get_stream_writer()
        documents = found.invoke(QUESTION)
        write({"found": len({document.page_content for document in documents})})
        return answered(documents, state, asked)

    return sequence(node)


# -- where control goes -------------------------------------------------------------------------


class Found(TypedDict):
    """What parallel branches find."""

    messages: list[Any]
    found: Annotated[list[str], operator.add]


class Branch(TypedDict):
    """What one branch is sent, and what it finds."""

    which: int
    found: list[str]


def retrieve_one(state: Branch) -> dict[str, Any]:
    return {"found": [join((GLOBAL, OTHER)[state["which"]].invoke(QUESTION))]}


def answer_all(state: Found) -> dict[str, Any]:
    return {"messages": [MODEL.invoke("\n".join(state["found"]))]}


def fanned_out(branch: Any) -> Any:
    graph = StateGraph(Found)
    graph.add_node("branch", branch)
    graph.add_node("answer", answer_all)
    sends = [Send("branch", {"which": which}) for which in range(2)]
    graph.add_conditional_edges(START, lambda _: sends, ["branch"])
    graph.add_edge("branch", "answer")
    return graph.compile()


def that_routes() -> Any:
    """Asks a model where to go, and retrieves on the way."""
    asked, found = model("answer"), retriever()

    def route(state: MessagesState) -> str:
        answer = asked.invoke([("system", join(found.invoke(QUESTION))), "where?"])
        return answer.text.strip()

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer_globally)
    graph.add_node("other", retrieve_globally)
    graph.add_conditional_edges(START, route, ["answer", "other"])
    return graph.compile()


def that_commands() -> Any:
    found, asked = retriever(), model()

    def retrieve(state: MessagesState) -> Command[Any]:
        text = join(found.invoke(QUESTION))
        return Command(goto="answer", update={"messages": [("system", text)]})

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [asked.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("retrieve", retrieve, destinations=("answer",))
    graph.add_node("answer", answer)
    graph.add_edge(START, "retrieve")
    return graph.compile()


def that_commands_its_parent() -> Any:
    found = retriever()

    def leave(state: MessagesState) -> Command[Any]:
        text = join(found.invoke(QUESTION))
        update = {"messages": [("system", text)]}
        return Command(goto="answer", graph=Command.PARENT, update=update)

    graph = StateGraph(MessagesState)
    graph.add_node("inner", sequence(leave), destinations=("answer",))
    graph.add_node("answer", answer_globally)
    graph.add_edge(START, "inner")
    return graph.compile()


# -- graphs in graphs ---------------------------------------------------------------------------


def of_a_subgraph() -> Any:
    return sequence(("middle", sequence(("inner", of_closures()))))


def of_a_called_graph() -> Any:
    inner = of_closures()

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": inner.invoke({"messages": state["messages"]})["messages"]}

    return sequence(node)


async def acall_inner(state: MessagesState) -> dict[str, Any]:
    ended = await INNER.ainvoke({"messages": state["messages"]})
    return {"messages": ended["messages"]}


INNER = of_closures()


# -- the functional API -------------------------------------------------------------------------


@task
def find(question: str) -> str:
    return join(GLOBAL.invoke(question))


@task
def find_other(question: str) -> str:
    return join(OTHER.invoke(question))


@entrypoint()
def flow(given: Any) -> Any:
    found = [find(QUESTION), find_other(QUESTION)]
    text = "\n".join(future.result() for future in found)
    return {"messages": [MODEL.invoke([("system", text), *given["messages"]])]}


def of_tasks_in_closures() -> Any:
    found, asked = retriever(), model()

    @task
    async def look(question: str) -> str:
        return join(await found.ainvoke(question))

    @entrypoint()
    async def aflow(given: Any) -> Any:
        text = await look(QUESTION)
        return {"messages": [await asked.ainvoke([("system", text), *given["messages"]])]}

    return aflow


def of_a_task_in_a_node() -> Any:
    def node(state: MessagesState) -> dict[str, Any]:
        text = find(QUESTION).result()
        return {"messages": [MODEL.invoke([("system", text), *state["messages"]])]}

    return sequence(node)


def of_a_graph_in_a_flow() -> Any:
    inner = of_closures()

    @entrypoint()
    def outer(given: Any) -> Any:
        return inner.invoke(given)

    return outer


# -- the table ----------------------------------------------------------------------------------

NOT_SYNC = dict.fromkeys(SYNC, TypeError)
PARALLEL: Any = {"parallel": ("LangGraph", "flow", "tools"), "unordered": True}
TWO: Any = {"retrievals": 2, "dropped": 4}
# Up to LangGraph 1.1.10, what waits for a task in `astream_events` gets None, guarded or not.
TASKS: Any = {"needs": {"events": STREAM_EVENTS}}


def row(make: Any, **options: Any) -> Shape:
    """A row whose graph is asked the question; graphs have every mode."""
    return Shape(make=make, **{"given": ASK, "raises": {}, **options})


GRAPHS: Mapping[str, Shape] = {
    "closures": row(of_closures),
    "coroutines": row(of_coroutines, raises=NOT_SYNC),
    "sync and async": row(of_both),
    "global functions": row(lambda: sequence(retrieve_globally, answer_globally)),
    "global containers": row(lambda: sequence(answer_by_name)),
    "bound method": row(lambda: sequence(("node", Application().node))),
    "callable object": row(lambda: sequence(("node", Application()))),
    "callable data": row(lambda: sequence(("node", Frozen(retriever(), model())))),
    "partial": row(of_partials),
    "chains as nodes": row(of_chains),
    "retried node": row(that_retries, **TWO),
    "stream writer": row(that_writes),
    "fan-out": row(lambda: fanned_out(retrieve_one), **TWO, **PARALLEL),
    "fan-out to subgraphs": row(
        lambda: fanned_out(sequence(retrieve_one, state=Branch)), **TWO, **PARALLEL
    ),
    "routing by a model": row(that_routes, models=2, evidence=False),
    "command": row(that_commands),
    "command to the parent": row(that_commands_its_parent),
    "subgraph in a subgraph": row(of_a_subgraph),
    "graph called in a node": row(of_a_called_graph),
    "graph awaited in a node": row(lambda: sequence(acall_inner), raises=NOT_SYNC),
    "functional API": row(lambda: flow, **TWO, **PARALLEL, **TASKS),
    "functional API, closures": row(of_tasks_in_closures, raises=NOT_SYNC, **TASKS),
    "task in a node": row(of_a_task_in_a_node, **TASKS),
    "graph in a flow": row(of_a_graph_in_a_flow),
}
