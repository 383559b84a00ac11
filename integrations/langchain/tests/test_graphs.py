"""LangGraph graphs and agents: guarded once per call, and otherwise as they were."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import create_retriever_tool, tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from ctxguard import Policy, guard, handle
from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings, ScriptedChatModel

TEXTS = [
    "The notice period for ending the supply agreement is thirty days, given in writing.",
    "The notice period for ending the supply agreement is thirty days, given in writing.",
    "Payment is due within fourteen days after the invoice has been received by the buyer.",
]
DOCUMENTS = [Document(page_content=text, id=str(n)) for n, text in enumerate(TEXTS)]
QUESTION = "What is the notice period?"
ASK: Any = {"messages": [HumanMessage(QUESTION, id="ask")]}

pytestmark = pytest.mark.anyio


def join(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def retriever() -> FixedRetriever:
    return FixedRetriever(documents=DOCUMENTS)


GLOBAL = retriever()
MODEL = ScriptedChatModel()
STORE = InMemoryVectorStore(HashEmbeddings())
STORE.add_documents(DOCUMENTS)


@tool
def search(query: str) -> str:
    """Find documents."""
    return join(GLOBAL.invoke(query))


@tool
def count(query: str) -> str:
    """Count characters."""
    return str(len(query))


class Passing(AgentMiddleware):
    """A user's middleware that changes nothing."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


def built(found: FixedRetriever, model: ScriptedChatModel) -> StateGraph[Any, Any, Any, Any]:
    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", join(found.invoke("q")))]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("retrieve", retrieve)
    graph.add_node("answer", RunnableLambda(answer, aanswer))
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "answer")
    return graph


def nested() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("inner", built(retriever(), ScriptedChatModel()).compile())
    graph.add_edge(START, "inner")
    return graph.compile()


class Application:
    """Whose methods are nodes; it keeps count of what it did."""

    def __init__(self) -> None:
        self.found = retriever()
        self.model = ScriptedChatModel()
        self.answered = 0

    def node(self, state: MessagesState) -> dict[str, Any]:
        self.answered += 1
        context = join(self.found.invoke("q"))
        return {"messages": [self.model.invoke([("system", context), *state["messages"]])]}


def of_object() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", Application().node)
    graph.add_edge(START, "node")
    return graph.compile()


def retrieve_globally(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("system", join(STORE.similarity_search(QUESTION, k=3)))]}


def answer_globally(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke(state["messages"])]}


def of_functions() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_sequence([retrieve_globally, answer_globally])
    graph.add_edge(START, "retrieve_globally")
    return graph.compile()


@task
def find(question: str) -> str:
    return join(GLOBAL.invoke(question))


@entrypoint()
def flow(given: Any) -> Any:
    context = find("q").result()
    return {"messages": [MODEL.invoke([("system", context), *given["messages"]])]}


class Fanned(TypedDict):
    messages: list[Any]
    found: Annotated[list[str], lambda left, right: left + right]


def fanned_out() -> Any:
    def retrieve(state: Any) -> dict[str, Any]:
        return {"found": [join(GLOBAL.invoke(state["q"]))]}

    def answer(state: Fanned) -> dict[str, Any]:
        return {"messages": [MODEL.invoke("\n".join(state["found"]))]}

    graph = StateGraph(Fanned)
    graph.add_node("retrieve", retrieve)
    graph.add_node("answer", answer)
    graph.add_conditional_edges(START, lambda _: [Send("retrieve", {"q": "q"})], ["retrieve"])
    graph.add_edge("retrieve", "answer")
    return graph.compile()


def agent(**options: Any) -> Any:
    return create_agent(ScriptedChatModel(), [search], **options)


