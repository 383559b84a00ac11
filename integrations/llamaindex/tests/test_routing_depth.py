"""Retrieval depth: each search finds as many as the route of its question says, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import (
    DocumentSummaryIndex,
    PropertyGraphIndex,
    SimpleKeywordTableIndex,
    StorageContext,
    SummaryIndex,
    VectorStoreIndex,
)
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.property_graph import ImplicitPathExtractor
from llama_index.core.indices.query.query_transform.base import IdentityQueryTransform
from llama_index.core.node_parser import SimpleNodeParser
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    QueryFusionRetriever,
    RecursiveRetriever,
    RouterRetriever,
    TransformRetriever,
)
from llama_index.core.schema import Document, IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import RetrieverTool
from llama_index.llms.openai import OpenAI

import ctxguard
from ctxguard import Policy
from ctxguard.routing import Route, Router, Routes
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

QUESTION = "What is the fee of clause 3?"
CLAUSES = 20


def to(name: str, *, mode: Any = "act", depth: int | None = 12, **more: Any) -> Policy:
    """Take the light or the heavy route, whatever is asked, and leave what is found as it is."""
    routes = (Route(name="light", top_k=2), Route(name="heavy", top_k=depth))
    router = Router(thresholds=(-1.0 if name == "heavy" else 1.0,))
    routing = Routes(routes=routes, router=router, mode=mode, state="memory", **more)
    nothing: dict[str, Any] = dict.fromkeys(("dedupe", "rank", "compress", "select", "layout"))
    return Policy(**nothing, routing=routing)


@pytest.fixture
def clauses() -> list[TextNode]:
    return [
        TextNode(id_=f"n{number}", text=f"Clause {number}: the fee is {number} euros.")
        for number in range(CLAUSES)
    ]


@pytest.fixture
def index(clauses: list[TextNode]) -> VectorStoreIndex:
    return VectorStoreIndex(clauses)


class BM25(BaseRetriever):
    """As LlamaIndex's BM25Retriever: it cannot find more than there is."""

    def __init__(self, corpus: list[TextNode]) -> None:
        super().__init__()
        self.corpus, self.similarity_top_k = corpus, 3

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        assert self.similarity_top_k <= len(self.corpus)
        return [NodeWithScore(node=node) for node in self.corpus[: self.similarity_top_k]]


class Everything(BaseRetriever):
    """Knows no depth."""

    def __init__(self, nodes: list[TextNode]) -> None:
        super().__init__()
        self.nodes, self.verbose_level = nodes, True

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=node) for node in self.nodes]


def fusion(index: VectorStoreIndex, nodes: list[TextNode]) -> BaseRetriever:
    inner: Any = index.as_retriever(similarity_top_k=4)
    return QueryFusionRetriever(
        [inner, BM25(nodes)], num_queries=1, similarity_top_k=5, use_async=False
    )


def merging(index: VectorStoreIndex, nodes: list[TextNode]) -> BaseRetriever:
    context = StorageContext.from_defaults()
    context.docstore.add_documents(nodes)
    inner: Any = index.as_retriever(similarity_top_k=4)
    return AutoMergingRetriever(inner, context)


def by_router(index: VectorStoreIndex, nodes: list[TextNode]) -> BaseRetriever:
    tool = RetrieverTool.from_defaults(index.as_retriever(similarity_top_k=4), description="all")
    return RouterRetriever(EmbeddingSingleSelector.from_defaults(), [tool])


FINDS: dict[str, Callable[[VectorStoreIndex, list[TextNode]], BaseRetriever]] = {
    "vector": lambda index, _: index.as_retriever(similarity_top_k=4),
    "bm25": lambda _, nodes: BM25(nodes),
    "keywords": lambda _, nodes: SimpleKeywordTableIndex(nodes).as_retriever(
        num_chunks_per_query=4
    ),
    "fusion": fusion,
    "merging": merging,
    "router": by_router,
    "transform": lambda index, _: TransformRetriever(
        index.as_retriever(similarity_top_k=4), IdentityQueryTransform()
    ),
    "summary": lambda _, nodes: SummaryIndex(nodes).as_retriever(
        retriever_mode="embedding", similarity_top_k=4
    ),
}


