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

    A node of so few sentences that its share rounds to none makes it raise; such a node is left out
    here, as it would have to be by whoever uses it.
    """
    vectors = _Vectors(encoder)

    def select(question: Question, budget: int) -> list[str]:
        share = budget / tokens("\n\n".join(chunk.text for chunk in question.chunks))
        optimizer = SentenceEmbeddingOptimizer(
            embed_model=vectors, percentile_cutoff=share, context_before=0, context_after=0
        )
        query = QueryBundle(question.text)
        kept: list[str] = []
        for chunk in question.chunks:
            node = NodeWithScore(node=TextNode(text=chunk.text), score=1.0)
            try:
                shortened = optimizer.postprocess_nodes([node], query)
            except ValueError:
                continue
            kept += [found.get_content() for found in shortened]
        return kept

    return SelectorPeer(
        name="LlamaIndex SentenceEmbeddingOptimizer",
        select=select,
        note="percentile_cutoff: the budget's share; no sentences around a chosen one",
    )
