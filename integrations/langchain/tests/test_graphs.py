"""LangGraph graphs and agents: guarded once per call, and otherwise as they were."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from ctxguard import guard, handle
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

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


@tool
def search(query: str) -> str:
    """Find documents."""
    return join(GLOBAL.invoke(query))


@tool
def count(query: str) -> str:
    """Count characters."""
    return str(len(query))


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


def agent(**options: Any) -> Any:
    return create_agent(ScriptedChatModel(), [search], **options)


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


def test_a_guarded_chain_as_a_node_is_one_run() -> None:
    chain = guard(RunnableLambda(lambda _: join(GLOBAL.invoke("q"))) | MODEL)
    graph = StateGraph(MessagesState)
    graph.add_node("rag", chain | (lambda answer: {"messages": [answer]}))
    graph.add_edge(START, "rag")
    graph.compile().invoke(ASK)
    assert [step.kind for step in handle(chain).ledgers[0].steps] == ["retrieval", "model"]
    assert len(handle(chain).ledgers) == 1


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
