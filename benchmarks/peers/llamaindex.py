"""LlamaIndex: the postprocessor that shortens nodes for a question."""

from __future__ import annotations

from typing import Any

from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.postprocessor import SentenceEmbeddingOptimizer
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

from benchmarks.embeddings import CachedEncoder
from benchmarks.peers.base import Question, SelectorPeer
from benchmarks.texts import tokens

__all__ = ["sentence_optimizer"]


class _Vectors(BaseEmbedding):
    """What LlamaIndex asks of embeddings."""

    _encoder: Any = PrivateAttr()

    def __init__(self, encoder: CachedEncoder) -> None:
        super().__init__(model_name=encoder.name)
        self._encoder = encoder

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoder(texts).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def sentence_optimizer(encoder: CachedEncoder) -> SelectorPeer:
    """`SentenceEmbeddingOptimizer` with the budget's share as its `percentile_cutoff`.

    The chunks are one node: of a node with so few sentences that the share rounds to none, it keeps
    all, which with a node per chunk was more than twice the budget.
    """
    vectors = _Vectors(encoder)

    def select(question: Question, budget: int) -> list[str]:
        evidence = "\n\n".join(chunk.text for chunk in question.chunks)
        optimizer = SentenceEmbeddingOptimizer(
            embed_model=vectors,
            percentile_cutoff=budget / tokens(evidence),
            context_before=0,
            context_after=0,
        )
        node = NodeWithScore(node=TextNode(text=evidence), score=1.0)
        kept = optimizer.postprocess_nodes([node], QueryBundle(question.text))
        return [found.get_content() for found in kept]

    return SelectorPeer(
        name="LlamaIndex SentenceEmbeddingOptimizer",
        select=select,
        note="one node; percentile_cutoff: the budget's share; no sentences around a chosen one",
    )
