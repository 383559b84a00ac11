"""Agents and workflows: one run from `run` to the result, whatever is in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentWorkflow,
    BaseWorkflowAgent,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.objects import ObjectIndex
from llama_index.core.schema import MetadataMode
from llama_index.core.tools import FunctionTool, QueryEngineTool, RetrieverTool
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step
from workflows.errors import WorkflowCancelledByUser

import ctxguard
from ctxguard import BudgetExceededError, CoverageWarning
from ctxguard.run import current_run
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool, checksum

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


pytestmark = [
    pytest.mark.anyio,
    # To find an agent's steps, workflows look at all of its attributes, pydantic's old ones too.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LlamaIndex's ReActAgent asks its own context what the context calls deprecated.
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]


def answered(messages: Sequence[ChatMessage]) -> bool:
    """Whether the question at the end has been followed by a tool's result."""
    last = max(i for i, message in enumerate(messages) if message.role == "user")
    return any(message.role == "tool" for message in messages[last:])


def searching(messages: Sequence[ChatMessage]) -> Any:
    """Search once, then answer."""
    if not answered(messages) and messages[-1].role == "user":
        return call_tool("search", query="notice period")
    return checksum(messages)


def reasoning(messages: Sequence[ChatMessage]) -> str:
    """The same in ReAct's words."""
    if any((message.content or "").startswith("Observation:") for message in messages):
        return f"Thought: I can answer.\nAnswer: {checksum(messages)}"
    return 'Thought: I must search.\nAction: search\nAction Input: {"query": "notice period"}'


def coding(messages: Sequence[ChatMessage]) -> str:
    """The same in CodeAct's words."""
    ran = any("Result of executing" in (message.content or "") for message in messages)
    return checksum(messages) if ran else "<execute>\nsearch('notice period')\n</execute>"


def text_of(found: Any) -> str:
    return "\n\n".join(item.node.get_content(MetadataMode.LLM) for item in found)


class Searcher:
    """A user's object with a method that is handed in as a tool."""

    def __init__(self, retriever: BaseRetriever) -> None:
        self.retriever = retriever

    def search(self, query: str) -> str:
        """Find clauses."""
        return text_of(self.retriever.retrieve(query))


def searched_with(retriever: BaseRetriever, query: str) -> str:
    return text_of(retriever.retrieve(query))


def closure(index: Any, llm: ScriptedLLM) -> Any:
    retriever = index.as_retriever(similarity_top_k=4)

    def search(query: str) -> str:
        """Find clauses."""
        return text_of(retriever.retrieve(query))

    return search


def async_closure(index: Any, llm: ScriptedLLM) -> Any:
    retriever = index.as_retriever(similarity_top_k=4)

    async def search(query: str) -> str:
        """Find clauses."""
        return text_of(await retriever.aretrieve(query))

    return search


def bound(index: Any, llm: ScriptedLLM) -> Any:
    return Searcher(index.as_retriever(similarity_top_k=4)).search


def retriever_method(index: Any, llm: ScriptedLLM) -> Any:
    """`retriever.retrieve` itself, which LlamaIndex wraps in an object that is no method."""
    retriever = index.as_retriever(similarity_top_k=4)
    return FunctionTool.from_defaults(retriever.retrieve, name="search", description="d")


def partial_tool(index: Any, llm: ScriptedLLM) -> Any:
    retriever = index.as_retriever(similarity_top_k=4)
    fn = partial(searched_with, retriever)
    return FunctionTool.from_defaults(fn, name="search", description="Find clauses.")


def engine_tool(index: Any, llm: ScriptedLLM) -> Any:
    engine = index.as_query_engine(llm=llm, similarity_top_k=4)
    return QueryEngineTool.from_defaults(engine, name="search", description="Find clauses.")


def retriever_tool(index: Any, llm: ScriptedLLM) -> Any:
    retriever = index.as_retriever(similarity_top_k=4)
    return RetrieverTool.from_defaults(retriever, name="search", description="Find clauses.")


TOOLS: list[Callable[..., Any]] = [
    closure,
    async_closure,
    bound,
    partial_tool,
    engine_tool,
    retriever_tool,
]


