"""Agents and workflows: what their events show is what may be shown, tools are called as before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

import ctxguard
from ctxguard import Policy, UngroundedAnswerError
from ctxguard.verification import Verify
from ctxguard_llamaindex import AnswerCorrectedEvent, AnswerVerifiedEvent
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    # To find an agent's steps, workflows look at all of its attributes, pydantic's old ones too.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LlamaIndex's ReActAgent asks its own context what the context calls deprecated.
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]

NOTICE = "The notice period is thirty days."
FEE = "The fee is $500 per month."
WRONG = "The fee is $600 per month."
DRAFT = f"{NOTICE} {WRONG}"
RIGHT = f"{NOTICE} {FEE}"
QUESTION = "What is the fee, and the notice period?"
THOUGHT = "Thought: I can answer without using any more tools, at $900.\nAnswer:"
FEES = "Late payments cost $25 each."


def policy(mode: Any = "after", on_fail: Any = "flag", **more: Any) -> Policy:
    return Policy(verification=Verify(mode=mode, on_fail=on_fail, **more))


def is_repair(messages: Sequence[ChatMessage]) -> bool:
    return any("BEGIN" in (message.content or "") for message in messages)


def functions(messages: Sequence[ChatMessage]) -> Any:
    """Search once, then answer wrongly; corrected when asked."""
    if is_repair(messages):
        return FEE
    searched = any(message.role == "tool" for message in messages)
    return DRAFT if searched else call_tool("search", query="fee and notice period")


def reasons(messages: Sequence[ChatMessage]) -> str:
    """The same in ReAct's words."""
    if is_repair(messages):
        return FEE
    if any((message.content or "").startswith("Observation:") for message in messages):
        return f"{THOUGHT} {DRAFT}"
    return 'Thought: I must search.\nAction: search\nAction Input: {"query": "fee and notice"}'


def codes_tools(messages: Sequence[ChatMessage]) -> str:
    """The same in CodeAct's words."""
    if is_repair(messages):
        return FEE
    ran = any("Result of executing" in (message.content or "") for message in messages)
    return DRAFT if ran else "I look it up.\n<execute>\nsearch('fee and notice')\n</execute>"


def search_of(index: VectorStoreIndex) -> Any:
    retriever = index.as_retriever(similarity_top_k=2)

    def search(query: str) -> str:
        """Find clauses."""
        return "\n\n".join(item.node.get_content() for item in retriever.retrieve(query))

    return search


@pytest.fixture
def index() -> VectorStoreIndex:
    return VectorStoreIndex([TextNode(id_="n", text=NOTICE), TextNode(id_="f", text=FEE)])


def function_agent(search: Any) -> Any:
    return FunctionAgent(tools=[search], llm=ScriptedLLM(script=functions), system_prompt="Search.")


def react_agent(search: Any) -> Any:
    return ReActAgent(tools=[search], llm=ScriptedLLM(script=reasons))


def code_agent(search: Any) -> Any:
    def execute(code: str) -> str:
        """Run the code, as far as it is a search."""
        return str(search("fee and notice"))

    return CodeActAgent(execute, tools=[search], llm=ScriptedLLM(script=codes_tools))


def agent_workflow(search: Any) -> Any:
    agent = function_agent(search)
    return AgentWorkflow(agents=[agent], root_agent=agent.name)


AGENTS = [function_agent, react_agent, code_agent, agent_workflow]


async def events_of(agent: Any) -> tuple[str, list[Any]]:
    handler = agent.run(QUESTION)
    events = [event async for event in handler.stream_events()]
    return str(await handler), events


def run(agent: Any) -> tuple[str, list[Any]]:
    return asyncio.run(events_of(agent))


def spoken(events: Sequence[Any]) -> str:
    return "".join(event.delta for event in events if isinstance(event, AgentStream))


@pytest.mark.parametrize("make", AGENTS)
def test_an_agents_answer_is_repaired_before_anybody_sees_it(make: Any, index: Any) -> None:
    guarded = guard(make(search_of(index)), policy("gate", "repair"))
    answer, events = run(guarded)
    assert answer.strip() == RIGHT
    assert "600" not in spoken(events)
    assert spoken(events).endswith(RIGHT)
    outputs = [event.response.content for event in events if isinstance(event, AgentOutput)]
    assert all("600" not in (text or "") for text in outputs)
    (ledger,) = guarded.ctxguard.ledgers
    assert [one.grounded for one in ledger.verifications] == [False, True]
    assert [step.kind for step in ledger.steps].count("retrieval") == 1


