"""Chat engines of every mode, with every kind of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.chat_engine import (
    ContextChatEngine,
    MultiModalCondensePlusContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import (
    ChatMemoryBuffer,
    ChatSummaryMemoryBuffer,
    FactExtractionMemoryBlock,
    Memory,
    VectorMemoryBlock,
)
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import Field
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ctxguard_llamaindex.testing import checksum
from integrations.llamaindex.tests.matrix.scripts import obliging
from integrations.llamaindex.tests.matrix.ways import CHAT
from integrations.llamaindex.tests.matrix.world import Shape, World

__all__ = ["SHAPES"]


def buffer() -> Any:
    return ChatMemoryBuffer.from_defaults(token_limit=8000)


def mode(name: Any) -> Any:
    def make(world: World) -> Any:
        # The default memory keeps an SQLite connection that it never closes.
        return world.index.as_chat_engine(
            chat_mode=name, llm=world.llm, similarity_top_k=4, memory=buffer()
        )

    return make


def simple(world: World) -> Any:
    return SimpleChatEngine.from_defaults(llm=world.llm, memory=buffer(), system_prompt="Be short.")


def multi_modal(world: World) -> Any:
    return MultiModalContextChatEngine.from_defaults(
        retriever=world.retriever(), multi_modal_llm=world.llm, memory=buffer()
    )


def multi_modal_condensing(world: World) -> Any:
    return MultiModalCondensePlusContextChatEngine.from_defaults(
        retriever=world.retriever(), multi_modal_llm=world.llm, memory=buffer()
    )


def summarizing(world: World) -> Any:
    """A memory that asks a model, from the first turn on."""
    history = [
        ChatMessage(role=role, content=f"{n}: {world.corpus.payment}")
        for n in range(6)
        for role in ("user", "assistant")
    ]
    memory = ChatSummaryMemoryBuffer.from_defaults(history, llm=world.llm, token_limit=120)
    return ContextChatEngine.from_defaults(
        retriever=world.retriever(), llm=world.llm, memory=memory
    )


def remembering(*blocks: Any) -> Any:
    def make(world: World) -> Any:
        return ContextChatEngine.from_defaults(
            retriever=world.retriever(),
            llm=world.llm,
            memory=memory_of(world, *(block(world) for block in blocks)),
        )

    return make


def memory_of(world: World, *blocks: Any) -> Any:
    # Without a pool, so that no connection is left open: nothing in LlamaIndex closes them.
    database = f"sqlite+aiosqlite:///{world.folder}/{len(list(world.folder.iterdir()))}.db"
    return Memory.from_defaults(
        session_id="a",
        token_limit=150,
        token_flush_size=60,
        memory_blocks=list(blocks),
        async_engine=create_async_engine(database, poolclass=NullPool),
    )


def facts(world: World) -> Any:
    return FactExtractionMemoryBlock(name="facts", llm=world.llm, max_facts=5, priority=1)


def extracting(messages: Sequence[ChatMessage]) -> str:
    text = messages[-1].content or ""
    return "<facts><fact>It is late.</fact></facts>" if "<fact>" in text else checksum(messages)


class TextStore(SimpleVectorStore):
    """A store that keeps texts, and so can be a memory's."""

    stores_text: bool = True
    kept: dict[str, Any] = Field(default_factory=dict)

    def add(self, nodes: Any, **kwargs: Any) -> Any:
        self.kept.update({node.node_id: node for node in nodes})
        return super().add(nodes, **kwargs)

    def query(self, query: Any, **kwargs: Any) -> Any:
        result = super().query(query, **kwargs)
        result.nodes = [self.kept[name] for name in result.ids or []]
        return result


def vectors(_world: World) -> Any:
    return VectorMemoryBlock(name="old", vector_store=TextStore(), query_kwargs={})


def shape(name: str, make: Any, **options: Any) -> Shape:
    options.setdefault("script", obliging)
    return Shape(name=f"chat, {name}", make=make, ways=CHAT, **options)


SHAPES: tuple[Shape, ...] = (
    shape("simple", simple, retrievals=0),
    *(
        shape(name, mode(name))
        for name in ("context", "condense_question", "condense_plus_context", "best")
    ),
    shape("multi-modal", multi_modal),
    shape("multi-modal, condensing", multi_modal_condensing),
    shape("summarizing memory", summarizing),
    shape("memory", remembering()),
    shape("memory of facts", remembering(facts), script=extracting),
    shape("memory of vectors", remembering(vectors), unreached=("_memory.memory_blocks[0]",)),
)
