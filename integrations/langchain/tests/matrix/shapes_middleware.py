"""Agents with middleware: LangChain's own, and what people write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    after_model,
    before_model,
    dynamic_prompt,
    wrap_tool_call,
)
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import PrivateAttr

from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.matrix.failing import fails_first
from integrations.langchain.tests.matrix.graph_modes import ASYNC
from integrations.langchain.tests.matrix.harness import QUESTION, Shape
from integrations.langchain.tests.matrix.shapes_agents import (
    FailingModel,
    agent,
    asking_twice,
    thread,
)
from integrations.langchain.tests.matrix.shapes_graphs import (
    ASK,
    GLOBAL,
    MODEL,
    PARALLEL,
    TWO,
    join,
    model,
    retriever,
)
from integrations.langchain.tests.matrix.shapes_tools import search, search_with_state

__all__ = ["APPROVED", "MIDDLEWARE"]

QUICK: Any = {"initial_delay": 0.0, "backoff_factor": 0.0, "jitter": False}


class FailingTool(BaseTool):
    """Fails at its first try of each call, after it has retrieved."""

    name: str = "search"
    description: str = "Find documents."
    found: FixedRetriever
    _failed: set[object] = PrivateAttr(default_factory=set[object])

    def _run(self, query: str) -> str:
        documents = self.found.invoke(query)
        if fails_first(self._failed):
            raise ConnectionError("no such tool")
        return join(documents)


class Passing(AgentMiddleware):
    """Wraps everything and changes nothing."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


class Choosing(Passing):
    """Lets another model answer."""

    def __init__(self, chosen: Any) -> None:
        super().__init__()
        self.models = {"chosen": chosen}

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(model=self.models["chosen"]))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(model=self.models["chosen"]))


class Retrieving(Passing):
    """Retrieves before the model is asked, and brings a tool that retrieves."""

    def __init__(self, found: FixedRetriever) -> None:
        super().__init__()
        self.found = found
        self.tools = [search_with_state]

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [SystemMessage(join(self.found.invoke(QUESTION)), id="found")]}


def with_a_prompt_that_retrieves() -> Any:
    found = retriever()

    @dynamic_prompt
    def prompt(request: Any) -> str:
        return "Answer from this:\n" + join(found.invoke(QUESTION))

    return agent(middleware=[prompt])


@before_model
def look_up(state: Any, runtime: Any) -> dict[str, Any]:
    """Retrieve for the model."""
    return {"messages": [SystemMessage(join(GLOBAL.invoke(QUESTION)), id="found")]}


@after_model
def judge(state: Any, runtime: Any) -> None:
    """Ask a model what it thinks of the answer."""
    MODEL.invoke(state["messages"][-1].text or "nothing")


@wrap_tool_call
def watch(request: Any, handler: Any) -> Any:
    """Look at a tool's call."""
    return handler(request)


@tool
def emulated(query: str) -> str:
    """Would find documents."""
    raise AssertionError("the emulator answers")


LONG: Any = {
    "messages": [
        message
        for n in range(4)
        for message in (
            HumanMessage(f"question {n}", id=f"question {n}"),
            HumanMessage(f"more of question {n}", id=f"more {n}"),
        )
    ]
    + ASK["messages"]
}
APPROVED: Any = Command(resume={"decisions": [{"type": "approve"}]})
SELECTED = '{"tools": ["search"]}'


def limited() -> Any:
    limits = [ModelCallLimitMiddleware(run_limit=5), ToolCallLimitMiddleware(run_limit=5)]
    return agent(search, middleware=limits)


def summarized() -> Any:
    summary = SummarizationMiddleware(
        model("a summary"), trigger=("messages", 8), keep=("messages", 2)
    )
    return agent(search, middleware=[summary])


def edited() -> Any:
    edit = ClearToolUsesEdit(trigger=1, keep=1)
    return agent(search, middleware=[ContextEditingMiddleware(edits=[edit])])


def confirmed() -> Any:
    people = HumanInTheLoopMiddleware(interrupt_on={"search": True})
    return agent(search, middleware=[people], checkpointer=InMemorySaver())


def selected() -> Any:
    chooser = Selecting()
    middleware = LLMToolSelectorMiddleware(model=chooser, max_tools=1)
    return agent(search, search_with_state, middleware=[middleware])


class Selecting(ScriptedChatModel):
    """Chooses the first tool, by structured output."""

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        return self | (lambda _: {"tools": ["search"]})


MIDDLEWARE: Mapping[str, Shape] = {
    "that passes": asking_twice(lambda: agent(search, middleware=[Passing()])),
    "that watches tools": asking_twice(
        lambda: agent(search, middleware=[watch]), raises=dict.fromkeys(ASYNC, NotImplementedError)
    ),
    "that chooses a model": asking_twice(
        lambda: agent(search, middleware=[Choosing(model("chosen"))])
    ),
    "that retrieves": asking_twice(lambda: agent(middleware=[Retrieving(retriever())]), **TWO),
    "prompt that retrieves": asking_twice(with_a_prompt_that_retrieves, models=1),
    "before a model": asking_twice(lambda: agent(middleware=[look_up]), models=1),
    "after a model": asking_twice(
        lambda: agent(search, middleware=[judge]), models=4, evidence=False
    ),
    "limits": asking_twice(limited),
    "fallback": asking_twice(
        lambda: agent(
            search,
            model=FailingModel(always=True),
            middleware=[ModelFallbackMiddleware(model("fallback"))],
        ),
        models=4,
    ),
    "model retry": asking_twice(
        lambda: agent(search, model=FailingModel(), middleware=[ModelRetryMiddleware(**QUICK)]),
        models=4,
    ),
    "tool retry": asking_twice(
        lambda: agent(FailingTool(found=retriever()), middleware=[ToolRetryMiddleware(**QUICK)]),
        **TWO,
    ),
    "summarization": asking_twice(summarized, models=3, given=LONG),
    "context editing": asking_twice(edited),
    "human in the loop": asking_twice(confirmed, then=(APPROVED,), config=thread, evidence=False),
    "personal data": asking_twice(lambda: agent(search, middleware=[PIIMiddleware("email")])),
    "to-do list": asking_twice(
        lambda: agent(search, middleware=[TodoListMiddleware()]), **PARALLEL
    ),
    "tool selection": asking_twice(selected, models=4),
    "tool emulation": asking_twice(
        lambda: agent(emulated, middleware=[LLMToolEmulator(model=model("emulated"))]),
        models=3,
        retrievals=0,
        dropped=0,
    ),
}
