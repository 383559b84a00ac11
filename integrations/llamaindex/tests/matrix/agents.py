"""Agents with every kind of tool, and workflows of a user's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.objects import ObjectIndex
from llama_index.core.schema import MetadataMode
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step

from ctxguard_llamaindex.testing import ScriptedLLM, call_tool, checksum
from integrations.llamaindex.tests.matrix.scripts import (
    coding,
    obliging,
    reasoning,
    searching,
    searching_twice,
)
from integrations.llamaindex.tests.matrix.ways import WORKFLOW, Clause
from integrations.llamaindex.tests.matrix.world import Shape, World

__all__ = ["SHAPES", "text_of"]


def text_of(found: Any) -> str:
    return "\n\n".join(item.node.get_content(MetadataMode.LLM) for item in found)


# -- tools -----------------------------------------------------------------------------------------


class Searcher:
    """A user's object with a method that is handed in as a tool."""

    def __init__(self, retriever: BaseRetriever) -> None:
        self.retriever = retriever

    def search(self, query: str) -> str:
        """Find clauses."""
        return text_of(self.retriever.retrieve(query))


def searched_with(retriever: BaseRetriever, query: str) -> str:
    return text_of(retriever.retrieve(query))


def closure(world: World) -> Any:
    retriever = world.retriever()

    def search(query: str) -> str:
        """Find clauses."""
        return text_of(retriever.retrieve(query))

    return search


def async_closure(world: World) -> Any:
    retriever = world.retriever()

    async def search(query: str) -> str:
        """Find clauses."""
        return text_of(await retriever.aretrieve(query))

    return search


def with_a_context(world: World) -> Any:
    retriever = world.retriever()

    async def search(ctx: Context, query: str) -> str:
        """Find clauses, and note it."""
        await ctx.store.set("asked", query)
        return text_of(await retriever.aretrieve(query))

    search.__annotations__["ctx"] = Context  # LlamaIndex reads no annotation that is a string
    return search


def bound_method(world: World) -> Any:
    return Searcher(world.retriever()).search


def partial_function(world: World) -> Any:
    fn = partial(searched_with, world.retriever())
    return FunctionTool.from_defaults(fn, name="search", description="Find clauses.")


def engine_tool(world: World) -> Any:
    return world.engine_tool(streaming=False)


def retriever_tool(world: World) -> Any:
    return world.retriever_tool()


TOOLS = (
    closure,
    async_closure,
    with_a_context,
    bound_method,
    partial_function,
    engine_tool,
    retriever_tool,
)


def named(tool: Any) -> str:
    """A tool's name in a table."""
    return tool.__name__.replace("_", " ")


# -- agents ----------------------------------------------------------------------------------------


def function_agent(tool: Any, **options: Any) -> Any:
    return lambda world: FunctionAgent(
        tools=[tool(world)],
        llm=world.llm,
        system_prompt="Search.",
        streaming=world.streaming,
        **options,
    )


def react_agent(tool: Any) -> Any:
    return lambda world: ReActAgent(tools=[tool(world)], llm=world.llm, streaming=world.streaming)


def code_agent(tool: Any) -> Any:
    def make(world: World) -> Any:
        search = tool(world)

        def execute(code: str) -> str:
            """Run the code, as far as it is a search."""
            return str(search("notice period"))

        return CodeActAgent(execute, tools=[search], llm=world.llm, streaming=world.streaming)

    return make


def agent_workflow(tool: Any) -> Any:
    def make(world: World) -> Any:
        agent = function_agent(tool)(world)
        return AgentWorkflow(agents=[agent], root_agent=agent.name)

    return make


def hand_over(world: World) -> Any:
    """Two agents, the first of which gives the question to the second."""

    prompts = world.llm.prompts

    def leading(messages: Any) -> Any:
        prompts.append(list(messages))
        return call_tool("handoff", to_agent="clerk", reason="it is a clause")

    clerk = FunctionAgent(
        name="clerk",
        description="Finds clauses",
        tools=[closure(world)],
        llm=world.llm,
        streaming=world.streaming,
    )
    lead = FunctionAgent(
        name="lead",
        description="Leads",
        llm=ScriptedLLM(script=leading),
        can_handoff_to=["clerk"],
        streaming=world.streaming,
    )
    return AgentWorkflow(agents=[lead, clerk], root_agent="lead")


def handed_over(messages: Any) -> Any:
    """Search when the last result is that of the hand-over."""
    if any("notice must be given" in (message.content or "") for message in messages):
        return checksum(messages)
    return call_tool("search", query="notice period")


def agents_as_tools(world: World) -> Any:
    """An agent whose tool runs another agent."""
    inner = FunctionAgent(name="inner", description="Finds", tools=[closure(world)], llm=world.llm)

    async def search(query: str) -> str:
        """Find clauses, by another agent."""
        return str(await inner.run(user_msg=query))

    return FunctionAgent(tools=[search], llm=world.llm, streaming=world.streaming)


