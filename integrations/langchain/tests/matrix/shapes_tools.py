"""Tools as people write them, called by a graph of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolArg, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime, tools_condition
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from integrations.langchain.tests.matrix.graph_modes import SYNC
from integrations.langchain.tests.matrix.harness import QUESTION, Shape
from integrations.langchain.tests.matrix.shapes_graphs import (
    GLOBAL,
    OTHER,
    PARALLEL,
    TWO,
    join,
    model,
    row,
    sequence,
)

__all__ = ["TOOLS", "asearch", "of_tools", "search", "search_with_state"]

# -- tools --------------------------------------------------------------------------------------


@tool
def search(query: str) -> str:
    """Find documents."""
    return join(GLOBAL.invoke(query))


@tool
async def asearch(query: str) -> str:
    """Find documents, without blocking."""
    return join(await GLOBAL.ainvoke(query))


@tool
def search_with_state(query: str, state: Annotated[Any, InjectedState]) -> str:
    """Find documents for the conversation."""
    return join(OTHER.invoke(f"{query} {len(state['messages'])}"))


@tool
def search_with_store(query: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Find documents and remember that."""
    store.put(("asked",), query, {"query": query})
    return join(GLOBAL.invoke(query))


@tool
def search_with_runtime(query: str, runtime: ToolRuntime[Any, Any]) -> str:
    """Find documents and say so."""
    runtime.stream_writer({"call": runtime.tool_call_id})
    return join(GLOBAL.invoke(query))


@tool
def search_with_command(query: str, runtime: ToolRuntime[Any, Any]) -> Command[Any]:
    """Find documents and change the state."""
    message = ToolMessage(join(GLOBAL.invoke(query)), tool_call_id=runtime.tool_call_id)
    return Command(update={"messages": [message]})


@tool
def search_with(query: str, found: Annotated[Any, InjectedToolArg] = GLOBAL) -> str:
    """Find documents with a default."""
    return join(found.invoke(query))


def of_tools(*tools: Any, **options: Any) -> Any:
    """A model that calls tools until it answers, built by hand."""
    bound = model().bind_tools(tools)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode(list(tools), **options))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition, ["tools", END])
    graph.add_edge("tools", "ask")
    return graph.compile(store=InMemoryStore())


def of_a_tool_node_alone() -> Any:
    return sequence(("tools", ToolNode([search, search_with_state])))


CALLS: Any = {
    "messages": [
        HumanMessage(QUESTION, id="ask"),
        AIMessage(
            "",
            id="calls",
            tool_calls=[
                {"name": name, "args": {"query": "q"}, "id": name}
                for name in ("search", "search_with_state", "search")
            ],
        ),
    ]
}


# -- the table ----------------------------------------------------------------------------------

TOOLS: Mapping[str, Shape] = {
    "tool": row(lambda: of_tools(search), models=2),
    "async tool": row(
        lambda: of_tools(asearch), models=2, raises=dict.fromkeys(SYNC, NotImplementedError)
    ),
    "injected state": row(lambda: of_tools(search_with_state), models=2),
    "injected store": row(lambda: of_tools(search_with_store), models=2),
    "tool runtime": row(lambda: of_tools(search_with_runtime), models=2),
    "tool that commands": row(lambda: of_tools(search_with_command), models=2),
    "default of a tool": row(
        lambda: of_tools(search_with),
        models=2,
        retrievals=0,
        dropped=0,
        kinds={"model": 1, "retriever": 1},
        unreached=("it uses FixedRetriever, but that belongs to a class",),
    ),
    "tools in parallel": row(
        lambda: of_tools(search, search_with_state), models=2, **TWO, **PARALLEL
    ),
    "tool node alone": row(
        of_a_tool_node_alone, retrievals=3, dropped=6, models=0, given=CALLS, **PARALLEL
    ),
}
