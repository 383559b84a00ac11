"""Retrievers: one preparation per question, whoever retrieves inside of whom, and hostile nodes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from llama_index.core import StorageContext, SummaryIndex, VectorStoreIndex
from llama_index.core.indices.query.query_transform.base import IdentityQueryTransform
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    BaseRetriever,
    QueryFusionRetriever,
    RecursiveRetriever,
    RouterRetriever,
    TransformRetriever,
)
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import RetrieverTool

import ctxguard
from ctxguard import Policy
from ctxguard_llamaindex import ALSO_IN
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


class Fixed(BaseRetriever):
    """Finds what it was given, whatever is asked."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found
        self.calls = 0

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.calls += 1
        if isinstance(self.found, Exception):
            raise self.found
        return list(self.found)


class FixedAsync(Fixed):
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        await asyncio.sleep(0)
        return self._retrieve(query_bundle)


class Merging(Fixed):
    """A retriever with a `retrieve` of its own."""

    def retrieve(self, str_or_query_bundle: Any) -> list[NodeWithScore]:
        return [*super().retrieve(str_or_query_bundle), *super().retrieve(str_or_query_bundle)]


def scored(*nodes: Any, score: float | None = 0.5) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=score) for node in nodes]


@pytest.fixture
def found(nodes: list[TextNode]) -> list[NodeWithScore]:
    return scored(*nodes)


def nested(name: str, index: VectorStoreIndex, llm: ScriptedLLM) -> BaseRetriever:
    inner: Any = index.as_retriever(similarity_top_k=4)
    if name == "fusion":
        return QueryFusionRetriever(
            [inner, index.as_retriever(similarity_top_k=4)],
            llm=llm,
            num_queries=1,
            use_async=False,
            similarity_top_k=9,
        )
    if name == "fusion, async inside":
        return QueryFusionRetriever([inner], llm=llm, num_queries=1, similarity_top_k=9)
    if name == "router":
        tool = RetrieverTool.from_defaults(inner, description="contracts")
        return RouterRetriever.from_defaults(
            [tool], llm=llm, selector=EmbeddingSingleSelector.from_defaults()
        )
    if name == "transform":
        return TransformRetriever(inner, IdentityQueryTransform())
    if name == "recursive":
        return RecursiveRetriever("root", {"root": inner})
    docstore = SimpleDocumentStore()
    return AutoMergingRetriever(inner, StorageContext.from_defaults(docstore=docstore))


NESTED = ["fusion", "fusion, async inside", "router", "transform", "recursive", "auto-merging"]


@pytest.mark.parametrize("name", NESTED)
def test_the_outermost_prepares_once(name: str, index: Any, llm: Any, corpus: Any) -> None:
    guarded = guard(nested(name, index, llm))
    assert len(guarded.ctxguard.coverage.reached) >= 2
    assert len(guarded.retrieve(corpus.question)) == 3
    ledger = guarded.ctxguard.last
    assert [step.name for step in ledger.steps] == [type(guarded).__name__]
    assert ledger.question == corpus.question


@pytest.mark.anyio
@pytest.mark.parametrize("name", NESTED)
async def test_the_outermost_prepares_once_async(
    name: str, index: Any, llm: Any, corpus: Any
) -> None:
    guarded = guard(nested(name, index, llm))
    assert len(await guarded.aretrieve(corpus.question)) == 3
    assert [step.name for step in guarded.ctxguard.last.steps] == [type(guarded).__name__]


def test_index_nodes_are_followed_before_anything_is_left_out(
    index: Any, llm: Any, corpus: Any
) -> None:
    inner = index.as_retriever(similarity_top_k=4)
    outer = Fixed(scored(IndexNode(text="contracts", index_id="x"), TextNode(text=corpus.payment)))
    outer.object_map = {"x": inner}
    guarded = guard(outer)
    texts = [item.node.get_content() for item in guarded.retrieve(corpus.question)]
    assert sorted(texts) == sorted([corpus.notice, corpus.other_notice, corpus.payment])
    assert len(guarded.ctxguard.last.steps) == 1


def test_an_engine_inside_a_retriever_has_evidence_of_its_own(
    index: Any, llm: ScriptedLLM, corpus: Any
) -> None:
    engine = index.as_query_engine(llm=llm, similarity_top_k=4)
    outer = Fixed(scored(IndexNode(text="contracts", index_id="x")))
    outer.object_map = {"x": engine}
    guarded = guard(outer)
    guarded.retrieve(corpus.question)
    steps = guarded.ctxguard.last.steps
    assert [(s.kind, s.name) for s in steps] == [
        ("retrieval", "VectorIndexRetriever"),
        ("model", "ScriptedLLM"),
        ("retrieval", "Fixed"),
    ]
    assert str(llm.prompts[-1]).count(corpus.notice) == 1


def test_a_retrieve_of_ones_own_is_prepared_at_its_end(found: Any, corpus: Any) -> None:
    guarded = guard(Merging(found))
    assert len(guarded.retrieve(corpus.question)) == 3
    assert len(guarded.ctxguard.last.steps) == 1