@pytest.mark.parametrize("name", FINDS)
def test_a_search_finds_as_many_as_the_route_says(
    name: str, index: VectorStoreIndex, clauses: list[TextNode]
) -> None:
    retriever = FINDS[name](index, clauses)
    configured = len(retriever.retrieve(QUESTION))
    guarded = guard(retriever, to("heavy"))
    assert len(guarded.retrieve(QUESTION)) == 12
    assert len(asyncio.run(guarded.aretrieve(QUESTION))) == 12
    assert len(guard(retriever, to("light")).retrieve(QUESTION)) == 2
    assert len(retriever.retrieve(QUESTION)) == configured
    assert not [d for d in guarded.ctxguard.last.decisions if d.code == "depth-not-set"]


def test_each_kept_its_depth_for_others(index: VectorStoreIndex) -> None:
    guarded = guard(index.as_retriever(similarity_top_k=4), to("heavy"))
    guarded.retrieve(QUESTION)
    assert guarded.similarity_top_k == 4


@pytest.mark.parametrize(
    "policy", [to("heavy", mode="shadow"), to("heavy", depth=None)], ids=["shadow", "none"]
)
def test_it_stays_as_configured(policy: Policy, index: VectorStoreIndex) -> None:
    guarded = guard(index.as_retriever(similarity_top_k=4), policy)
    assert len(guarded.retrieve(QUESTION)) == 4


def test_no_more_than_there_is(clauses: list[TextNode]) -> None:
    assert len(guard(BM25(clauses[:7]), to("heavy")).retrieve(QUESTION)) == 7


def test_hybrid_search_too(index: VectorStoreIndex) -> None:
    """The number of results of a hybrid search is one of its own."""
    seen: list[tuple[int, int, int]] = []

    class Store(type(index.vector_store)):
        def query(self, query: Any, **kwargs: Any) -> Any:
            seen.append((query.similarity_top_k, query.sparse_top_k, query.hybrid_top_k))
            return super().query(query, **kwargs)

    retriever: Any = index.as_retriever(similarity_top_k=4, sparse_top_k=4, hybrid_top_k=3)
    object.__setattr__(retriever._vector_store, "__class__", Store)
    guard(retriever, to("heavy")).retrieve(QUESTION)
    assert seen == [(12, 12, 12)]


def test_what_follows_what_was_found_keeps_its_own_depth(
    index: VectorStoreIndex, clauses: list[TextNode]
) -> None:
    summaries = VectorStoreIndex(
        [
            IndexNode(id_=f"s{number}", text=f"About clause {number}", index_id=f"d{number}")
            for number in range(3)
        ]
    )
    details: Any = index.as_retriever(similarity_top_k=2)
    retriever = RecursiveRetriever(
        "summaries",
        retriever_dict={
            "summaries": summaries.as_retriever(similarity_top_k=1),
            **{f"d{number}": details for number in range(3)},
        },
    )
    asked: list[int] = []

    class Counting(type(details)):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            asked.append(self.similarity_top_k)
            return super()._retrieve(query_bundle)

    object.__setattr__(details, "__class__", Counting)
    guard(retriever, to("heavy")).retrieve(QUESTION)
    assert asked == [2, 2, 2]  # three summaries were found, where one was configured


def test_an_unknown_depth_is_told_once(clauses: list[TextNode]) -> None:
    guarded = guard(Everything(clauses), to("heavy"))
    with guarded.ctxguard.run(QUESTION):
        assert len(guarded.retrieve(QUESTION)) == CLAUSES
        guarded.retrieve("And clause 4?")
    (told,) = [d for d in guarded.ctxguard.last.decisions if d.code == "depth-not-set"]
    assert told.subject == "Everything"


def test_what_is_known_is_set_and_the_rest_is_told(
    index: VectorStoreIndex, clauses: list[TextNode]
) -> None:
    inner: Any = index.as_retriever(similarity_top_k=1)
    both = QueryFusionRetriever(
        [inner, Everything(clauses[:3])], num_queries=1, similarity_top_k=5, use_async=False
    )
    guarded = guard(both, to("heavy"))
    assert len(guarded.retrieve(QUESTION)) == 12
    (told,) = [d for d in guarded.ctxguard.last.decisions if d.code == "depth-not-set"]
    assert told.subject == "Everything"


