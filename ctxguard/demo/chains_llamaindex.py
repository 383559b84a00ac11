"""The demo's query engine in LlamaIndex."""

# LlamaIndex's packages are typed in part only, its integrations not at all.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.llms import LLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from llama_index.llms.openai_like import OpenAILike
from pydantic import PrivateAttr

from ctxguard.demo.chains import ALSO_IN, ANSWER_TOKENS, Endpoint, Pair, Passage, Setup
from ctxguard.demo.encoder import Encoder, encoder_for
from ctxguard.demo.measures import words
from ctxguard.guard import guard
from ctxguard.handle import handle
from ctxguard.ledger import Ledger

__all__ = ["EncoderEmbedding", "build", "make_engine"]

CHUNK_TOKENS = 256
"""SentenceSplitter counts in tokens: about 1,000 characters."""


class EncoderEmbedding(BaseEmbedding):
    """The demo's encoder as LlamaIndex's BaseEmbedding."""

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: Encoder) -> None:
        """Use this encoder for texts and for questions."""
        super().__init__(model_name=encoder.name, embed_batch_size=512)
        self._encoder = encoder

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._encoder.encode([text])[0].tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoder.encode(texts).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def make_engine(index: VectorStoreIndex, llm: LLM, k: int) -> BaseQueryEngine:
    """An ordinary query engine."""
    return index.as_query_engine(llm=llm, similarity_top_k=k, streaming=True)


def build(setup: Setup) -> Pair:
    """The query engine, plain and guarded, over the corpus."""
    nodes = _split(setup)
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    encoder = encoder_for(setup.encoder, texts)
    index = VectorStoreIndex(nodes, embed_model=EncoderEmbedding(encoder))
    engine = make_engine(index, _model(setup.endpoint), setup.top_k)
    return Pair(
        plain=_Asked(engine),
        guarded=_Asked(guard(engine, setup.policy), is_guarded=True),
        chunks=len(texts),
        distinct=len({words(text) for text in texts}),
        encoder=encoder.name,
        code=inspect.getsource(make_engine),
    )


def _split(setup: Setup) -> list[BaseNode]:
    documents = [
        Document(
            text=licence.text,
            metadata={
                "file_name": licence.distribution,
                "version": licence.version,
                "file": licence.path,
            },
            # The text alone is searched, and the prompt shows the source alone.
            excluded_embed_metadata_keys=["file_name", "version", "file"],
            excluded_llm_metadata_keys=["version", "file"],
        )
        for licence in setup.corpus.licences
    ]
    splitter = SentenceSplitter(
        chunk_size=CHUNK_TOKENS, chunk_overlap=20, include_prev_next_rel=False
    )
    nodes = splitter.get_nodes_from_documents(documents)
    for number, node in enumerate(nodes, start=1):
        node.id_ = f"chunk-{number}"  # the same in every run
    return nodes


def _model(endpoint: Endpoint) -> OpenAILike:
    # Not among the fields that a type checker sees: the base class takes it in its `__init__`.
    network: dict[str, Any] = {"http_client": endpoint.client}
    return OpenAILike(
        model=endpoint.model,
        api_base=endpoint.base_url,
        api_key="none",
        is_chat_model=True,
        context_window=endpoint.window,
        max_tokens=ANSWER_TOKENS,
        temperature=0,
        max_retries=0,
        timeout=600,
        additional_kwargs={"stream_options": {"include_usage": True}},
        **network,
    )


class _Asked:
    """A LlamaIndex query engine as the demo's Chain."""

    def __init__(self, engine: BaseQueryEngine, *, is_guarded: bool = False) -> None:
        self._engine = engine
        self._is_guarded = is_guarded
        self._nodes: list[NodeWithScore] = []

    def stream(self, question: str) -> Iterator[str]:
        response: Any = self._engine.query(question)
        self._nodes = list(response.source_nodes)
        if isinstance(response, StreamingResponse):
            yield from response.response_gen
        else:
            yield str(response)

    def evidence(self) -> tuple[Passage, ...]:
        return tuple(
            Passage(
                text=item.node.get_content(),
                source=str(item.node.metadata["file_name"]),
                also_in=tuple(item.node.metadata.get(ALSO_IN, ())),
            )
            for item in self._nodes
        )

    def ledger(self) -> Ledger | None:
        return handle(self._engine).last if self._is_guarded else None
