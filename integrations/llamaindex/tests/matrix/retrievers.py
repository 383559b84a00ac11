"""Retrievers: of every index, and around other retrievers."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core import (
    DocumentSummaryIndex,
    PropertyGraphIndex,
    SimpleKeywordTableIndex,
    StorageContext,
    SummaryIndex,
    TreeIndex,
    VectorStoreIndex,
)
from llama_index.core.graph_stores import EntityNode, Relation, SimplePropertyGraphStore
from llama_index.core.indices.document_summary import (
    DocumentSummaryIndexEmbeddingRetriever,
    DocumentSummaryIndexLLMRetriever,
)
from llama_index.core.indices.keyword_table.retrievers import KeywordTableGPTRetriever
from llama_index.core.indices.property_graph import LLMSynonymRetriever, PGRetriever
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.indices.query.query_transform.base import IdentityQueryTransform
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    BaseRetriever,
    QueryFusionRetriever,
    RecursiveRetriever,
    RouterRetriever,
    TransformRetriever,
    VectorIndexAutoRetriever,
)
from llama_index.core.schema import (
    Document,
    IndexNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.selectors import (
    EmbeddingSingleSelector,
    LLMSingleSelector,
    PydanticSingleSelector,
)
from llama_index.core.vector_stores import VectorStoreInfo

from ctxguard_llamaindex.testing import checksum
from integrations.llamaindex.tests.matrix.scripts import calling, obliging
from integrations.llamaindex.tests.matrix.ways import RETRIEVER
from integrations.llamaindex.tests.matrix.world import Shape, World

__all__ = ["SHAPES"]


class Own(BaseRetriever):
    """A retriever as a user writes it."""

    def __init__(self, nodes: list[TextNode]) -> None:
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=node, score=0.5) for node in self.nodes]


class OwnAsync(Own):
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        await asyncio.sleep(0)
        return self._retrieve(query_bundle)


class Combining(BaseRetriever):
    """A user's hybrid of two retrievers."""

    def __init__(self, first: BaseRetriever, second: BaseRetriever) -> None:
        super().__init__()
        self.both = [first, second]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = [item for inner in self.both for item in inner.retrieve(query_bundle)]
        return list({item.node.node_id: item for item in found}.values())


class Rewriting(Own):
    """A user's retriever with a `retrieve` of its own, which asks a model first."""

    def __init__(self, nodes: list[TextNode], llm: Any) -> None:
        super().__init__(nodes)
        self.llm = llm

    def retrieve(self, str_or_query_bundle: Any) -> list[NodeWithScore]:
        return super().retrieve(self.llm.complete("Rewrite: …").text)

    async def aretrieve(self, str_or_query_bundle: Any) -> list[NodeWithScore]:
        return await super().aretrieve((await self.llm.acomplete("Rewrite: …")).text)


def fusion(**options: Any) -> Any:
    def make(world: World) -> Any:
        inner = [world.retriever(), SummaryIndex(world.nodes).as_retriever()]
        return QueryFusionRetriever(inner, llm=world.llm, similarity_top_k=9, **options)

    return make


def router(selector: Any) -> Any:
    def make(world: World) -> Any:
        return RouterRetriever.from_defaults(
            [world.retriever_tool(), world.retriever_tool("other")],
            llm=world.llm,
            selector=selector(world.llm),
        )

    return make


def auto_merging(world: World) -> Any:
    """All children of a parent are found, so the parent takes their place, with its copy."""
    parents = [TextNode(id_=f"parent-{n}", text=world.corpus.notice) for n in range(2)]
    children: list[TextNode] = []
    for parent in parents:
        child = TextNode(id_=f"of {parent.node_id}", text=f"{world.corpus.notice} {parent.node_id}")
        child.relationships[NodeRelationship.PARENT] = RelatedNodeInfo(node_id=parent.node_id)
        parent.relationships[NodeRelationship.CHILD] = [RelatedNodeInfo(node_id=child.node_id)]
        children.append(child)
    storage = StorageContext.from_defaults()
    storage.docstore.add_documents([*parents, *children])
    inner: Any = VectorStoreIndex(children).as_retriever(similarity_top_k=2)
    return AutoMergingRetriever(inner, storage, verbose=False)


def recursive(world: World) -> Any:
    return RecursiveRetriever("root", {"root": world.retriever()})


def recursive_engines(world: World) -> Any:
    """Index nodes that stand for a retriever and for an engine."""
    root = Own([IndexNode(id_="1", text="clauses", index_id="found")])
    return RecursiveRetriever("root", {"root": root, "found": world.retriever()})


def objects(world: World) -> Any:
    """An index whose nodes are retrievers."""
    pointer = IndexNode(text=world.corpus.question, index_id="inner", obj=world.retriever())
    return VectorStoreIndex(objects=[pointer]).as_retriever(similarity_top_k=1)


def auto(world: World) -> Any:
    info = VectorStoreInfo(content_info="clauses of contracts", metadata_info=[])
    return VectorIndexAutoRetriever(
        world.index, vector_store_info=info, llm=world.llm, similarity_top_k=4
    )


