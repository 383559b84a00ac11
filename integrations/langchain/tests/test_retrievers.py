"""What passes a retriever: order, identity, odd documents, failures, searches of a vector store."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackHandler,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore, VectorStoreRetriever

from ctxguard import Guard, Policy, guard, handle
from ctxguard_langchain.convert import ALSO_IN
from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, HashEmbeddings

pytestmark = pytest.mark.anyio


def test_survivors_are_the_same_objects(
    retriever: FixedRetriever, documents: list[Document]
) -> None:
    kept = guard(retriever).invoke("What is the notice period?")
    assert kept[0].id == "a"  # the best first; in between the order is the policy's
    assert {id(document) for document in kept[1:]} == {id(document) for document in documents[2:]}


def test_a_survivor_knows_where_its_copies_are_from(
    retriever: FixedRetriever, documents: list[Document]
) -> None:
    kept = guard(retriever).invoke("q")
    assert kept[0].metadata == {"source": "contract.pdf", "page": 1, ALSO_IN: ["copy.pdf"]}
    assert documents[0].metadata == {"source": "contract.pdf", "page": 1}


def test_a_conflicting_version_is_kept_and_said(retriever: FixedRetriever) -> None:
    guarded = guard(retriever)
    guarded.invoke("q")
    last = handle(guarded).last
    assert last is not None
    assert [{d.subject, d.twin} for d in last.conflicts] == [{"a", "c"}]


def test_a_subclass_of_document_and_its_id_survive_a_trim() -> None:
    class Page(Document):
        """A document with a field of its own."""

        number: int = 0

    text = " ".join(f"Sentence number {n} says something of its own." for n in range(60))
    retriever = FixedRetriever(documents=[Page(page_content=text, id="p", number=7)])
    kept = guard(retriever, budget=100).invoke("What does sentence number 3 say?")
    assert [(type(page), page.id, getattr(page, "number", None)) for page in kept] == [
        (Page, "p", 7)
    ]
    assert 0 < len(kept[0].page_content) < len(text)
    assert retriever.documents[0].page_content == text


def test_a_budget_is_kept(documents: list[Document]) -> None:
    guarded = guard(FixedRetriever(documents=documents), budget=20)
    kept = guarded.invoke("q")
    last = handle(guarded).last
    assert last is not None
    assert 0 < last.tokens_kept <= 20
    assert len(kept) == 1


def test_keyword_arguments_reach_the_retriever(retriever: FixedRetriever) -> None:
    assert len(guard(retriever).invoke("q", k=1)) == 1


@pytest.mark.parametrize("with_manager", [True, False])
async def test_an_old_signature_works(with_manager: bool) -> None:
    class Old(BaseRetriever):
        def _get_relevant_documents(self, query: str) -> list[Document]:  # type: ignore[override]
            return [Document(page_content="the same text of both documents")] * 2

    class New(BaseRetriever):
        def _get_relevant_documents(
            self, query: str, *, run_manager: CallbackManagerForRetrieverRun
        ) -> list[Document]:
            return [Document(page_content="the same text of both documents")] * 2

    guarded = guard(New() if with_manager else Old())
    assert len(guarded.invoke("q")) == 1
    assert len(await guarded.ainvoke("q")) == 1
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1]


async def test_callbacks_hear_of_what_is_handed_on(retriever: FixedRetriever) -> None:
    heard: list[int] = []

    class Listener(BaseCallbackHandler):
        def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
            heard.append(len(documents))

    guarded = guard(retriever)
    guarded.invoke("q", {"callbacks": [Listener()]})
    await guarded.ainvoke("q", {"callbacks": [Listener()]})
    assert heard == [3, 3]


# -- odd input ----------------------------------------------------------------------------------


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


ODD = {
    "source": Path("folder/file.pdf"),
    "score": math.nan,
    "object": Unprintable(),
    "lock": threading.Lock(),
    "bytes": b"\xff",
    "nested": {"list": [{1, 2}, (3,)], 4: "number as key"},
    "none": None,
}


def test_odd_metadata_stays_as_it_is_and_a_ledger_can_be_written() -> None:
    odd = {**ODD, "cycle": {}}
    odd["cycle"]["self"] = odd["cycle"]
    retriever = FixedRetriever(documents=[Document(page_content="text", metadata=odd)])
    guarded = guard(retriever)
    (kept,) = guarded.invoke("q")
    assert kept is retriever.documents[0]
    last = handle(guarded).last
    assert last is not None
    assert not last.errors
    assert last.chunks[0].source == "folder/file.pdf"
    assert '"number as key"' in last.to_json()


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", "🙂" * 1000, "a\n" * 10_000, "ﬁ" * 50], ids=range(5)
)
async def test_odd_text_passes(text: str) -> None:
    documents = [Document(page_content=text), Document(page_content="another, longer text")]
    for kind in (FixedRetriever, AsyncFixedRetriever):
        guarded = guard(kind(documents=documents))
        assert await guarded.ainvoke("q") == documents
        assert guarded.invoke(text) == documents
        assert not any(ledger.errors for ledger in handle(guarded).ledgers)


def test_nothing_found_is_recorded() -> None:
    guarded = guard(FixedRetriever())
    assert guarded.invoke("q") == []
    last = handle(guarded).last
    assert last is not None
    assert (len(last.steps), last.tokens_in) == (1, 0)


def test_duplicate_and_missing_ids_are_told_apart() -> None:
    texts = ["the first passage, long enough", "the second passage, long enough", "and a third one"]
    documents = [Document(page_content=text, id="same") for text in texts[:2]]
    documents += [Document(page_content=texts[2]), Document(page_content=texts[2])]
    guarded = guard(FixedRetriever(documents=documents))
    kept = guarded.invoke("q")
    assert {(document.page_content, document.id) for document in kept} == set(
        zip(texts, ["same", "same", None], strict=True)
    )
    last = handle(guarded).last
    assert last is not None
    assert len({chunk.id for chunk in last.chunks}) == 4


def test_a_score_in_the_metadata_is_known() -> None:
    documents = [
        Document(page_content=f"passage number {n} of the collection", metadata=metadata)
        for n, metadata in enumerate(
            [{"score": 0.9}, {"relevance_score": 1}, {"score": "high"}, {"score": True}]
        )
    ]
    guarded = guard(FixedRetriever(documents=documents))
    guarded.invoke("q")
    last = handle(guarded).last
    assert last is not None
    assert [chunk.score for chunk in last.chunks] == [0.9, 1.0, None, None]


@pytest.mark.parametrize("result", [None, ["text"], (), "text", {"a": 1}], ids=repr)
def test_what_is_no_list_of_documents_passes_with_an_error_noted(result: Any) -> None:
    class Odd(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
            return result

    guarded = guard(Odd())
    assert guarded.invoke("q") == result
    last = handle(guarded).last
    assert last is not None
    assert [decision.code for decision in last.errors] == ["not-documents"]


# -- failures -----------------------------------------------------------------------------------


class Failing(BaseRetriever):
    """Raises."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise ConnectionError("the index is gone")


