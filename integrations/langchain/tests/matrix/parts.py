"""What the shapes are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from typing_extensions import override

from ctxguard_langchain.testing import (
    AsyncFixedRetriever,
    FixedRetriever,
    HashEmbeddings,
    ScriptedChatModel,
)
from integrations.langchain.tests.matrix.harness import DOCUMENTS, V3_UNSUPPORTED

__all__ = [
    "FALLBACKS",
    "ONLY_ASYNC",
    "ONLY_SYNC_STREAM",
    "PROMPT",
    "answering",
    "joined",
    "model",
    "native",
    "retriever",
    "step",
    "step_of",
    "store",
]

PROMPT = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def retriever() -> FixedRetriever:
    return FixedRetriever(documents=DOCUMENTS)


def native() -> AsyncFixedRetriever:
    return AsyncFixedRetriever(documents=DOCUMENTS)


def model(*script: str) -> ScriptedChatModel:
    return ScriptedChatModel(script=list(script))


class Store(InMemoryVectorStore):
    """A vector store that knows relevance scores, too."""

    @override
    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return float


def store() -> InMemoryVectorStore:
    made = Store(HashEmbeddings())
    made.add_documents(DOCUMENTS)
    return made


def answering(context: Any) -> Runnable[Any, Any]:
    """The usual chain around something that finds the context."""
    steps = {"context": context, "question": RunnablePassthrough()}
    return steps | PROMPT | model() | StrOutputParser()


ONLY_ASYNC = {
    **V3_UNSUPPORTED,
    **dict.fromkeys(("invoke", "stream", "batch"), TypeError),
}
"""LangChain cannot call a coroutine from synchronous code, and says so."""
ONLY_SYNC_STREAM = {**V3_UNSUPPORTED, **dict.fromkeys(("astream", "events"), TypeError)}
"""Nor can it stream a generator asynchronously."""
FALLBACKS = (
    "a fallback's `invoke` loses the parent of the runs inside of it, unlike its `batch` "
    "(langchain-ai/langchain#36072)"
)


def step(function: Callable[..., Any]) -> Callable[[], Runnable[Any, Any]]:
    return lambda: answering(RunnableLambda(function))


def step_of(made: Callable[[], Callable[..., Any]]) -> Callable[[], Runnable[Any, Any]]:
    return lambda: answering(RunnableLambda(made()))