class ByName(BaseRetriever):
    """Asks all that it holds, as a user may write it."""

    def __init__(self, **held: BaseRetriever) -> None:
        super().__init__()
        self.held = held

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [node for one in self.held.values() for node in one.retrieve(query_bundle)]


def test_retrievers_by_name(clauses: list[TextNode]) -> None:
    retriever = ByName(first=BM25(clauses[:5]), second=BM25(clauses[5:]))
    assert len(retriever.retrieve(QUESTION)) == 3 + 3
    assert len(guard(retriever, to("heavy")).retrieve(QUESTION)) == 5 + 12


def test_retrievers_in_a_circle(clauses: list[TextNode]) -> None:
    retriever: Any = BM25(clauses)
    retriever.again = retriever
    assert len(guard(retriever, to("heavy")).retrieve(QUESTION)) == 12


def test_a_summary_index_for_documents() -> None:
    llm = ScriptedLLM(script=lambda _: "a summary")
    documents = [Document(text=f"Clause {number}.", id_=f"d{number}") for number in range(6)]
    index = DocumentSummaryIndex.from_documents(
        documents, llm=llm, transformations=[SimpleNodeParser()], show_progress=False
    )
    retriever: Any = index.as_retriever(retriever_mode="embedding", similarity_top_k=1)
    assert len(guard(retriever, to("light")).retrieve(QUESTION)) == 2


def test_a_query_engine_searches_as_deep(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    engine = index.as_query_engine(llm=llm, similarity_top_k=4, response_mode="no_text")
    assert len(guard(engine, to("heavy")).query(QUESTION).source_nodes) == 12


def test_routes_of_objects_are_ordered_by_price_before_the_search(index: VectorStoreIndex) -> None:
    dear, cheap = (OpenAI(model=name, api_key="k") for name in ("gpt-4o", "gpt-4o-mini"))
    routes = (Route(name="dear"), Route(name="cheap", model=cheap, top_k=3))
    routing = Routes(routes=routes, router=Router(thresholds=(1.0,)), state="memory")
    engine = guard(index.as_query_engine(llm=dear), routing=routing)
    with engine.ctxguard.run(QUESTION) as run:
        assert len(engine.retrieve(QUESTION)) == 3
    assert "no price is known" not in str(run.ledger())


def test_a_graph_of_properties(clauses: list[TextNode]) -> None:
    llm = ScriptedLLM(script=lambda _: "fee")
    graph = PropertyGraphIndex(
        clauses[:6], llm=llm, kg_extractors=[ImplicitPathExtractor()], show_progress=False
    )
    guarded = guard(graph.as_query_engine(llm=llm), to("heavy"))
    assert str(guarded.query(QUESTION))
    told = {d.subject for d in guarded.ctxguard.last.decisions if d.code == "depth-not-set"}
    assert told == {"LLMSynonymRetriever"}


def test_in_a_block(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever(similarity_top_k=4)
    with ctxguard.guarded(to("heavy")):
        assert len(retriever.retrieve(QUESTION)) == 12
    assert len(retriever.retrieve(QUESTION)) == 4


def test_for_everybody(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever(similarity_top_k=4)
    guarded = guard(retriever, to("heavy"), scope="process")
    assert len(retriever.retrieve(QUESTION)) == 12
    guarded.ctxguard.unguard()
    assert len(retriever.retrieve(QUESTION)) == 4


def test_searches_at_once_do_not_see_each_others_depth(index: VectorStoreIndex) -> None:
    retriever: Any = index.as_retriever(similarity_top_k=4)
    guards = [guard(retriever, to(name)) for name in ("light", "heavy")]

    async def all_of_them() -> list[int]:
        searches = [guards[number % 2].aretrieve(QUESTION) for number in range(40)]
        return [len(found) for found in await asyncio.gather(*searches)]

    assert asyncio.run(all_of_them()) == [2, 12] * 20