def test_the_inner_method_prepares_when_it_is_called_directly(found: Any, corpus: Any) -> None:
    guarded = guard(Fixed(found))
    assert len(guarded._retrieve(query_bundle=QueryBundle(corpus.question))) == 3
    assert len(guarded.ctxguard.last.steps) == 1


@pytest.mark.anyio
async def test_native_and_inherited_async(found: Any, corpus: Any) -> None:
    for kind in (Fixed, FixedAsync):
        guarded = guard(kind(found))
        assert len(await guarded.aretrieve(corpus.question)) == 3
        assert len(await guarded._aretrieve(query_bundle=QueryBundle(corpus.question))) == 3
        assert [len(ledger.steps) for ledger in guarded.ctxguard.ledgers] == [1, 1]


def test_survivors_are_the_objects_that_were_found(found: Any, corpus: Any) -> None:
    before = [item.model_dump() for item in found]
    kept = guard(Fixed(found)).retrieve(corpus.question)
    untouched = [item for item in kept if ALSO_IN not in item.node.metadata]
    assert all(any(item is other for other in found) for item in untouched)
    assert [item.model_dump() for item in found] == before


def test_a_copy_with_twins_keeps_what_it_was(corpus: Any) -> None:
    origin = RelatedNodeInfo(node_id="document-7")
    nodes = [
        TextNode(
            id_=name,
            text=corpus.notice,
            metadata={"url": f"https://example.com/{name}"},
            relationships={NodeRelationship.SOURCE: origin},
        )
        for name in ("one", "two")
    ]
    (kept,) = guard(Fixed(scored(*nodes, score=0.75))).retrieve(corpus.question)
    assert kept.node.node_id in ("one", "two")
    assert kept.node.ref_doc_id == "document-7"
    assert kept.score == 0.75
    assert kept.node is not nodes[0]
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert kept.node.get_content(mode) == nodes[0].get_content(mode)
    assert ALSO_IN in kept.node.get_content(MetadataMode.ALL)


def test_the_chunk_knows_where_it_stands(corpus: Any) -> None:
    node = TextNode(
        text=corpus.notice,
        metadata={"file_path": "/contracts/a.md"},
        start_char_idx=10,
        end_char_idx=99,
    )
    guarded = guard(Fixed(scored(node)))
    guarded.retrieve(corpus.question)
    (chunk,) = guarded.ctxguard.last.chunks
    assert chunk.source == "/contracts/a.md"
    assert chunk.metadata == {
        "file_path": "/contracts/a.md",
        "start_char_idx": 10,
        "end_char_idx": 99,
    }
    assert chunk.rendered == node.get_content(MetadataMode.LLM)
    assert chunk.score == 0.5


def test_a_trimmed_node_is_a_copy(corpus: Any) -> None:
    sentences = [f"Clause {n} says that party {n} pays {n} euros in month {n}." for n in range(80)]
    sentences[40] = corpus.notice
    nodes = [
        TextNode(text=" ".join(sentences), metadata={"file_name": "long.md"}),
        Node(text_resource=MediaResource(text=" ".join(sentences[::-1]), mimetype="text/markdown")),
    ]
    for node in nodes:
        guarded = guard(Fixed(scored(node)), budget=200)
        kept = guarded.retrieve(corpus.question)
        assert guarded.ctxguard.last.of("trim", "drop")
        assert node.get_content() in (" ".join(sentences), " ".join(sentences[::-1]))
        for item in kept:
            assert item.node is not node
            assert item.node.node_id == node.node_id
            assert 0 < len(item.node.get_content()) < len(node.get_content())


def test_what_is_not_text_passes_in_its_place(corpus: Any) -> None:
    picture = ImageNode(text=corpus.notice, image_url="https://example.com/a.png")
    pointer = IndexNode(text=corpus.notice, index_id="x")
    slide = Node(
        text_resource=MediaResource(text=corpus.notice), image_resource=MediaResource(data=b"aaaa")
    )
    blank = TextNode(text="  ")
    first, copy = TextNode(id_="1", text=corpus.notice), TextNode(id_="2", text=corpus.notice)
    found = scored(picture, first, pointer, copy, slide, blank, TextNode(text=corpus.payment))
    kept = guard(Fixed(found)).retrieve(corpus.question)
    assert [item.node for item in kept[:1]] == [picture]
    assert kept[1].node.node_id == "1"
    assert [item.node for item in kept[2:5]] == [pointer, slide, blank]
    assert kept[5].node.get_content() == corpus.payment
    assert len(kept) == 6


@pytest.mark.parametrize("score", [None, math.nan, math.inf, 0.0, -1.0])
def test_any_score(score: float | None, nodes: Any, corpus: Any) -> None:
    kept = guard(Fixed(scored(*nodes, score=score))).retrieve(corpus.question)
    assert len(kept) == 3
    assert all(
        item.score is score or item.score == score or math.isnan(item.score) for item in kept
    )


