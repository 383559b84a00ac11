"""LangChain: the filters of langchain-community, and the compressors that select for a question."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from benchmarks.embeddings import CachedEncoder
from benchmarks.peers.base import (
    Filter,
    FilterPeer,
    Question,
    SelectorPeer,
    cosine,
)
from benchmarks.texts import fill

__all__ = ["clustering", "compression_pipeline", "embeddings_filter", "redundant"]


class _Vectors(Embeddings):
    """What LangChain asks of embeddings."""

    def __init__(self, encoder: CachedEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._encoder(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self._encoder([text])[0].tolist()


def _filters() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package says that it is sunset
        return import_module(
            "langchain_community.document_transformers.embeddings_redundant_filter"
        )


def _applied(transformer: Any, texts: Sequence[str]) -> dict[int, str]:
    documents = [
        Document(page_content=text, metadata={"place": place}) for place, text in enumerate(texts)
    ]
    kept = transformer.transform_documents(documents)
    return {document.metadata["place"]: document.page_content for document in kept}


def redundant(encoder: CachedEncoder) -> FilterPeer:
    """`EmbeddingsRedundantFilter`."""
    module, vectors = _filters(), _Vectors(encoder)

    def at(threshold: float) -> Filter:
        transformer = module.EmbeddingsRedundantFilter(
            embeddings=vectors, similarity_threshold=threshold
        )
        return lambda texts: _applied(transformer, texts)

    return FilterPeer(
        name="LangChain EmbeddingsRedundantFilter",
        setting="similarity_threshold",
        at=at,
        default=0.95,
        sweep=(0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 0.995),
        similarity=cosine(encoder),
    )


def clustering(encoder: CachedEncoder) -> FilterPeer:
    """`EmbeddingsClusteringFilter`, which keeps one text of each of a fixed number of clusters."""
    module, vectors = _filters(), _Vectors(encoder)
    import_module("sklearn.cluster")

    def at(clusters: float) -> Filter:
        def keep(texts: Sequence[str]) -> dict[int, str]:
            transformer = module.EmbeddingsClusteringFilter(
                embeddings=vectors, num_clusters=min(int(clusters), len(set(texts))), sorted=True
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn: fewer distinct texts than clusters
                return _applied(transformer, texts)

        return keep

    return FilterPeer(
        name="LangChain EmbeddingsClusteringFilter",
        setting="num_clusters",
        at=at,
        default=5,
        sweep=(2, 3, 4, 5, 6, 8, 10),
        of_pairs=False,
    )


# -- selection -------------------------------------------------------------------------------------


def _documents(question: Question) -> list[Document]:
    return [
        Document(page_content=chunk.text, metadata={"place": place, "title": chunk.title})
        for place, chunk in enumerate(question.chunks)
    ]


def embeddings_filter(encoder: CachedEncoder) -> SelectorPeer:
    """`EmbeddingsFilter`: whole chunks by their similarity to the question."""
    compressors: Any = import_module("langchain_classic.retrievers.document_compressors")
    _filters()
    vectors = _Vectors(encoder)

    def select(question: Question, budget: int) -> list[str]:
        documents = _documents(question)
        chosen = compressors.EmbeddingsFilter(embeddings=vectors, k=len(documents))
        ranked = chosen.compress_documents(documents, question.text)
        return fill([(d.metadata["place"], 0, d.page_content) for d in ranked], budget)

    return SelectorPeer(
        name="LangChain EmbeddingsFilter",
        select=select,
        note="k: the chunks that fit, most similar first; smaller ones after one too large tried",
    )


def compression_pipeline(encoder: CachedEncoder) -> SelectorPeer:
    """`ContextualCompressionRetriever` over the documented pipeline: split, redundant, relevant."""
    compressors: Any = import_module("langchain_classic.retrievers.document_compressors")
    retrievers: Any = import_module("langchain_classic.retrievers")
    splitters: Any = import_module("langchain_text_splitters")
    core: Any = import_module("langchain_core.retrievers")
    redundant_filter, vectors = _filters().EmbeddingsRedundantFilter, _Vectors(encoder)

    class _All(core.BaseRetriever):
        documents: list[Document]

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return list(self.documents)

    logging.getLogger("langchain_text_splitters").setLevel(logging.ERROR)  # of long sentences
    splitter = splitters.CharacterTextSplitter(chunk_size=300, chunk_overlap=0, separator=". ")

    def select(question: Question, budget: int) -> list[str]:
        pipeline = compressors.DocumentCompressorPipeline(
            transformers=[
                splitter,
                redundant_filter(embeddings=vectors),
                compressors.EmbeddingsFilter(embeddings=vectors, k=10_000),
            ]
        )
        retriever = retrievers.ContextualCompressionRetriever(
            base_compressor=pipeline, base_retriever=_All(documents=_documents(question))
        )
        ranked = retriever.invoke(question.text)
        pieces = [
            (document.metadata["place"], order, document.page_content)
            for order, document in enumerate(ranked)
        ]
        return fill(pieces, budget)

    return SelectorPeer(
        name="LangChain ContextualCompressionRetriever",
        select=select,
        note="split at 300 characters, redundant and relevant filters; k: the pieces that fit",
    )
