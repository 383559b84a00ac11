"""Guards inside of guards: each policy is applied once, and ledgers nest as the calls do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.tools import QueryEngineTool

import ctxguard
from ctxguard import Policy
from ctxguard.run import current_run
from ctxguard_llamaindex import CtxGuardPostprocessor
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.matrix.agents import Contracts, Outer
from integrations.llamaindex.tests.matrix.engines import retry
from integrations.llamaindex.tests.matrix.scripts import obliging, searching
from integrations.llamaindex.tests.matrix.world import World, wait_for

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]
R, M = "retrieval", "model"


def retriever(world: World) -> Any:
    return guard(world.retriever())


def model(world: World) -> Any:
    return guard(world.llm)


def engine(world: World) -> Any:
    """A guarded retriever in a guarded engine."""
    return guard(RetrieverQueryEngine.from_args(retriever(world), llm=world.llm))


def engine_of_guarded_parts(world: World) -> Any:
    return guard(RetrieverQueryEngine.from_args(retriever(world), llm=model(world)))


def engine_of_another_policy(world: World) -> Any:
    inner = guard(world.retriever(), Policy.lean())
    return guard(RetrieverQueryEngine.from_args(inner, llm=world.llm))


def engine_with_a_postprocessor(world: World) -> Any:
    return guard(world.engine(node_postprocessors=[CtxGuardPostprocessor()]))


def tool(world: World, inner: Any) -> Any:
    return QueryEngineTool.from_defaults(inner, name="search", description="Finds clauses.")


def agent(world: World) -> Any:
    """A guarded retriever in a guarded engine in a guarded tool in a guarded agent."""
    return guard(FunctionAgent(tools=[guard(tool(world, engine(world)))], llm=world.llm))


def agent_in_a_workflow(world: World) -> Any:
    inner = agent(world)
    return guard(AgentWorkflow(agents=[inner], root_agent=inner.name))


def fusion(world: World) -> Any:
    """Guarded retrievers in a guarded one: what all have found is prepared, once."""
    inner = [retriever(world), retriever(world)]
    return guard(
        QueryFusionRetriever(
            inner, llm=world.llm, num_queries=1, similarity_top_k=9, use_async=False
        )
    )


def plain_fusion(world: World) -> Any:
    """Guarded retrievers in one that is not: each prepares what it finds."""
    inner = [retriever(world), retriever(world)]
    return QueryFusionRetriever(
        inner, llm=world.llm, num_queries=1, similarity_top_k=9, use_async=False
    )


def engine_around_plain_fusion(world: World) -> Any:
    return guard(RetrieverQueryEngine.from_args(plain_fusion(world), llm=world.llm))


def sub_questions(world: World) -> Any:
    return guard(
        SubQuestionQueryEngine.from_defaults(
            [tool(world, engine(world))],
            llm=world.llm,
            question_gen=LLMQuestionGenerator.from_defaults(llm=world.llm),
            verbose=False,
            use_async=False,
        )
    )


def chat(world: World) -> Any:
    memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
    return guard(
        ContextChatEngine.from_defaults(retriever=retriever(world), llm=model(world), memory=memory)
    )


def workflow(world: World) -> Any:
    return guard(Contracts(retriever(world), {"small": model(world)}))


def workflow_in_a_workflow(world: World) -> Any:
    return guard(Outer(workflow(world)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """A guard around guards."""

    make: Callable[[World], Any]
    steps: str
    """Kinds of the steps of the outermost ledger, in order: R a retrieval, M a model call."""
    children: str
    """The ledgers inside, each as the kinds of its steps and its own children in brackets."""
    script: Any = obliging
    drops: int = 1


NESTS = (
    Nest(make=engine, steps="RM", children="(R)"),
    Nest(make=engine_of_guarded_parts, steps="RM", children="(R)(M)"),
    Nest(make=engine_of_another_policy, steps="RM", children="(R)"),
    Nest(make=engine_with_a_postprocessor, steps="RM", children=""),
    Nest(make=agent, steps="MRMM", children="(RM(RM(R)))", script=searching),
    Nest(make=agent_in_a_workflow, steps="MRMM", children="(M)(RM(RM(R)))(M)", script=searching),
    Nest(make=fusion, steps="R", children="", drops=1),
    Nest(make=engine_around_plain_fusion, steps="RM", children=""),
    Nest(make=sub_questions, steps="MRMM", children="(RM(R))"),
    Nest(make=lambda world: guard(retry(world)), steps="RMMRM", children="", drops=2),
    Nest(make=chat, steps="RM", children="(R)(M)"),
    Nest(make=workflow, steps="RM", children="(R)(M)"),
    Nest(make=workflow_in_a_workflow, steps="RM", children="(RM(R)(M))"),
)


def drawn(ledger: Any) -> str:
    inside = "".join(f"({drawn(child)})" for child in ledger.children)
    return "".join(step.kind[0].upper() for step in ledger.steps) + inside


async def ask(obj: Any, question: str) -> Any:
    for name in ("aquery", "achat", "aretrieve"):
        if hasattr(obj, name):
            return await getattr(obj, name)(question)
    agent = hasattr(obj, "tools") or hasattr(obj, "agents")
    return await obj.run(**{"user_msg" if agent else "question": question})


@pytest.mark.parametrize("nest", NESTS, ids=lambda nest: nest.make.__name__)
def test_nests(nest: Nest, corpus: Any, nodes: Any, index: Any, tmp_path: Path) -> None:
    llm = ScriptedLLM(script=nest.script)
    world = World(corpus=corpus, nodes=nodes, index=index, llm=llm, folder=tmp_path)
    guarded = nest.make(world)
    assert guarded.ctxguard.coverage.complete, guarded.ctxguard.coverage
    wait_for(ask(guarded, corpus.question))
    (ledger,) = guarded.ctxguard.ledgers
    assert drawn(ledger) == nest.steps + nest.children
    assert len(ledger.of("drop")) == nest.drops
    assert nest.steps.count("M") == len(llm.prompts)
    assert current_run() is None