def summary(mode: str) -> Any:
    return lambda world: SummaryIndex(world.nodes).as_retriever(retriever_mode=mode, llm=world.llm)


def keywords(mode: str) -> Any:
    def make(world: World) -> Any:
        table = SimpleKeywordTableIndex(world.nodes)
        if mode == "gpt":
            return KeywordTableGPTRetriever(table, llm=world.llm, num_chunks_per_query=9)
        return table.as_retriever(retriever_mode=mode, num_chunks_per_query=9)

    return make


def tree(mode: str) -> Any:
    def make(world: World) -> Any:
        index = TreeIndex(world.nodes, llm=world.llm, num_children=4)
        options: dict[str, Any] = {"child_branch_factor": 1} if mode.startswith("select") else {}
        if mode == "select_leaf":
            options["llm"] = world.llm
        return index.as_retriever(retriever_mode=mode, **options)

    return make


def document_summary(kind: type[Any]) -> Any:
    def make(world: World) -> Any:
        documents = [Document(id_=node.node_id, text=node.text) for node in world.nodes]
        index = world.once(lambda: DocumentSummaryIndex.from_documents(documents, llm=world.llm))
        if kind is DocumentSummaryIndexEmbeddingRetriever:
            return kind(index, similarity_top_k=4)
        return kind(index, llm=world.llm, choice_top_k=4)

    return make


def property_graph(world: World) -> Any:
    """Two triplets that say the same, found by keywords of a model's."""
    store = SimplePropertyGraphStore()
    period, days = EntityNode(name="Notice"), EntityNode(name="Days")
    store.upsert_nodes([period, days])
    store.upsert_relations([Relation(label="IS_IN", source_id=period.id, target_id=days.id)])
    index = PropertyGraphIndex.from_existing(store, llm=world.llm, embed_kg_nodes=False)
    finder = LLMSynonymRetriever(store, llm=world.llm, include_text=False)
    return PGRetriever([finder], use_async=False) if index else None


def synonyms(messages: Any) -> str:
    return "Notice^Days" if "synonyms" in (messages[-1].content or "") else checksum(messages)


def selecting(messages: Any) -> Any:
    return calling("SingleSelection", index=0, reason="it fits")(messages)


def shape(name: str, make: Any, **options: Any) -> Shape:
    options.setdefault("script", obliging)
    options.setdefault("models", False)
    return Shape(name=f"retriever, {name}", make=make, ways=RETRIEVER, **options)


SHAPES: tuple[Shape, ...] = (
    shape("vectors", lambda world: world.retriever()),
    shape("of a user's own", lambda world: Own(world.nodes)),
    shape("of a user's own, async", lambda world: OwnAsync(world.nodes)),
    shape(
        "of a user's own, hybrid",
        lambda world: Combining(world.retriever(), Own(world.nodes)),
    ),
    shape("that rewrites", lambda world: Rewriting(world.nodes, world.llm), models=True),
    shape("fusion", fusion(num_queries=1, use_async=False)),
    shape("fusion, async inside", fusion(num_queries=1)),
    shape("fusion, written queries", fusion(num_queries=3, use_async=False), models=True),
    shape("fusion, reciprocal", fusion(num_queries=1, mode="reciprocal_rerank", use_async=False)),
    shape("fusion, distance", fusion(num_queries=1, mode="dist_based_score", use_async=False)),
    shape("router, LLM", router(lambda llm: LLMSingleSelector.from_defaults(llm=llm)), models=True),
    shape("router, embeddings", router(lambda _: EmbeddingSingleSelector.from_defaults())),
    shape(
        "router, pydantic",
        router(lambda llm: PydanticSingleSelector.from_defaults(llm=llm)),
        script=selecting,
        models=True,
    ),
    shape("transform", lambda w: TransformRetriever(w.retriever(), IdentityQueryTransform())),
    shape(
        "transform, HyDE",
        lambda w: TransformRetriever(w.retriever(), HyDEQueryTransform(llm=w.llm)),
        models=True,
    ),
    shape("auto-merging", auto_merging),
    shape("recursive", recursive),
    shape("recursive, two levels", recursive_engines),
    shape("index of retrievers", objects),
    shape("auto", auto, models=True),
    shape("summary", summary("default")),
    shape("summary, embeddings", summary("embedding"), twins=0),
    shape("summary, LLM", summary("llm"), models=True, reads_before=1),
    shape("keywords", keywords("simple")),
    shape("keywords, LLM", keywords("gpt"), models=True),
    shape("tree, all leaves", tree("all_leaf")),
    shape("tree, select leaf", tree("select_leaf"), twins=0, models=True, reads_before=1),
    shape("tree, select leaf by embedding", tree("select_leaf_embedding"), twins=0),
    shape("tree, root", tree("root")),
    shape("document summary, embeddings", document_summary(DocumentSummaryIndexEmbeddingRetriever)),
    shape("document summary, LLM", document_summary(DocumentSummaryIndexLLMRetriever), models=True),
    shape("property graph", property_graph, script=synonyms, twins=0, models=True),
)