GRAPHS: dict[str, Callable[[], Any]] = {
    "agent": lambda: agent(system_prompt="Answer."),
    "agent with a retriever tool": lambda: create_agent(
        ScriptedChatModel(), [create_retriever_tool(retriever(), "search", "Finds documents.")]
    ),
    "agent with tools in parallel": lambda: create_agent(ScriptedChatModel(), [search, count]),
    "agent with middleware": lambda: agent(middleware=[Passing()]),
    "agent with a fallback": lambda: agent(
        middleware=[ModelFallbackMiddleware(ScriptedChatModel())]
    ),
    "closures": lambda: built(retriever(), ScriptedChatModel()).compile(),
    "subgraph": nested,
    "method of an object": of_object,
    "globals": of_functions,
    "functional API": lambda: flow,
    "fan-out": fanned_out,
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Any:
    return GRAPHS[str(request.param)]()


async def calls(graph: Any) -> dict[str, Any]:
    return {
        "invoke": graph.invoke(ASK),
        "ainvoke": await graph.ainvoke(ASK),
        "values": list(graph.stream(ASK, stream_mode="values")),
        "updates": [part async for part in graph.astream(ASK, stream_mode="updates")],
        "messages": list(graph.stream(ASK, stream_mode="messages", subgraphs=True)),
        "several": [part async for part in graph.astream(ASK, stream_mode=["updates", "custom"])],
        "batch": graph.batch([ASK, ASK]),
        "abatch": await graph.abatch([ASK, ASK]),
    }


async def test_every_call_is_one_run_with_one_retrieval(graph: Any) -> None:
    guarded = guard(graph)
    await calls(guarded)
    ledgers = handle(guarded).ledgers
    assert len(ledgers) == 10
    for ledger in ledgers:
        assert not ledger.error
        assert not ledger.errors
        assert ledger.question == QUESTION
        assert [step.kind for step in ledger.steps].count("retrieval") == 1
        assert ledger.steps[-1].kind == "model"
        assert len(ledger.dropped()) == 1
        assert any(segment.kind == "evidence" for segment in ledger.segments)
    assert handle(guarded).coverage.complete


async def test_a_policy_that_does_nothing_changes_nothing(graph: Any) -> None:
    expected = await calls(graph)
    made = await calls(guard(graph, Policy.off()))
    for name, output in made.items():
        # Tools that run in parallel stream in the order in which they end.
        assert sorted(map(str, shown([output]))) == sorted(map(str, shown([expected[name]]))) or (
            sorted(map(str, shown(output))) == sorted(map(str, shown(expected[name])))
        ), name


def shown(value: Any) -> Any:
    """Output without what LangChain and LangGraph draw for each run."""
    if isinstance(value, dict):
        return {
            key: shown(item)
            for key, item in value.items()
            if key not in ("langgraph_checkpoint_ns", "checkpoint_ns")
        }
    if isinstance(value, list | tuple):
        return [shown(item) for item in value if not str(item).startswith("inner:")]
    if isinstance(value, str) and ":" in value:
        return value.partition(":")[0]
    return value.model_copy(update={"id": None}) if isinstance(value, BaseMessage) else value


async def test_the_original_stays_plain(graph: Any) -> None:
    await calls(graph)  # fills LangGraph's own caches
    before = snapshot(graph)
    guarded = guard(graph)
    await calls(guarded)
    made = len(handle(guarded).ledgers)
    await calls(graph)
    assert type(guarded).__name__ == type(graph).__name__
    assert isinstance(guarded, type(graph))
    assert len(handle(guarded).ledgers) == made
    assert snapshot(graph) == before
    assert guarded.get_graph().to_json() == graph.get_graph().to_json()


def snapshot(graph: Any) -> Any:
    """The identity of everything in a graph's nodes."""
    return [
        (name, id(node), id(node.bound), id(getattr(node.bound, "func", None)), sorted(vars(node)))
        for name, node in graph.nodes.items()
    ] + [sorted(vars(graph))]


def test_an_objects_state_is_shared_with_its_user() -> None:
    application = Application()
    graph = StateGraph(MessagesState)
    graph.add_node("node", application.node)
    graph.add_edge(START, "node")
    guarded = guard(graph.compile())
    guarded.invoke(ASK)
    assert application.answered == 1
    application.found = FixedRetriever(documents=DOCUMENTS[2:])
    guarded.invoke(ASK)
    assert application.answered == 2
    assert "thirty days" not in str(application.model.seen[-1])


def test_guarding_an_agent_takes_milliseconds() -> None:
    plain = agent(system_prompt="Answer.")
    guard(plain)  # the first time, modules are imported and classes made

    def seconds() -> float:
        started = time.perf_counter()
        guard(plain)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(10)) < 0.05


# -- checkpoints and control flow ---------------------------------------------------------------


def confirmed(found: FixedRetriever, model: ScriptedChatModel) -> Any:
    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("system", join(found.invoke("q")))]}

    def confirm(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("user", interrupt("sure?"))]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([retrieve, confirm, answer])
    graph.add_edge(START, "retrieve")
    return graph.compile(checkpointer=InMemorySaver())


async def test_an_interrupt_is_no_error_and_the_graph_resumes() -> None:
    guarded = guard(confirmed(retriever(), ScriptedChatModel()))
    config: Any = {"configurable": {"thread_id": "1"}}
    stopped = guarded.invoke(ASK, config)
    assert stopped["__interrupt__"][0].value == "sure?"
    ended = await guarded.ainvoke(Command(resume="yes"), config)
    assert ended["messages"][-1].content == "done"
    first, second = handle(guarded).ledgers
    assert not first.error
    assert not second.error
    assert [step.kind for step in first.steps] == ["retrieval"]
    assert [step.kind for step in second.steps] == ["model"]
    assert guarded.get_state(config).values["messages"][-1].content == "done"


