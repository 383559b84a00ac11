"""Documents with copies and conflicting versions, and what retrieves and answers from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore

from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings, ScriptedChatModel

NOTICE = "The notice period for ending the supply agreement is thirty days, given in writing."
OTHER_NOTICE = NOTICE.replace("thirty", "sixty")
PAYMENT = "Payment is due within fourteen days after the invoice has been received by the buyer."


@pytest.fixture
def documents() -> list[Document]:
    """Four documents; the second is a copy of the first, the third says something else."""
    return [
        Document(page_content=NOTICE, id="a", metadata={"source": "contract.pdf", "page": 1}),
        Document(page_content=NOTICE, id="b", metadata={"source": "copy.pdf"}),
        Document(page_content=OTHER_NOTICE, id="c", metadata={"source": "amendment.pdf"}),
        Document(page_content=PAYMENT, id="d", metadata={"source": "contract.pdf"}),
    ]


@pytest.fixture
def retriever(documents: list[Document]) -> FixedRetriever:
    return FixedRetriever(documents=documents)


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def store(documents: list[Document]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(HashEmbeddings())
    store.add_documents(documents)
    return store


@pytest.fixture
def prompt() -> ChatPromptTemplate:
    return ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")


@pytest.fixture
def joined() -> Callable[[list[Document]], str]:
    """What a chain puts between a retriever and a prompt."""

    def join(documents: list[Document]) -> str:
        return "\n\n".join(document.page_content for document in documents)

    return join
