"""The demo's chain in LangChain."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI
from langchain_text_splitters import RecursiveCharacterTextSplitter
from pydantic import SecretStr

from ctxguard.demo.chains import ALSO_IN, ANSWER_TOKENS, Endpoint, Pair, Passage, Setup
from ctxguard.demo.encoder import Encoder, encoder_for
from ctxguard.demo.measures import words
from ctxguard.guard import guard
from ctxguard.handle import handle
from ctxguard.ledger import Ledger

__all__ = ["EncoderEmbeddings", "build", "make_chain"]

PROMPT = (
    "Answer the question in one or two sentences, from these licence texts only.\n\n"
    "{context}\n\nQuestion: {question}"
)


class EncoderEmbeddings(Embeddings):
    """The demo's encoder as LangChain's Embeddings."""

    def __init__(self, encoder: Encoder) -> None:
        """Use this encoder for texts and for questions."""
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One unit vector per text."""
        return self._encoder.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """The question's unit vector."""
        return self._encoder.encode([text])[0].tolist()


def make_chain(retriever: BaseRetriever, llm: ChatOpenAI) -> Runnable[str, str]:
    """An ordinary retrieval chain."""

    def with_sources(found: list[Document]) -> str:
        texts = [f"[{d.metadata['source']}]\n{d.page_content}" for d in found]
        return "\n\n".join(texts)

    context = retriever | with_sources
    return (
        {"context": context, "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template(PROMPT)
        | llm
        | StrOutputParser()
    )


def build(setup: Setup) -> Pair:
    """The chain, plain and guarded, over the corpus."""
    documents = _split(setup)
    texts = [document.page_content for document in documents]
    encoder = encoder_for(setup.encoder, texts)
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    store.add_documents(documents)
    retriever = store.as_retriever(search_kwargs={"k": setup.top_k})
    chain = make_chain(retriever, _model(setup.endpoint))
    return Pair(
        plain=_Asked(chain),
        guarded=_Asked(guard(chain, setup.policy), is_guarded=True),
        chunks=len(texts),
        distinct=len({words(text) for text in texts}),
        encoder=encoder.name,
        code=inspect.getsource(make_chain),
    )


def _split(setup: Setup) -> list[Document]:
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=100)
    licences = setup.corpus.licences
    documents = splitter.create_documents(
        [licence.text for licence in licences],
        metadatas=[
            {"source": item.distribution, "version": item.version, "file": item.path}
            for item in licences
        ],
    )
    for number, document in enumerate(documents, start=1):
        document.id = f"chunk-{number}"  # the same in every run, unlike the store's own ids
    return documents


def _model(endpoint: Endpoint) -> ChatOpenAI:
    return ChatOpenAI(
        model=endpoint.model,
        base_url=endpoint.base_url,
        api_key=SecretStr("none"),
        http_client=endpoint.client,
        temperature=0,
        max_completion_tokens=ANSWER_TOKENS,
        stream_usage=True,
        max_retries=0,
        timeout=600,
    )


class _Retrieved(BaseCallbackHandler):
    """Keeps what the retriever handed on, as any tracing tool would see it."""

    def __init__(self) -> None:
        self.documents: Sequence[Document] = ()

    def on_retriever_end(self, documents: Sequence[Document], **_: Any) -> None:
        self.documents = tuple(documents)


class _Asked:
    """A LangChain chain as the demo's Chain."""

    def __init__(self, chain: Runnable[str, str], *, is_guarded: bool = False) -> None:
        self._chain = chain
        self._is_guarded = is_guarded
        self._retrieved = _Retrieved()

    def stream(self, question: str) -> Iterator[str]:
        yield from self._chain.stream(question, config={"callbacks": [self._retrieved]})

    def evidence(self) -> tuple[Passage, ...]:
        return tuple(
            Passage(
                text=document.page_content,
                source=str(document.metadata["source"]),
                also_in=tuple(document.metadata.get(ALSO_IN, ())),
            )
            for document in self._retrieved.documents
        )

    def ledger(self) -> Ledger | None:
        return handle(self._chain).last if self._is_guarded else None