def test_a_guarded_subgraph_interrupts_its_parent() -> None:
    inner = guard(confirmed(retriever(), ScriptedChatModel()))
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    outer = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in outer.invoke(ASK, config)
    assert outer.invoke(Command(resume="yes"), config)["messages"][-1].content == "done"
    assert not any(ledger.error for ledger in handle(inner).ledgers)


def test_a_command_to_the_parent_passes() -> None:
    def leave(state: MessagesState) -> Command[Any]:
        GLOBAL.invoke("q")
        return Command(goto="other", graph=Command.PARENT, update={"messages": [("user", "x")]})

    inner = StateGraph(MessagesState)
    inner.add_node("leave", leave)
    inner.add_edge(START, "leave")
    guarded = guard(inner.compile())
    outer = StateGraph(MessagesState)
    outer.add_node("inner", guarded, destinations=("other",))
    outer.add_node("other", lambda state: {"messages": [("ai", "there")]})
    outer.add_edge(START, "inner")
    assert outer.compile().invoke(ASK)["messages"][-1].content == "there"
    assert [ledger.error for ledger in handle(guarded).ledgers] == [""]


def test_a_guarded_chain_as_a_node_is_one_run() -> None:
    chain = guard(RunnableLambda(lambda _: join(GLOBAL.invoke("q"))) | MODEL)
    graph = StateGraph(MessagesState)
    graph.add_node("rag", chain | (lambda answer: {"messages": [answer]}))
    graph.add_edge(START, "rag")
    graph.compile().invoke(ASK)
    assert [step.kind for step in handle(chain).ledgers[0].steps] == ["retrieval", "model"]
    assert len(handle(chain).ledgers) == 1


def test_an_error_in_a_node_is_raised_and_noted() -> None:
    def fail(state: MessagesState) -> dict[str, Any]:
        GLOBAL.invoke("q")
        raise LookupError("no such thing")

    graph = StateGraph(MessagesState)
    graph.add_node("fail", fail)
    graph.add_edge(START, "fail")
    guarded = guard(graph.compile())
    with pytest.raises(LookupError):
        guarded.invoke(ASK)
    last = handle(guarded).last
    assert last is not None
    assert last.error == "LookupError: no such thing"
    assert len(last.steps) == 1


# -- what is made of a guarded graph ------------------------------------------------------------


def test_what_with_config_makes_is_guarded_as_a_whole() -> None:
    guarded = guard(agent())
    configured = guarded.with_config(tags=["x"])
    configured.invoke(ASK)
    assert type(configured).__name__ == "CompiledStateGraph"
    assert handle(configured) is handle(guarded)
    assert [step.kind for step in handle(guarded).ledgers[0].steps] == [
        "model",
        "retrieval",
        "model",
    ]


def test_a_copy_goes_on_being_guarded() -> None:
    guarded = guard(built(retriever(), ScriptedChatModel()).compile())
    made = copy.copy(guarded)
    made.invoke(ASK)
    assert handle(made) is handle(guarded)
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2]


# -- structured output --------------------------------------------------------------------------


class Answer(BaseModel):
    """What is answered."""

    query: str


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
async def test_structured_output_works(strategy: Any) -> None:
    class Model(ScriptedChatModel):
        """Answers with the structured output that it is asked for, at once."""

        def _answer(self, messages: Any, kwargs: Any) -> Any:
            if kwargs.get("response_format"):
                kwargs = {**kwargs, "tools": []}
            return super()._answer(messages, kwargs)

    plain = create_agent(
        Model(script=['{"query": "q"}']), tools=[], response_format=strategy(Answer)
    )
    guarded = guard(plain)
    assert guarded.invoke(ASK)["structured_response"] == Answer(query="q")
    assert (await guarded.ainvoke(ASK))["structured_response"] == Answer(query="q")
    assert all(segment.tokens for segment in handle(guarded).ledgers[0].segments)
    assert "tools" in {segment.kind for segment in handle(guarded).ledgers[0].segments}


def test_tools_called_in_parallel_answer_their_own_calls() -> None:
    guarded = guard(create_agent(ScriptedChatModel(), [search, count]))
    messages = guarded.invoke(ASK)["messages"]
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [result.name for result in results] == ["search", "count"]
    assert [result.tool_call_id for result in results] == ["call-0", "call-1"]