def function_agent(index: Any, tool: Any, **options: Any) -> Any:
    llm = ScriptedLLM(script=searching)
    return FunctionAgent(tools=[tool(index, llm)], llm=llm, system_prompt="Search.", **options)


def react_agent(index: Any, tool: Any, **options: Any) -> Any:
    llm = ScriptedLLM(script=reasoning)
    return ReActAgent(tools=[tool(index, llm)], llm=llm, **options)


def code_agent(index: Any, tool: Any, **options: Any) -> Any:
    llm = ScriptedLLM(script=coding)
    search = tool(index, llm)

    def execute(code: str) -> str:
        """Run the code, as far as it is a search."""
        return str(search("notice period"))

    return CodeActAgent(execute, tools=[search], llm=llm, **options)


def agent_workflow(index: Any, tool: Any, **options: Any) -> Any:
    agent = function_agent(index, tool, **options)
    return AgentWorkflow(agents=[agent], root_agent=agent.name)


AGENTS: list[Callable[..., Any]] = [function_agent, react_agent, agent_workflow]


def llm_of(agent: Any) -> Any:
    return agent.llm if isinstance(agent, BaseWorkflowAgent) else agent.agents[agent.root_agent].llm


async def ask(agent: Any, question: str) -> str:
    return str(await agent.run(question))


def check(guarded: Any, corpus: Any) -> None:
    (ledger,) = guarded.ctxguard.ledgers
    assert ledger.question == corpus.question
    kinds = [step.kind for step in ledger.steps]
    assert kinds.count("retrieval") == 1
    assert kinds[0] == kinds[-1] == "model"
    assert len(ledger.of("drop")) == 1
    assert ledger.error == ""
    assert any(segment.kind == "evidence" for segment in ledger.segments)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("make", AGENTS)
async def test_agents(make: Any, tool: Any, index: Any, corpus: Any) -> None:
    agent = make(index, tool)
    guarded = guard(agent)
    assert isinstance(guarded, type(agent))
    assert guarded.ctxguard.coverage.complete, guarded.ctxguard.coverage
    kinds = {reached.kind for reached in guarded.ctxguard.coverage.reached}
    assert kinds == {"agent", "model", "retriever"}
    await ask(guarded, corpus.question)
    if tool is engine_tool:
        (ledger,) = guarded.ctxguard.ledgers
        assert [s.kind for s in ledger.steps].count("retrieval") == 1
    else:
        check(guarded, corpus)
    assert current_run() is None

    await ask(agent, corpus.question)
    assert len(guarded.ctxguard.ledgers) == 1


async def test_code_agent(index: Any, corpus: Any) -> None:
    guarded = guard(code_agent(index, closure))
    assert guarded.ctxguard.coverage.complete, guarded.ctxguard.coverage
    assert (await ask(guarded, corpus.question)).startswith("answer")
    (ledger,) = guarded.ctxguard.ledgers
    assert "retrieval" in [step.kind for step in ledger.steps]
    assert len(ledger.of("drop")) == 1


async def test_a_method_of_the_retriever_as_a_tool(index: Any, corpus: Any) -> None:
    def script(messages: Sequence[ChatMessage]) -> Any:
        if answered(messages):
            return checksum(messages)
        return call_tool("search", str_or_query_bundle="notice period")

    llm = ScriptedLLM(script=script)
    guarded = guard(FunctionAgent(tools=[retriever_method(index, llm)], llm=llm))
    assert guarded.ctxguard.coverage.complete
    await ask(guarded, corpus.question)
    check_steps = [step.name for step in guarded.ctxguard.last.steps]
    assert check_steps == ["ScriptedLLM", "VectorIndexRetriever", "ScriptedLLM"]


async def test_events_stream_while_it_runs(index: Any, corpus: Any) -> None:
    guarded = guard(function_agent(index, closure))
    handler = guarded.run(corpus.question)
    assert current_run() is None
    names = []
    async for event in handler.stream_events():
        assert current_run() is None
        names.append(type(event).__name__)
    assert (await handler).response.content.startswith("answer")
    assert {"AgentStream", "ToolCallResult", "AgentOutput"} <= set(names)
    check(guarded, corpus)


