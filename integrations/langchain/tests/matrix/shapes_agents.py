"""Agents as people write them: tools, middleware, answers with a schema, agents of agents."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import BaseTool, StructuredTool, create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command
from pydantic import BaseModel, PrivateAttr

from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.matrix.failing import fails_first
from integrations.langchain.tests.matrix.graph_modes import SYNC
from integrations.langchain.tests.matrix.harness import QUESTION, Config, Shape
from integrations.langchain.tests.matrix.shapes_graphs import (
    ASK,
    GLOBAL,
    GRAPHS,
    PARALLEL,
    TWO,
    answer_globally,
    join,
    model,
    retriever,
    row,
    sequence,
)
from integrations.langchain.tests.matrix.shapes_tools import (
    asearch,
    search,
    search_with_command,
    search_with_runtime,
    search_with_state,
)

__all__ = [
    "AGENTS",
    "SURROUNDED",
    "FailingModel",
    "agent",
    "asking_twice",
    "large",
    "thread",
]


SURROUNDED: ContextVar[tuple[list[Any], list[Any]]] = ContextVar("surrounded", default=([], []))
"""Middleware that `agent` puts before and after its own."""


def agent(*tools: Any, **options: Any) -> Any:
    before, after = SURROUNDED.get()
    middleware = [*before, *options.pop("middleware", ()), *after]
    return create_agent(
        options.pop("model", model()), list(tools), middleware=middleware, **options
    )


def thread() -> Config:
    """A conversation of its own."""
    return {"configurable": {"thread_id": uuid.uuid4().hex}}


# -- models that are not so simple --------------------------------------------------------------


class FailingModel(ScriptedChatModel):
    """Fails at its first try of each call, or always."""

    always: bool = False
    _failed: set[object] = PrivateAttr(default_factory=set[object])

    def _answer(self, messages: Any, kwargs: Any) -> Any:
        if self.always or fails_first(self._failed):
            raise ConnectionError("no such model")
        return super()._answer(messages, kwargs)


class ReasoningModel(ScriptedChatModel):
    """Thinks aloud, in blocks of content, before it calls a tool or answers."""

    def _answer(self, messages: Any, kwargs: Any) -> Any:
        answer = super()._answer(messages, kwargs)
        blocks: list[Any] = [{"type": "reasoning", "reasoning": "let me see", "index": 0}]
        if answer.text:
            blocks.append({"type": "text", "text": answer.text, "index": 1})
        return answer.model_copy(update={"content": blocks})

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        answer: AIMessage = self._answer(messages, kwargs)
        calls: Any = [
            {**call, "args": '{"query": "q"}', "index": 2, "type": "tool_call_chunk"}
            for call in answer.tool_calls
        ]
        for block in answer.content:
            yield ChatGenerationChunk(message=AIMessageChunk(content=[block]))
        yield ChatGenerationChunk(message=AIMessageChunk(content=[], tool_call_chunks=calls))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        for chunk in self._stream(messages, *args, **kwargs):
            yield chunk


class Answer(BaseModel):
    """What is answered."""

    query: str


class StructuredModel(ScriptedChatModel):
    """Gives structured output when it has called its other tools."""

    def _answer(self, messages: Any, kwargs: Any) -> Any:
        done = any(message.type == "tool" for message in messages)
        tools = [t for t in kwargs.get("tools") or [] if t["function"]["name"] == "Answer"]
        if not done:
            others = [t for t in kwargs.get("tools") or [] if t not in tools]
            return super()._answer(messages, {**kwargs, "tools": others})
        if tools:
            asked = [message for message in messages if message.type != "tool"]
            return super()._answer(asked, {**kwargs, "tools": tools})
        return AIMessage('{"query": "q"}') if kwargs.get("response_format") else AIMessage("q")


# -- tools --------------------------------------------------------------------------------------


class SearchTool(BaseTool):
    """A tool that is a class, with its retriever as a field."""

    name: str = "search"
    description: str = "Find documents."
    found: FixedRetriever

    def _run(self, query: str) -> str:
        return join(self.found.invoke(query))


class Library:
    """Whose method is a tool."""

    def __init__(self) -> None:
        self.found = retriever()

    def search(self, query: str) -> str:
        """Find documents."""
        return join(self.found.invoke(query))


def plain_search(query: str) -> str:
    """Find documents; a plain function is a tool, too."""
    return join(GLOBAL.invoke(query))


def of_a_closure() -> Any:
    found = retriever()

    @tool
    def look(query: str) -> str:
        """Find documents."""
        return join(found.invoke(query))

    return agent(look)


@tool
def count(query: str) -> str:
    """Count characters."""
    return str(len(query))


def with_artifact() -> Any:
    """The retriever tool whose documents travel with the message."""
    return create_retriever_tool(
        retriever(), "search", "Find documents.", response_format="content_and_artifact"
    )


# -- agents of agents ---------------------------------------------------------------------------


def supervised() -> Any:
    """An agent that is a tool of another."""
    worker = agent(search)

    @tool
    def research(query: str) -> str:
        """Ask the researcher."""
        ended = worker.invoke({"messages": [HumanMessage(query)]})
        return str(ended["messages"][-1].text)

    return agent(research, name="supervisor")


def supervised_async() -> Any:
    worker = agent(search)

    @tool
    async def research(query: str) -> str:
        """Ask the researcher, without blocking."""
        ended = await worker.ainvoke({"messages": [HumanMessage(query)]})
        return str(ended["messages"][-1].text)

    return agent(research)


def of_a_node() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent(search, name="researcher"))
    graph.add_edge(START, "agent")
    return graph.compile()


def that_hands_off() -> Any:
    """Two agents in a graph, one of which hands over to the other."""

    @tool
    def hand_over(query: str) -> Command[Any]:
        """Let the researcher answer."""
        return Command(goto="researcher", graph=Command.PARENT)

    graph = StateGraph(MessagesState)
    graph.add_node("greeter", agent(hand_over, name="greeter"), destinations=("researcher",))
    graph.add_node("researcher", agent(search, name="researcher"))
    graph.add_edge(START, "greeter")
    return graph.compile()


def large() -> Any:
    """A graph of twenty nodes, six of which are agents and four graphs of their own."""
    found = [SearchTool(name="find", found=retriever()) for _ in range(6)]
    agents = [
        agent(found[n], Library().search, search_with_state, name=f"agent-{n}") for n in range(6)
    ]
    graphs = [GRAPHS["closures"].make() for _ in range(4)]
    nodes = [*agents, *graphs, *([answer_globally] * 10)]
    return sequence(*((f"node-{n}", node) for n, node in enumerate(nodes)))


# -- what is said -------------------------------------------------------------------------------

MULTIMODAL: Any = {
    "messages": [
        HumanMessage(
            id="ask",
            content=[
                {"type": "text", "text": QUESTION},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
                {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
                {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
            ],
        )
    ]
}
REASONED: Any = {
    "messages": [
        HumanMessage("Hello", id="hello"),
        AIMessage(
            [
                {"type": "reasoning", "reasoning": "they greet me"},
                {"type": "thinking", "thinking": "politely", "signature": "s"},
                {"type": "text", "text": "Hello to you"},
            ],
            id="hello to you",
        ),
        *ASK["messages"],
    ]
}


# -- the table ----------------------------------------------------------------------------------


def asking_twice(make: Callable[[], Any], **options: Any) -> Shape:
    """A row of an agent that asks its model, calls a tool and asks again."""
    return row(make, **{"models": 2, **options})


AGENTS: Mapping[str, Shape] = {
    "agent": asking_twice(lambda: agent(search, system_prompt="Answer.", name="helper")),
    "async tool": asking_twice(
        lambda: agent(asearch), raises=dict.fromkeys(SYNC, NotImplementedError)
    ),
    "retriever tool": asking_twice(
        lambda: agent(create_retriever_tool(retriever(), "search", "Find documents."))
    ),
    "retriever tool with artifact": asking_twice(lambda: agent(with_artifact())),
    "tool of a closure": asking_twice(of_a_closure),
    "tool class": asking_twice(lambda: agent(SearchTool(found=retriever()))),
    "tool of a method": asking_twice(
        lambda: agent(StructuredTool.from_function(Library().search, name="search"))
    ),
    "bound method as a tool": asking_twice(lambda: agent(Library().search)),
    "plain function as a tool": asking_twice(lambda: agent(plain_search)),
    "injected state": asking_twice(lambda: agent(search_with_state), retrievals=1),
    "tool runtime": asking_twice(lambda: agent(search_with_runtime)),
    "tool that commands": asking_twice(lambda: agent(search_with_command)),
    "tools in parallel": asking_twice(
        lambda: agent(search, search_with_state, count), **TWO, **PARALLEL
    ),
    "tool schema": asking_twice(
        lambda: agent(search, response_format=ToolStrategy(Answer), model=StructuredModel())
    ),
    "provider schema": asking_twice(
        lambda: agent(search, response_format=ProviderStrategy(Answer), model=StructuredModel())
    ),
    "any schema": asking_twice(
        lambda: agent(search, response_format=AutoStrategy(Answer), model=StructuredModel())
    ),
    "plain schema": asking_twice(
        lambda: agent(search, response_format=Answer, model=StructuredModel())
    ),
    "multimodal": asking_twice(lambda: agent(search), given=MULTIMODAL),
    "reasoning": asking_twice(lambda: agent(search, model=ReasoningModel()), given=REASONED),
    "checkpointer": asking_twice(
        lambda: agent(search, checkpointer=InMemorySaver()), config=thread
    ),
    "supervisor": asking_twice(supervised, models=4, evidence=False),
    "async supervisor": asking_twice(
        supervised_async,
        models=4,
        evidence=False,
        raises=dict.fromkeys(SYNC, NotImplementedError),
    ),
    "agent as a node": asking_twice(of_a_node),
    "hand-off": asking_twice(that_hands_off, models=3),
    "create_react_agent": asking_twice(lambda: create_react_agent(model(), [search])),
    "create_react_agent, schema": asking_twice(
        lambda: create_react_agent(StructuredModel(), [search], response_format=Answer), models=3
    ),
}