def retrieved_tools(world: World) -> Any:
    tools = ObjectIndex.from_objects([world.retriever_tool()]).as_retriever(similarity_top_k=1)
    return FunctionAgent(tool_retriever=tools, llm=world.llm, streaming=world.streaming)


def structured_agent(world: World) -> Any:
    return function_agent(closure, output_cls=Clause)(world)


def searching_for_structure(messages: Any) -> Any:
    if "<current_conversation>" in str(messages[-1].content):
        return call_tool("Clause", days="30")
    return searching(messages)


# -- workflows of a user's own ---------------------------------------------------------------------


class Found(Event):
    text: str


class Cleaned(Event):
    text: str


class Contracts(Workflow):
    """Steps with a retriever and a dict of models, as a user writes it."""

    def __init__(self, retriever: Any, models: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.retriever = retriever
        self.models = models

    @step
    async def find(self, ctx: Context, ev: StartEvent) -> Found:
        found = await self.retriever.aretrieve(ev.question)
        ctx.write_event_to_stream(Found(text="found"))
        return Found(text=text_of(found))

    @step
    async def conclude(self, ev: Cleaned) -> StopEvent:
        return StopEvent(result=str(await self.models["small"].acomplete(ev.text)))


@step(workflow=Contracts)
async def clean(ev: Found) -> Cleaned:
    """A step that is a free function of the class."""
    return Cleaned(text=ev.text.strip())


class Storing(Workflow):
    """A workflow that keeps its retriever and its model in the context's store."""

    def __init__(self, retriever: Any, llm: Any) -> None:
        super().__init__()
        self.retriever = retriever
        self.llm = llm

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Found:
        await ctx.store.set("tools", {"retriever": self.retriever, "llm": self.llm})
        return Found(text=ev.question)

    @step
    async def go(self, ctx: Context, ev: Found) -> StopEvent:
        tools = await ctx.store.get("tools")
        found = await tools["retriever"].aretrieve(ev.text)
        return StopEvent(result=str(await tools["llm"].acomplete(text_of(found))))


class Fanning(Workflow):
    """A workflow that retrieves in parallel and collects."""

    def __init__(self, retriever: Any, llm: Any) -> None:
        super().__init__()
        self.retriever = retriever
        self.llm = llm

    @step
    async def fan(self, ctx: Context, ev: StartEvent) -> Found | None:
        for _ in range(2):
            ctx.send_event(Found(text=ev.question))
        return None

    @step(num_workers=1)
    async def find(self, ev: Found) -> Cleaned:
        return Cleaned(text=text_of(await self.retriever.aretrieve(ev.text)))

    @step
    async def gather(self, ctx: Context, ev: Cleaned) -> StopEvent | None:
        found = ctx.collect_events(ev, [Cleaned] * 2)
        if found is None:
            return None
        return StopEvent(result=str(await self.llm.acomplete(found[0].text)))


class Outer(Workflow):
    """A workflow around another one."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.inner.run(question=ev.question))


class Engines(Workflow):
    """A workflow around a query engine and a chat engine."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.engine = engine

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=str(await self.engine.aquery(ev.question)))


def contracts(world: World) -> Any:
    return Contracts(world.retriever(), {"small": world.llm})


def shape(name: str, make: Any, **options: Any) -> Shape:
    options.setdefault("script", obliging)
    return Shape(name=name, make=make, ways=WORKFLOW, **options)


SHAPES: tuple[Shape, ...] = (
    *(
        shape(f"function agent, {named(tool)}", function_agent(tool), script=searching)
        for tool in TOOLS
    ),
    *(
        shape(
            f"ReAct agent, {named(tool)}",
            react_agent(tool),
            script=reasoning,
            slow=tool is not closure,
        )
        for tool in TOOLS
    ),
    *(
        shape(
            f"agent workflow, {named(tool)}",
            agent_workflow(tool),
            script=searching,
            slow=tool is not closure,
        )
        for tool in TOOLS
    ),
    shape("code agent", code_agent(closure), script=coding),
    shape(
        "function agent, parallel calls",
        function_agent(async_closure),
        script=searching_twice,
        retrievals=2,
    ),
    shape("function agent, output class", structured_agent, script=searching_for_structure),
    shape("agent with retrieved tools", retrieved_tools, script=searching),
    shape("agent inside an agent", agents_as_tools, script=searching),
    shape("agents that hand over", hand_over, script=handed_over),
    shape("workflow", contracts),
    shape("workflow inside a workflow", lambda world: Outer(contracts(world))),
    shape("workflow with a store", lambda world: Storing(world.retriever(), world.llm)),
    shape(
        "workflow in parallel", lambda world: Fanning(world.retriever(), world.llm), retrievals=2
    ),
    shape("workflow around an engine", lambda world: Engines(world.engine(streaming=False))),
)