def test_nothing_found(corpus: Any) -> None:
    guarded = guard(Fixed([]))
    assert guarded.retrieve(corpus.question) == []
    (step,) = guarded.ctxguard.last.steps
    assert (step.tokens_before, step.tokens_after) == (0, 0)


def test_a_retriever_that_raises(corpus: Any) -> None:
    plain = Fixed(ConnectionError("store is away"))
    guarded = guard(plain)
    with pytest.raises(ConnectionError, match="store is away"):
        guarded.retrieve(corpus.question)
    assert guarded.ctxguard.last.error == "ConnectionError: store is away"
    guarded.found = []
    assert guarded.retrieve(corpus.question) == []


@pytest.mark.anyio
async def test_cancelling_passes_through(corpus: Any) -> None:
    class Slow(Fixed):
        async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            await asyncio.sleep(60)
            return []

    guarded = guard(Slow([]))
    task = asyncio.create_task(guarded.aretrieve(corpus.question))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guarded.ctxguard.last.error.startswith("CancelledError")


def test_hostile_texts(corpus: Any) -> None:
    texts = ["\x00\x01", "\ud800 lone", "a" * 200_000, "🏳️‍🌈" * 50, "\n" * 10, "{braces} %s"]
    found = scored(*(TextNode(text=text) for text in texts))
    guarded = guard(Fixed(found))
    kept = guarded.retrieve("\ud800")
    assert {item.node.get_content() for item in kept} == set(texts)
    assert not guarded.ctxguard.last.errors


def test_a_node_that_cannot_be_read(corpus: Any) -> None:
    class Broken(TextNode):
        def get_content(self, metadata_mode: Any = MetadataMode.NONE) -> str:
            raise KeyError("text")

    found = scored(Broken(), TextNode(text=corpus.notice))
    guarded = guard(Fixed(found))
    assert guarded.retrieve(corpus.question) == found
    (error,) = guarded.ctxguard.last.errors
    assert "KeyError: 'text'" in error.reason
    with pytest.raises(KeyError):
        guard(Fixed(found), Policy.strict()).retrieve(corpus.question)


def test_the_same_id_twice(corpus: Any) -> None:
    found = scored(TextNode(id_="x", text=corpus.notice), TextNode(id_="y", text=corpus.payment))
    found.append(NodeWithScore(node=TextNode(id_="x", text=corpus.other_notice)))
    guarded = guard(Merging(found))  # BaseRetriever drops repeated ids, its subclass need not
    kept = guarded._retrieve(QueryBundle(corpus.question))
    assert len(kept) == 3


def test_what_is_no_node_passes(corpus: Any) -> None:
    class Odd(Fixed):
        def retrieve(self, str_or_query_bundle: Any) -> Any:
            return ["a string", *self.found]

    kept: Any = guard(Odd(scored(TextNode(text=corpus.notice)))).retrieve(corpus.question)
    assert kept[0] == "a string"
    assert kept[1].node.get_content() == corpus.notice


def test_a_summary_index_retriever(nodes: Any, corpus: Any) -> None:
    guarded = guard(SummaryIndex(nodes).as_retriever())
    assert len(guarded.retrieve(corpus.question)) == 3


def test_off_returns_the_list_that_was_found(found: Any, corpus: Any) -> None:
    class Same(Fixed):
        def retrieve(self, str_or_query_bundle: Any) -> Any:
            return self.found

    guarded = guard(Same(found), Policy.off())
    assert guarded.retrieve(corpus.question) is found
    assert guarded.ctxguard.last.tokens_in == guarded.ctxguard.last.tokens_kept > 0


class Shouting(TextNode):
    """Writes itself in its own way."""

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        return super().get_content(metadata_mode).upper()


class Headless(TextNode):
    def get_metadata_str(self, mode: MetadataMode = MetadataMode.ALL) -> str:
        return "of its own"


@pytest.mark.parametrize("kind", [TextNode, Shouting, Headless, Document])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"metadata": {"page": 3, "kind": MetadataMode.LLM, "nothing": None, "of": ["a", "b"]}},
        {"metadata": {"page": 3, "file_name": "a.pdf"}, "excluded_llm_metadata_keys": ["page"]},
        {"metadata": {"page": 3}, "excluded_llm_metadata_keys": ["page"]},
        {"metadata": {"a": " 1", "b": "2 "}, "metadata_separator": " | "},
        {"metadata": {"page": 3}, "metadata_template": "<{key}={value}>"},
        {"metadata": {"page": 3}, "text_template": "{content} ({metadata_str})"},
    ],
)
def test_a_ledger_has_nodes_as_they_write_themselves(kind: Any, fields: dict[str, Any]) -> None:
    node = kind(text="  notice: thirty days\n", **fields)
    guarded = guard(Fixed(scored(node)), Policy.off())
    guarded.retrieve("q")
    (chunk,) = guarded.ctxguard.last.chunks
    assert chunk.text == node.get_content(MetadataMode.NONE).strip()
    assert (chunk.rendered or chunk.text) == node.get_content(MetadataMode.LLM).strip()
    assert dict(chunk.metadata) == node.metadata