class AsyncFailing(Failing):
    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise ConnectionError("the index is gone")


@pytest.mark.parametrize("kind", [Failing, AsyncFailing])
async def test_a_failing_retriever_raises_what_it_raised(kind: type[BaseRetriever]) -> None:
    guarded = guard(kind())
    with pytest.raises(ConnectionError, match="the index is gone"):
        guarded.invoke("q")
    with pytest.raises(ConnectionError, match="the index is gone"):
        await guarded.ainvoke("q")
    assert {ledger.error for ledger in handle(guarded).ledgers} == {
        "ConnectionError: the index is gone"
    }


async def test_a_hanging_retriever_can_be_cancelled() -> None:
    class Hanging(FixedRetriever):
        async def _aget_relevant_documents(
            self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
        ) -> list[Document]:
            await asyncio.sleep(60)
            return []

    guarded = guard(Hanging())
    for runnable in (guarded, guarded | RunnableLambda(len)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runnable.ainvoke("q"), 0.05)
    errors = [ledger.error.partition(":")[0] for ledger in handle(guarded).ledgers]
    assert errors == ["CancelledError"] * 2


class Breaking(Guard):
    """A guard with a bug."""

    def prepare(self, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("a bug of the guard")


def broken(retriever: FixedRetriever, on_error: Any) -> Any:
    from ctxguard_langchain.adapter import adapter

    return adapter.guard(retriever, Breaking(Policy(on_error=on_error)))


def test_a_failure_of_the_guard_is_not_the_calls(retriever: FixedRetriever) -> None:
    guarded = broken(retriever, "pass")
    assert guarded.invoke("q") == retriever.documents
    (error,) = handle(guarded).ledgers[0].errors
    assert "a bug of the guard" in error.reason


def test_a_strict_policy_raises_a_failure_of_the_guard(retriever: FixedRetriever) -> None:
    with pytest.raises(ZeroDivisionError):
        broken(retriever, "raise").invoke("q")


# -- retrievers of retrievers -------------------------------------------------------------------


class Both(BaseRetriever):
    """Asks two others, one of them in a thread of its own."""

    first: BaseRetriever
    second: BaseRetriever

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        child = RunnableConfig(callbacks=run_manager.get_child())
        return [*self.first.invoke(query, child), *self.second.invoke(query, child)]


async def test_the_outermost_retriever_applies_the_policy_once(documents: list[Document]) -> None:
    inner = FixedRetriever(documents=documents)
    guarded = guard(Both(first=inner, second=Both(first=inner, second=inner)))
    assert len(guarded.invoke("q")) == 3
    assert len(await guarded.ainvoke("q")) == 3
    for ledger in handle(guarded).ledgers:
        (step,) = ledger.steps
        assert step.name == "Both"
        assert len(ledger.chunks) == 12


async def test_a_retriever_that_overrides_invoke_is_guarded(documents: list[Document]) -> None:
    class Own(FixedRetriever):
        def invoke(self, *args: Any, **kwargs: Any) -> list[Document]:
            return list(self.documents)

        async def ainvoke(self, *args: Any, **kwargs: Any) -> list[Document]:
            return list(self.documents)

    guarded = guard(Own(documents=documents))
    assert len(guarded.invoke("q")) == 3
    assert len(await guarded.ainvoke("q")) == 3
    assert [ledger.question for ledger in handle(guarded).ledgers] == ["q", "q"]


# -- vector stores ------------------------------------------------------------------------------


async def test_every_search_of_a_vector_store_is_guarded(store: InMemoryVectorStore) -> None:
    guarded = guard(store)
    vector = HashEmbeddings().embed_query("notice")
    searches: list[Callable[[], Any]] = [
        lambda: guarded.similarity_search("notice", k=4),
        lambda: guarded.similarity_search_by_vector(vector, k=4),
        lambda: guarded.similarity_search_with_score(query="notice", k=4),
        lambda: guarded.max_marginal_relevance_search("notice", k=4),
        lambda: guarded.search("notice", "similarity", k=4),
        lambda: guarded.as_retriever(search_kwargs={"k": 4}).invoke("notice"),
    ]
    for number, search in enumerate(searches):
        assert len(search()) == 3, number
    assert len(await guarded.asimilarity_search("notice", k=4)) == 3
    assert len(await guarded.asimilarity_search_with_score("notice", k=4)) == 3
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1] * 8
    scores = {d.id: score for d, score in store.similarity_search_with_score("notice", k=4)}
    for document, score in guarded.similarity_search_with_score("notice", k=4):
        assert score == scores[document.id]


def test_a_vector_store_shares_its_content_with_the_original(store: InMemoryVectorStore) -> None:
    guarded = guard(store)
    assert isinstance(guarded, InMemoryVectorStore)
    guarded.add_documents([Document(page_content="a clause about liability", id="new")])
    assert store.get_by_ids(["new"])
    store.delete(["new"])
    assert not guarded.get_by_ids(["new"])
    assert len(store.similarity_search("notice", k=4)) == 4


def test_a_store_inside_of_a_retriever_is_the_retrievers_business(
    store: InMemoryVectorStore,
) -> None:
    plain = store.as_retriever(search_kwargs={"k": 4})
    guarded = guard(plain)
    assert isinstance(guarded, VectorStoreRetriever)
    assert guarded.vectorstore is store
    assert guarded == plain
    assert [item.type for item in handle(guarded).coverage.reached] == ["VectorStoreRetriever"]