@pytest.mark.parametrize("make", AGENTS)
def test_the_workflows_stream_tells_of_what_was_wrong(make: Any, index: Any) -> None:
    guarded = guard(make(search_of(index)), policy("annotate"))
    answer, events = run(guarded)
    assert answer.strip() == DRAFT
    (corrected,) = [event for event in events if isinstance(event, AnswerCorrectedEvent)]
    (verified,) = [event for event in events if isinstance(event, AnswerVerifiedEvent)]
    assert corrected.claim == WRONG
    assert verified.answer.strip() == DRAFT
    at = events.index(corrected)
    assert spoken(events[:at]).endswith(WRONG)
    assert at < events.index(verified)


@pytest.mark.parametrize("make", AGENTS)
def test_an_agents_caller_is_told_by_an_error(make: Any, index: Any) -> None:
    llm_is_stubborn = make(search_of(index))
    agent = next(iter(llm_is_stubborn.agents.values())) if make is agent_workflow else None
    model = (agent or llm_is_stubborn).llm
    script = model.script
    model.script = lambda messages: WRONG if is_repair(messages) else script(messages)
    with pytest.raises(UngroundedAnswerError, match="The fee is"):
        run(guard(llm_is_stubborn, policy("gate", "raise")))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("make", [function_agent, react_agent])
def test_whole_replies_of_agents_are_verified_too(make: Any, streaming: bool, index: Any) -> None:
    agent = make(search_of(index))
    agent.streaming = streaming
    answer, _ = run(guard(agent, policy("gate", "repair")))
    assert answer.strip() == RIGHT


@pytest.mark.parametrize("make", [function_agent, react_agent])
def test_what_any_tool_returned_is_evidence(make: Any) -> None:
    """No retriever is in it: the results of tools are in the prompt."""

    def search(query: str) -> str:
        """Find clauses."""
        return RIGHT

    guarded = guard(make(FunctionTool.from_defaults(search)), policy("after", "repair"))
    _, events = run(guarded)
    (verified,) = [event for event in events if isinstance(event, AnswerVerifiedEvent)]
    assert verified.counts == {"contradicted": 1, "supported": 1}


class Steps(Workflow):
    """A user's own: one step retrieves, the next one asks."""

    def __init__(self, index: VectorStoreIndex, llm: ScriptedLLM) -> None:
        super().__init__()
        self.retriever = index.as_retriever(similarity_top_k=2)
        self.llm = llm

    @step
    async def answer(self, event: StartEvent) -> StopEvent:
        found = await self.retriever.aretrieve(QUESTION)
        context = "\n".join(item.node.get_content() for item in found)
        return StopEvent(result=str(await self.llm.acomplete(f"{context}\n\n{QUESTION}")))


def test_a_workflow_of_ones_own_is_verified(index: Any) -> None:
    llm = ScriptedLLM(script=lambda messages: FEE if is_repair(messages) else DRAFT)
    guarded = guard(Steps(index, llm), policy("after", "repair"))
    answer, events = asyncio.run(started(guarded))
    assert answer == RIGHT
    assert [event.ending for event in events if isinstance(event, AnswerVerifiedEvent)] == [
        "repaired"
    ]


async def started(workflow: Any) -> tuple[str, list[Any]]:
    handler = workflow.run(query=QUESTION)
    events = [event async for event in handler.stream_events()]
    return str(await handler), events


def test_workflows_that_do_not_tell_of_their_step_have_the_dispatchers_events_only(
    index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Context, "get_step_context", raising=False)  # as older ones
    _, events = run(guard(function_agent(search_of(index)), policy("annotate")))
    assert not any(isinstance(event, AnswerCorrectedEvent) for event in events)


def test_what_a_memory_is_told_is_no_answer(index: Any) -> None:
    """It sums the conversation up while there is evidence, and nobody reads that."""

    def script(messages: Sequence[ChatMessage]) -> str:
        return "They spoke of $900." if "summary" in str(messages[0].content).lower() else RIGHT

    llm = ScriptedLLM(script=script)
    memory = ChatSummaryMemoryBuffer.from_defaults(
        llm=llm,
        token_limit=60,
        chat_history=[ChatMessage(role="user", content=FEES * 20)],
    )
    engine = index.as_chat_engine(chat_mode="context", llm=llm, memory=memory)
    guarded = guard(engine, policy("after", "raise"))
    assert str(guarded.chat(QUESTION)) == RIGHT
    assert len(llm.prompts) >= 2
    assert len(guarded.ctxguard.last.verifications) == 1


def test_a_plain_memory_stays_what_it_is(index: Any) -> None:
    memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
    engine = index.as_chat_engine(chat_mode="context", llm=ScriptedLLM(), memory=memory)
    assert type(guard(engine, policy())._memory) is ChatMemoryBuffer
