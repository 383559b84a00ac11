"""Query engines of every kind: copies leave once, versions stay, the rest is as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.evaluation import RelevancyEvaluator
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.indices.query.query_transform.base import StepDecomposeQueryTransform
from llama_index.core.llms import ChatMessage
from llama_index.core.objects import ObjectIndex
from llama_index.core.postprocessor import LongContextReorder, SimilarityPostprocessor
from llama_index.core.query_engine import (
    CitationQueryEngine,
    CustomQueryEngine,
    MultiStepQueryEngine,
    RetrieverQueryEngine,
    RetryQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
    ToolRetrieverRouterQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import BaseSynthesizer, get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool

import ctxguard
from ctxguard import Policy
from ctxguard_llamaindex import ALSO_IN
from ctxguard_llamaindex.testing import ScriptedLLM, checksum

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


Make = Callable[[VectorStoreIndex, ScriptedLLM], BaseQueryEngine]


def obliging(messages: Sequence[ChatMessage]) -> str:
    """The structured answers that some engines need, a checksum of the prompt for the others."""
    text = messages[-1].content or ""
    if "choices are given below" in text:
        return '[{"choice": 1, "reason": "it fits"}]'
    if "sub_question" in text:
        question = {"sub_question": "What is the notice period?", "tool_name": "contracts"}
        return json.dumps({"items": [question]})
    if "YES or NO" in text:
        return "YES"
    return checksum(messages)


def mode(name: str, **options: Any) -> Make:
    return lambda index, llm: index.as_query_engine(
        llm=llm, similarity_top_k=4, response_mode=name, **options
    )


def tool(index: VectorStoreIndex, llm: ScriptedLLM) -> QueryEngineTool:
    engine = index.as_query_engine(llm=llm, similarity_top_k=4)
    return QueryEngineTool.from_defaults(engine, name="contracts", description="contracts")


class Own(CustomQueryEngine):
    """An engine as a user writes it, with its parts as fields."""

    retriever: BaseRetriever
    synthesizer: BaseSynthesizer

    def custom_query(self, query_str: str) -> Any:
        return self.synthesizer.synthesize(query_str, self.retriever.retrieve(query_str))


SHAPES: dict[str, Make] = {
    **{
        name: mode(name)
        for name in (
            "refine",
            "compact",
            "tree_summarize",
            "simple_summarize",
            "accumulate",
            "compact_accumulate",
            "generation",
            "no_text",
            "context_only",
        )
    },
    "accumulate, async inside": mode("accumulate", use_async=True),
    "postprocessors": mode(
        "compact",
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.0), LongContextReorder()],
    ),
    "router": lambda index, llm: RouterQueryEngine.from_defaults(
        [tool(index, llm)], llm=llm, selector=LLMSingleSelector.from_defaults(llm=llm)
    ),
    "tool retriever router": lambda index, llm: ToolRetrieverRouterQueryEngine(
        ObjectIndex.from_objects([tool(index, llm)]).as_retriever()
    ),
    "sub question": lambda index, llm: SubQuestionQueryEngine.from_defaults(
        [tool(index, llm)],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        use_async=False,
        verbose=False,
    ),
    "citation": lambda index, llm: CitationQueryEngine.from_args(
        index, llm=llm, similarity_top_k=4
    ),
    "transform": lambda index, llm: TransformQueryEngine(
        index.as_query_engine(llm=llm, similarity_top_k=4), HyDEQueryTransform(llm=llm)
    ),
    "retry": lambda index, llm: RetryQueryEngine(
        index.as_query_engine(llm=llm, similarity_top_k=4), RelevancyEvaluator(llm=llm)
    ),
    "multi step": lambda index, llm: MultiStepQueryEngine(
        index.as_query_engine(llm=llm, similarity_top_k=4),
        StepDecomposeQueryTransform(llm=llm),
        num_steps=1,
    ),
    "fusion": lambda index, llm: RetrieverQueryEngine.from_args(
        QueryFusionRetriever(
            [index.as_retriever(similarity_top_k=4), index.as_retriever(similarity_top_k=4)],
            llm=llm,
            num_queries=2,
            similarity_top_k=9,
            use_async=False,
        ),
        llm=llm,
    ),
    "custom": lambda index, llm: Own(
        retriever=index.as_retriever(similarity_top_k=4),
        synthesizer=get_response_synthesizer(llm=llm),
    ),
}
# Retrieves tools and ids first: the evidence of these is not what is left over at the end.
WITHOUT_SOURCES = ("generation",)


@pytest.fixture
def llm() -> ScriptedLLM:
    return ScriptedLLM(script=obliging)


@pytest.fixture(params=list(SHAPES))
def engine(request: pytest.FixtureRequest, index: VectorStoreIndex, llm: ScriptedLLM) -> Any:
    return SHAPES[request.param](index, llm)


def check_guarded(engine: Any, guarded: Any, response: Any, corpus: Any) -> None:
    """Each retrieval left one copy out, and both versions are there."""
    ledger = guarded.ctxguard.last
    retrievals = [step for step in ledger.steps if step.kind == "retrieval"]
    dropped = ledger.of("drop")
    assert retrievals
    assert len(dropped) == len(retrievals)
    assert {decision.code for decision in dropped} == {"exact-duplicate"}
    assert all(step.tokens_after < step.tokens_before for step in retrievals)
    evidence = "\n".join(chunk.text for chunk in ledger.chunks)
    assert corpus.notice in evidence
    assert corpus.other_notice in evidence
    assert engine.ctxguard is None if hasattr(engine, "ctxguard") else True
    assert type(guarded) is not type(engine)
    assert isinstance(guarded, type(engine))
    assert type(guarded).__name__ == type(engine).__name__
    assert guarded.ctxguard.coverage.complete, guarded.ctxguard.coverage


def test_query(engine: Any, corpus: Any) -> None:
    guarded = guard(engine)
    check_guarded(engine, guarded, guarded.query(corpus.question), corpus)


@pytest.mark.anyio
async def test_aquery(engine: Any, corpus: Any) -> None:
    if isinstance(engine, Own):
        return  # CustomQueryEngine's async twin runs the sync method in a thread
    guarded = guard(engine)
    check_guarded(engine, guarded, await guarded.aquery(corpus.question), corpus)


def test_the_original_is_untouched(engine: Any, llm: ScriptedLLM, corpus: Any) -> None:
    before = str(engine.query(corpus.question))
    prompts = list(llm.prompts)
    guarded = guard(engine)
    guarded.query(corpus.question)
    llm.prompts.clear()

    assert str(engine.query(corpus.question)) == before
    assert llm.prompts == prompts
    assert len(guarded.ctxguard.ledgers) == 1


def test_what_the_model_reads_is_known_to_be_evidence(index: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(index.as_query_engine(llm=llm, similarity_top_k=4))
    guarded.query(corpus.question)
    segments = guarded.ctxguard.last.segments
    assert {s.text for s in segments if s.kind == "evidence"} == {
        corpus.notice,
        corpus.other_notice,
        corpus.payment,
    }
    prompt = llm.prompts[-1][-1].content
    assert prompt.count(corpus.notice) == 1
    assert "a.md" in prompt


def test_the_model_does_not_see_where_the_copies_stood(index: Any, llm: Any, corpus: Any) -> None:
    response = guard(index.as_query_engine(llm=llm, similarity_top_k=4)).query(corpus.question)
    survivor = next(n.node for n in response.source_nodes if n.node.get_content() == corpus.notice)
    also_in = survivor.metadata[ALSO_IN]
    assert len(also_in) == 1
    assert {survivor.metadata["file_name"], *also_in} == {"a.md", "b.md"}
    assert all(ALSO_IN not in (m.content or "") for prompt in llm.prompts for m in prompt)
    assert ALSO_IN not in index.docstore.get_node(survivor.node_id).metadata


@pytest.mark.parametrize("name", ["refine", "compact", "tree_summarize", "simple_summarize"])
def test_streaming(name: str, index: Any, llm: Any, corpus: Any) -> None:
    engine: Any = mode(name, streaming=True)(index, llm)
    plain = "".join(engine.query(corpus.question).response_gen)
    assert plain == "".join(guard(engine, Policy.off()).query(corpus.question).response_gen)
    guarded = guard(engine)
    response = guarded.query(corpus.question)
    assert type(response) is type(engine.query(corpus.question))
    assert "".join(response.response_gen).startswith("answer")
    ledger = guarded.ctxguard.last
    assert len(guarded.ctxguard.ledgers) == 1
    assert {step.kind for step in ledger.steps} == {"retrieval", "model"}
    assert len(ledger.of("drop")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["refine", "compact", "tree_summarize", "simple_summarize"])
async def test_async_streaming(name: str, index: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(mode(name, streaming=True)(index, llm))
    response = await guarded.aquery(corpus.question)
    words = [word async for word in response.async_response_gen()]
    assert "".join(words).startswith("answer")
    ledger = guarded.ctxguard.last
    assert len(guarded.ctxguard.ledgers) == 1
    assert {step.kind for step in ledger.steps} == {"retrieval", "model"}


def test_an_engine_retrieves_and_synthesizes_as_before(index: Any, llm: Any, corpus: Any) -> None:
    from llama_index.core.schema import QueryBundle

    guarded = guard(index.as_query_engine(llm=llm, similarity_top_k=4))
    found = guarded.retrieve(QueryBundle(corpus.question))
    assert len(found) == 3
    response = guarded.synthesize(QueryBundle(corpus.question), found)
    assert str(response).startswith("answer")
    assert [ledger.question for ledger in guarded.ctxguard.ledgers] == [corpus.question] * 2