async def test_a_start_event(index: Any, corpus: Any) -> None:
    guarded = guard(function_agent(index, closure))
    await guarded.run(start_event=AgentWorkflowStartEvent(user_msg=corpus.question))
    check(guarded, corpus)


async def test_the_conversation_goes_on(index: Any, corpus: Any) -> None:
    guarded = guard(function_agent(index, closure))
    memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
    await guarded.run(corpus.question, memory=memory)
    await guarded.run(user_msg="And which one is in force?", memory=memory)
    first, second = guarded.ctxguard.ledgers
    assert (first.question, second.question) == (corpus.question, "And which one is in force?")
    prompt = llm_of(guarded).prompts[-1]
    assert [message.role.value for message in prompt].count("user") == 2


async def test_a_small_window_leaves_no_orphans(index: Any, corpus: Any) -> None:
    turns = 0

    def script(messages: Sequence[ChatMessage]) -> Any:
        nonlocal turns
        turns += 1
        return call_tool("search", f"call-{turns}", query="notice") if turns < 9 else "done"

    def search(query: str) -> str:
        """Find clauses."""
        return f"{corpus.payment} {corpus.notice} " * 5

    llm = ScriptedLLM(script=script, context_window=1000)
    guarded = guard(FunctionAgent(tools=[search], llm=llm))
    assert str(await guarded.run(corpus.question)) == "done"
    ledger = guarded.ctxguard.last
    assert all(s.tokens_after <= 750 for s in ledger.steps)
    assert ledger.of("drop", "trim")
    for prompt in llm.prompts:
        called = {b.tool_call_id for m in prompt for b in m.blocks if isinstance(b, ToolCallBlock)}
        answers = {m.additional_kwargs["tool_call_id"] for m in prompt if m.role == "tool"}
        assert called == answers
        assert any(message.content == corpus.question for message in prompt)


async def test_what_can_never_fit_ends_the_run(index: Any, corpus: Any) -> None:
    llm = ScriptedLLM(context_window=200)
    guarded = guard(FunctionAgent(llm=llm, system_prompt=corpus.notice * 50))
    with pytest.raises(BudgetExceededError, match="instructions"):
        await guarded.run(corpus.question)
    assert guarded.ctxguard.last.error.startswith("BudgetExceededError")
    assert llm.prompts == []


async def test_tools_that_are_themselves_retrieved(index: Any, corpus: Any) -> None:
    llm = ScriptedLLM(script=searching)
    twins = [engine_tool(index, llm), retriever_tool(index, llm)]
    twins[1].metadata.name = "find"  # the same description: for evidence, a near-copy
    tools = ObjectIndex.from_objects(twins).as_retriever(similarity_top_k=2)
    guarded = guard(FunctionAgent(tool_retriever=tools, llm=llm))
    paths = {reached.path for reached in guarded.ctxguard.coverage.reached}
    assert not any(path.startswith("tool_retriever._retriever") for path in paths)
    assert any(path.startswith("tool_retriever._object_node_mapping") for path in paths)
    assert {tool.metadata.name for tool in await guarded.get_tools("search")} == {"search", "find"}
    await ask(guarded, corpus.question)
    retrievals = [s for s in guarded.ctxguard.last.steps if s.kind == "retrieval"]
    assert [s.name for s in retrievals] == ["VectorIndexRetriever"]
    assert retrievals[0].tokens_after < retrievals[0].tokens_before


async def test_agents_that_hand_over(index: Any, corpus: Any) -> None:
    def first(messages: Sequence[ChatMessage]) -> Any:
        return call_tool("handoff", to_agent="clerk", reason="it is a clause")

    clerk = FunctionAgent(
        name="clerk",
        description="Finds clauses",
        tools=[closure(index, ScriptedLLM())],
        llm=ScriptedLLM(script=lambda m: searching(m) if m[-1].role == "user" else checksum(m)),
    )
    lead = FunctionAgent(
        name="lead", description="Leads", llm=ScriptedLLM(script=first), can_handoff_to=["clerk"]
    )
    guarded = guard(AgentWorkflow(agents=[lead, clerk], root_agent="lead"))
    assert [r.path for r in guarded.ctxguard.coverage.reached if r.kind == "model"] == [
        "agents['lead'].llm",
        "agents['clerk'].llm",
    ]
    assert (await ask(guarded, corpus.question)).startswith("answer")
    assert len(guarded.ctxguard.ledgers) == 1


