"""The guard as a node postprocessor."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import ctxguard
from ctxguard import Policy
from ctxguard_llamaindex import CtxGuardPostprocessor
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


def pickled(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 -- its own pickle


def engine(index: VectorStoreIndex, llm: ScriptedLLM, *postprocessors: Any) -> Any:
    return index.as_query_engine(
        llm=llm, similarity_top_k=4, node_postprocessors=list(postprocessors)
    )


def test_in_an_engine(index: VectorStoreIndex, llm: ScriptedLLM, corpus: Any) -> None:
    postprocessor = CtxGuardPostprocessor(policy=Policy(layout=None))
    response = engine(index, llm, postprocessor).query(corpus.question)
    assert len(response.source_nodes) == 3
    (ledger,) = postprocessor.ctxguard.ledgers
    assert ledger.question == corpus.question
    assert [step.kind for step in ledger.steps] == ["retrieval"]
    assert len(ledger.of("drop")) == 1
    assert str(postprocessor.ctxguard.coverage).startswith("guarded")


def test_the_vectors_of_nodes_find_paraphrases() -> None:
    said = ("A boy plays the guitar in a park.", "A child is playing the guitar in a park.")
    near = [TextNode(text=text, embedding=[1.0, 0.0]) for text in said]
    far = [TextNode(text=text, embedding=[float(at), 1.0 - at]) for at, text in enumerate(said)]
    for nodes, kept in ((near, 1), (far, 2)):
        postprocessor = CtxGuardPostprocessor()
        found = postprocessor.postprocess_nodes([NodeWithScore(node=node) for node in nodes])
        assert len(found) == kept
        assert found[0].node.embedding == nodes[0].embedding
        (ledger,) = postprocessor.ctxguard.ledgers
        assert [chunk.embedding for chunk in ledger.chunks] == [None, None]


@pytest.mark.anyio
async def test_async(index: VectorStoreIndex, llm: ScriptedLLM, corpus: Any) -> None:
    postprocessor = CtxGuardPostprocessor()
    response = await engine(index, llm, postprocessor).aquery(corpus.question)
    assert len(response.source_nodes) == 3
    assert len(postprocessor.ctxguard.ledgers) == 1


def test_alone(corpus: Any) -> None:
    nodes = [NodeWithScore(node=TextNode(text=corpus.notice)) for _ in range(3)]
    postprocessor = CtxGuardPostprocessor()
    assert len(postprocessor.postprocess_nodes(nodes)) == 1
    assert len(postprocessor.postprocess_nodes(nodes, query_str=corpus.question)) == 1
    assert postprocessor.postprocess_nodes([]) == []
    assert [ledger.question for ledger in postprocessor.ctxguard.ledgers] == [
        "",
        corpus.question,
        "",
    ]


def test_off_returns_what_was_found(nodes: Any) -> None:
    found = [NodeWithScore(node=node) for node in nodes]
    assert CtxGuardPostprocessor(policy=Policy.off()).postprocess_nodes(found) == found


def test_together_with_guard_it_is_applied_once(
    index: VectorStoreIndex, llm: ScriptedLLM, corpus: Any
) -> None:
    postprocessor = CtxGuardPostprocessor()
    guarded = guard(engine(index, llm, postprocessor))
    response = guarded.query(corpus.question)
    assert len(response.source_nodes) == 3
    assert [step.kind for step in guarded.ctxguard.last.steps] == ["retrieval", "model"]
    assert postprocessor.ctxguard.ledgers == ()
    kinds = [reached.kind for reached in guarded.ctxguard.coverage.reached]
    assert kinds == ["retriever", "model", "postprocessor"]


def test_a_policy_of_its_own_is_applied_after_the_guards(
    index: VectorStoreIndex, llm: ScriptedLLM, corpus: Any
) -> None:
    postprocessor = CtxGuardPostprocessor(policy=Policy(budget=30))
    guarded = guard(engine(index, llm, postprocessor))
    response = guarded.query(corpus.question)
    assert len(response.source_nodes) == 1
    names = [step.name for step in guarded.ctxguard.last.steps]
    assert names == ["VectorIndexRetriever", "CtxGuardPostprocessor", "ScriptedLLM"]
    (child,) = guarded.ctxguard.last.children
    assert child == postprocessor.ctxguard.last


def test_guarding_it(corpus: Any) -> None:
    postprocessor = CtxGuardPostprocessor()
    assert guard(postprocessor) is postprocessor
    other = guard(postprocessor, budget=30)
    assert isinstance(other, CtxGuardPostprocessor)
    assert other.policy.budget == 30
    assert postprocessor.policy.budget is None


def test_pickling(corpus: Any) -> None:
    postprocessor = CtxGuardPostprocessor(policy=Policy(budget=30))
    for new in (pickled(postprocessor), postprocessor.model_copy(deep=True)):
        assert new.policy == postprocessor.policy
        assert new.ctxguard.policy == postprocessor.policy
        new.postprocess_nodes([], QueryBundle(corpus.question))


def test_it_is_a_component(corpus: Any) -> None:
    assert CtxGuardPostprocessor.class_name() == "CtxGuardPostprocessor"
    assert CtxGuardPostprocessor().to_dict() == {"class_name": "CtxGuardPostprocessor"}
