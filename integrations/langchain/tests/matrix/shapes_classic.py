"""Chains and retrievers of langchain-classic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_classic.chains import (
    ConversationalRetrievalChain,
    RetrievalQA,
    create_retrieval_chain,
)
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.chains.history_aware_retriever import create_history_aware_retriever
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MergerRetriever,
    MultiQueryRetriever,
    MultiVectorRetriever,
    ParentDocumentRetriever,
)
from langchain_classic.retrievers.document_compressors import LLMChainFilter
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import CharacterTextSplitter
from typing_extensions import override

from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, HashEmbeddings
from integrations.langchain.tests.matrix.harness import DOCUMENTS, QUESTION, Shape
from integrations.langchain.tests.matrix.parts import answering, joined, model, retriever

__all__ = ["CLASSIC"]

STUFF = ChatPromptTemplate.from_template("{context} {input}")


def retrieval_chain(found: Any = None) -> Runnable[Any, Any]:
    combine = create_stuff_documents_chain(model(), STUFF)
    return create_retrieval_chain(found or retriever(), combine)


def history_aware() -> Runnable[Any, Any]:
    rephrase = STUFF.partial(context="")
    return retrieval_chain(create_history_aware_retriever(model("notice"), retriever(), rephrase))


class KeepAll(BaseDocumentCompressor):
    """Compresses nothing."""

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return documents


def compressed() -> BaseRetriever:
    return ContextualCompressionRetriever(base_retriever=retriever(), base_compressor=KeepAll())


def filtered() -> BaseRetriever:
    """Asks a model about each document before the policy sees them."""
    keep = LLMChainFilter.from_llm(model("YES"))
    return ContextualCompressionRetriever(base_retriever=retriever(), base_compressor=keep)


def ensemble() -> BaseRetriever:
    # Both bring the same texts under other ids, so each alone has nothing to leave out.
    first = FixedRetriever(documents=DOCUMENTS[:2])
    others = [Document(page_content=f"{d.page_content} ", id=f"x{d.id}") for d in DOCUMENTS[:2]]
    second = AsyncFixedRetriever(documents=others)
    return EnsembleRetriever(retrievers=[first, second], weights=[0.5, 0.5])


def ensemble_of_ensembles() -> BaseRetriever:
    return EnsembleRetriever(retrievers=[ensemble(), ensemble() | list], weights=[0.5, 0.5])


def merged() -> BaseRetriever:
    return MergerRetriever(retrievers=[retriever(), retriever()])


def many_queries() -> BaseRetriever:
    return MultiQueryRetriever.from_llm(retriever(), model("one\ntwo"))


def parents() -> BaseRetriever:
    found = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(HashEmbeddings()),
        docstore=InMemoryStore(),
        child_splitter=CharacterTextSplitter(separator=" ", chunk_size=50, chunk_overlap=0),
        search_kwargs={"k": 20},
    )
    found.add_documents(DOCUMENTS, ids=[f"parent-{n}" for n in range(4)])
    return found


def many_vectors() -> BaseRetriever:
    store, kept = InMemoryVectorStore(HashEmbeddings()), InMemoryStore()
    kept.mset([(str(d.id), d) for d in DOCUMENTS])
    summaries = [
        Document(page_content=d.page_content[:20], metadata={"doc_id": str(d.id)}, id=f"s{d.id}")
        for d in DOCUMENTS
    ]
    store.add_documents(summaries)
    return MultiVectorRetriever(vectorstore=store, docstore=kept)


def retrieval_qa(kind: str = "stuff") -> Runnable[Any, Any]:
    return RetrievalQA.from_chain_type(model(), retriever=retriever(), chain_type=kind)


def conversational() -> Runnable[Any, Any]:
    return ConversationalRetrievalChain.from_llm(model("notice"), retriever=retriever())


ASKED = {"input": QUESTION}
TALKED = {"input": QUESTION, "chat_history": [("user", "Hello"), ("assistant", "Hello")]}

CLASSIC: dict[str, Shape] = {
    "create_retrieval_chain": Shape(make=retrieval_chain, given=ASKED),
    "create_retrieval_chain of a chain": Shape(
        make=lambda: retrieval_chain((lambda given: given["input"]) | retriever()), given=ASKED
    ),
    "history-aware retriever, no history": Shape(
        make=history_aware, given={**ASKED, "chat_history": []}
    ),
    "history-aware retriever": Shape(make=history_aware, given=TALKED, models=2),
    "RetrievalQA": Shape(make=retrieval_qa, given={"query": QUESTION}),
    "RetrievalQA, refine": Shape(
        make=lambda: retrieval_qa("refine"), given={"query": QUESTION}, models=2
    ),
    "ConversationalRetrievalChain": Shape(
        make=conversational,
        given={"question": QUESTION, "chat_history": [("Hello", "Hello")]},
        models=2,
    ),
    "compression": Shape(make=lambda: answering(compressed() | joined)),
    "compression by a model": Shape(make=lambda: answering(filtered() | joined), models=5),
    "ensemble": Shape(make=lambda: answering(ensemble() | joined)),
    "ensemble of ensembles": Shape(make=lambda: answering(ensemble_of_ensembles() | joined)),
    "merger": Shape(make=lambda: answering(merged() | joined), dropped=6),
    "multi-query": Shape(make=lambda: answering(many_queries() | joined), models=2),
    "parent documents": Shape(make=lambda: answering(parents() | joined)),
    "many vectors": Shape(make=lambda: answering(many_vectors() | joined)),
}