# -- workflows of a user's own ---------------------------------------------------------------------


class Found(Event):
    text: str


class Cleaned(Event):
    text: str


class Contracts(Workflow):
    """Two steps, a nested engine and a dict of models, as a user writes it."""

    def __init__(self, retriever: Any, models: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.retriever = retriever
        self.models = models

    @step
    async def find(self, ev: StartEvent) -> Found:
        found = await self.retriever.aretrieve(ev.question)
        return Found(text=text_of(found))

    @step
    async def conclude(self, ev: Cleaned) -> StopEvent:
        return StopEvent(result=str(await self.models["small"].acomplete(ev.text)))


@step(workflow=Contracts)
async def clean(ev: Found) -> Cleaned:
    """A step that is a free function of the class."""
    return Cleaned(text=ev.text.strip())


async def test_a_workflow_of_ones_own(index: Any, llm: ScriptedLLM, corpus: Any) -> None:
    workflow = Contracts(index.as_retriever(similarity_top_k=4), {"small": llm})
    guarded = guard(workflow)
    assert type(guarded).__name__ == "Contracts"
    assert [(r.path, r.kind) for r in guarded.ctxguard.coverage.reached] == [
        ("retriever", "retriever"),
        ("models['small']", "model"),
    ]
    assert set(guarded._get_steps()) == set(workflow._get_steps()) == {"find", "clean", "conclude"}
    assert (await guarded.run(question=corpus.question)).startswith("answer")
    (ledger,) = guarded.ctxguard.ledgers
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert ledger.question == corpus.question
    assert str(llm.prompts[-1]).count(corpus.notice) == 1

    await workflow.run(question=corpus.question)
    assert str(llm.prompts[-1]).count(corpus.notice) == 2
    assert len(guarded.ctxguard.ledgers) == 1


async def test_a_workflow_inside_a_workflow(index: Any, llm: ScriptedLLM, corpus: Any) -> None:
    class Outer(Workflow):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await self.inner.run(question=ev.question))

    inner = Contracts(index.as_retriever(similarity_top_k=4), {"small": llm})
    guarded = guard(Outer(inner))
    await guarded.run(question=corpus.question)
    (ledger,) = guarded.ctxguard.ledgers
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert type(guarded.inner).__name__ == "Contracts"
    await guarded.inner.run(question=corpus.question)
    assert len(guarded.ctxguard.ledgers) == 2


async def test_a_workflow_that_fails(llm: ScriptedLLM) -> None:
    class Failing(Workflow):
        def __init__(self, llm: Any) -> None:
            super().__init__()
            self.llm = llm

        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            await self.llm.acomplete("Hello?")
            raise KeyError("clause")

    guarded = guard(Failing(llm))
    with pytest.raises(KeyError):
        await guarded.run()
    assert guarded.ctxguard.last.error == "KeyError: 'clause'"
    assert len(guarded.ctxguard.last.steps) == 1


async def test_a_workflow_that_is_cancelled(llm: ScriptedLLM) -> None:
    class Slow(Workflow):
        def __init__(self, llm: Any) -> None:
            super().__init__()
            self.llm = llm

        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(60)
            return StopEvent()

    guarded = guard(Slow(llm))
    handler = guarded.run()
    await asyncio.sleep(0.01)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    await asyncio.sleep(0)
    assert "ancelled" in guarded.ctxguard.last.error


async def test_what_a_workflow_closes_over_is_reported(index: Any, llm: ScriptedLLM) -> None:
    retriever = index.as_retriever()

    class Closed(Workflow):
        def __init__(self, llm: Any) -> None:
            super().__init__()
            self.llm = llm

        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await retriever.aretrieve("notice"))

    with pytest.warns(CoverageWarning, match="go:retriever"):
        guarded = guard(Closed(llm))
    (missing,) = guarded.ctxguard.coverage.unreached
    assert (missing.path, missing.type) == ("go:retriever", "VectorIndexRetriever")
    assert "make it an attribute" in missing.reason
